"""Mistakes in templates that are in the database already."""

import pytest

from django_webpush_kit.models import get_template_model
from django_webpush_kit.templating.lint import lint_templates
from tests.factories import make_template

pytestmark = pytest.mark.django_db


def problems():
    return [str(problem) for problem in lint_templates(get_template_model().objects.all())]


def test_valid_templates_have_no_findings():
    make_template()
    make_template(language="de")
    assert problems() == []


def test_findings_name_template_and_field():
    make_template("a", body_template="{% debug %}", options={"colour": "red"})
    (problem,) = problems()[:1]
    assert problem.startswith("a: body_template: ")
    assert any(text.startswith("a: options: ") for text in problems())


def test_errors_that_occur_only_when_rendering_are_found():
    make_template("a", body_template="{{ price|floatformat:200 }}")
    (problem,) = problems()
    assert problem.startswith("a: cannot be rendered: ")


def test_a_title_that_renders_to_nothing_is_found():
    make_template("a", title_template="{# nothing #}")
    assert problems() == ["a: The title is empty."]


def test_a_type_without_a_default_text_is_reported_once():
    make_template("a", language="de")
    make_template("a", language="fr")
    (problem,) = problems()
    assert problem.startswith("a (de): The type has no template in the default language")


def test_types_missing_from_the_configured_types_are_found(push_settings):
    push_settings(NOTIFICATION_TYPES={"b": {}})
    make_template("a")
    make_template("b")
    assert problems() == ["a: The type is not in NOTIFICATION_TYPES, so users cannot switch it off."]


def test_two_spellings_of_a_language_are_found():
    make_template("a")
    make_template("a", language="pt_BR")
    make_template("a", language="pt-br")
    assert problems() == ["a (pt_BR): Same language as 'a (pt-br)'; only one of them is sent."]

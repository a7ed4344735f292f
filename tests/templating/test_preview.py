"""Previews of templates with sample values."""

import pytest

from django_webpush_kit.exceptions import TemplateRenderError
from django_webpush_kit.models import get_template_model
from django_webpush_kit.templating.preview import preview, sample_context


def template(title, body="", **fields):
    return get_template_model()(type="x", title_template=title, body_template=body, **fields)


def test_variables_show_their_names():
    text = preview(
        template("Order {{ number }}", "Hello {{ recipient.first_name|title }}!", url_template="/o/{{ id }}/")
    )
    assert (text.title, text.body, text.url) == ("Order [number]", "Hello [Recipient.First_Name]!", "/o/[id]/")


def test_samples_of_dates_and_numbers_have_the_right_type():
    text = preview(
        template(
            '{{ starts|date:"Y" }}',
            '{{ price|floatformat:2 }} for {{ n|default:"0" }} seat{{ n|pluralize }}',
            language="de",
        )
    )
    assert len(text.title) == 4
    assert text.title.isdigit()
    assert text.body == "2,00 for 2 seats"


def test_buttons_are_previewed_too():
    text = preview(template("x", actions=[{"action": "open", "title": "Open {{ number }}"}]))
    assert text.actions == [{"action": "open", "title": "Open [number]"}]


def test_variables_inside_conditions_are_found_and_text_is_not_escaped():
    assert (
        preview(template("{% if arrives %}{{ arrives }}{% else %}later & {{ more }}{% endif %}")).title == "[arrives]"
    )


@pytest.mark.parametrize("title", ["{{ a }} {{ a.b }}", "{{ a.b }} {{ a }}"])
def test_a_variable_that_is_also_a_dict_stays_a_dict(title):
    assert sample_context(template(title)) == {"a": {"b": "[a.b]"}}


def test_several_attributes_of_one_variable_are_sampled_together():
    assert sample_context(template("{{ a.b }} {{ a.c }}")) == {"a": {"b": "[a.b]", "c": "[a.c]"}}


def test_literals_need_no_value():
    assert sample_context(template('{{ "text"|upper }} {{ 7 }}')) == {}


@pytest.mark.parametrize("title", ["{% debug %}", "{{ price|floatformat:200 }}"])
def test_templates_that_cannot_be_rendered_raise_one_type_of_error(title):
    with pytest.raises(TemplateRenderError):
        preview(template(title))


def test_given_values_replace_samples():
    row = template("Order {{ number }}", "{{ day|date:'Y' }} {{ where }}")
    text = preview(row, {"number": 4711, "where": "Ulm"})
    assert text.title == "Order 4711"
    assert text.body.endswith(" Ulm")
    with pytest.raises(TypeError, match=r"context\['number'\]"):
        preview(row, {"number": object()})

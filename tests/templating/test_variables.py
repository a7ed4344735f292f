"""Which variables a template names."""

import pytest

from django_webpush_kit.exceptions import TemplateRenderError
from django_webpush_kit.templating.preview import template_variables
from tests.templating.texts import new_template


def variables(source, **fields):
    return [str(variable) for variable in template_variables(new_template(body_template=source, **fields))]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ a }} {{ b.c.0 }} {{ recipient.name|upper }}", ["a", "b.c.0", "recipient.name"]),
        ("{{ 'text'|upper }} {{ 7 }} {{ True }} {{ None.x }} text", []),
        ("{{ a|default:b }}", ["a (optional)", "b"]),
        ("{{ a|cut:b|yesno }}", ["a (optional)", "b"]),
        ("{{ a }}{{ a|default:'' }}", ["a"]),
        ("{{ a|default:'' }}{{ a }}", ["a"]),
        ("{% if a > b and not c|length %}{{ d }}{% elif e %}{% else %}{{ f }}{% endif %}", list("abcdef")),
        ("{% firstof a b.c 'x' %}", ["a (optional)", "b.c (optional)"]),
        ("{% firstof a as x %}{{ x }}{{ x.y }}{{ y }}", ["a (optional)", "y"]),
        ("{% with x=a.b y='t' %}{{ x.c }}{{ y }}{{ z }}{% endwith %}{{ x }}", ["a.b (optional)", "a.b.c", "z", "x"]),
        ("{% with x=a|upper %}{{ x }}{% endwith %}", ["a"]),
        ("{% with x=a %}{% with y=x %}{{ y|default:1 }}{% endwith %}{% endwith %}", ["a (optional)"]),
        ("{% comment %}{{ a }}{% endcomment %}{# {{ b }} #}", []),
    ],
)
def test_variables_are_listed_in_order_and_optional_ones_are_marked(source, expected):
    if "{% if" in source:
        expected = [f"{name} (optional)" for name in expected]
    assert variables(source) == expected


def test_every_text_is_searched():
    row = new_template(
        title_template="{{ a }}",
        url_template="/{{ b }}",
        icon_template="/{{ c }}",
        actions=[{"action": "{{ d }}", "title": "{{ e }}", "url": "/{{ f }}", "icon": "/{{ g }}"}],
    )
    assert [variable.name for variable in template_variables(row)] == list("abcdefg")


@pytest.mark.parametrize("fields", [{"title_template": "{% if %}"}, {"actions": 7}, {"actions": ["x"]}])
def test_a_malformed_template_raises_one_type_of_error(fields):
    with pytest.raises(TemplateRenderError, match="Template news"):
        template_variables(new_template(**fields))

"""Templates that could not be stored or sent are refused by field."""

from contextlib import suppress

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from tests.templating.texts import new_template

MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"title_template": "{% if %}"}, "title_template"),
        ({"body_template": "{{ a b }}"}, "body_template"),
        ({"url_template": "{% url 'x' %}"}, "url_template"),
        ({"icon_template": "{{ x|nope }}"}, "icon_template"),
        ({"actions": {"action": "a"}}, "actions"),
        ({"actions": ["a"]}, "actions"),
        ({"actions": [{"action": "a"}]}, "actions"),
        ({"actions": [{"action": "a", "title": "A", "onclick": "x"}]}, "actions"),
        ({"actions": [{"action": "a", "title": 1}]}, "actions"),
        ({"actions": [{"action": "a", "title": "{% if %}"}]}, "actions"),
        ({"language": "../../etc"}, "language"),
        ({"options": []}, "options"),
        ({"options": {"url": "/x"}}, "options"),
        ({"options": {"ttl": -1}}, "options"),
        ({"vibrate_pattern": "buzz"}, "vibrate_pattern"),
    ],
)
def test_errors_of_templates_that_cannot_be_sent_name_the_field(fields, wrong):
    with pytest.raises(ValidationError) as refusal:
        new_template(**fields).clean()
    assert list(refusal.value.message_dict) == [wrong]


@pytest.mark.parametrize("language", ["", "de", "pt-br", "zh-Hant-TW", "pt_BR"])
def test_a_valid_template_is_accepted(language):
    new_template(
        language=language,
        title_template="{{ a }}",
        actions=[{"action": "a", "title": "A", "url": "/a/{{ b }}"}],
        options={"ttl": 60, "urgency": "high", "topic": "news"},
        vibrate_pattern=[100, 50],
    ).clean()


@pytest.mark.parametrize("field", ["type", "title_template", "body_template", "url_template", "icon_template"])
@pytest.mark.parametrize("value", ["a\x00", "\ud800", None, 7])
def test_errors_of_text_that_databases_refuse_name_the_field(field, value):
    with pytest.raises(ValidationError) as refusal:
        new_template(**{field: value}).clean()
    assert list(refusal.value.message_dict) == [field]


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"options": {"data": {"a": float("nan")}}}, "options"),
        ({"options": {"data": {"a": [float("inf")]}}}, "options"),
        ({"options": {"data": {"a\x00": 1}}}, "options"),
        ({"options": {"data": {"a": "\ud800"}}}, "options"),
        ({"options": {"data": {"a": nested(900)}}}, "options"),
        ({"options": {"retry_base": float("nan")}}, "options"),
        ({"vibrate_pattern": nested(900)}, "vibrate_pattern"),
        ({"vibrate_pattern": [float("-inf")]}, "vibrate_pattern"),
        ({"actions": nested(900)}, "actions"),
        ({"actions": [{"action": "a\x00", "title": "A"}]}, "actions"),
        ({"actions": [{"action": "a", "title": None}]}, "actions"),
        ({"actions": [{"action": "a", "title": "A", "url": "javascript:x"}]}, "actions"),
        ({"url_template": "http://example.com/"}, "url_template"),
        ({"icon_template": "//example.com/x.png"}, "icon_template"),
        ({"language": "d"}, "language"),
        ({"language": 7}, "language"),
    ],
)
def test_errors_of_unusable_values_name_the_field(fields, wrong):
    with pytest.raises(ValidationError) as refusal:
        new_template(**fields).clean()
    assert list(refusal.value.message_dict) == [wrong]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.thorough
@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("actions", "options", "vibrate_pattern", "language", "url_template"), json_values)
    )
)
def test_no_value_of_a_field_raises_anything_but_a_validation_error(fields):
    with suppress(ValidationError):
        new_template(**fields).clean()

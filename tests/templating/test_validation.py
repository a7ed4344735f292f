"""Templates that could not be stored or sent are refused by field."""

import pytest
from django.core.exceptions import ValidationError

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
def test_a_template_that_could_not_be_sent_is_refused_by_field(fields, wrong):
    with pytest.raises(ValidationError) as refusal:
        new_template(**fields).clean()
    assert list(refusal.value.message_dict) == [wrong]


@pytest.mark.parametrize("language", ["", "de", "pt-br", "zh-Hant-TW", "pt_BR"])
def test_a_good_template_is_accepted(language):
    new_template(
        language=language,
        title_template="{{ a }}",
        actions=[{"action": "a", "title": "A", "url": "/a/{{ b }}"}],
        options={"ttl": 60, "urgency": "high", "topic": "news"},
        vibrate_pattern=[100, 50],
    ).clean()

"""The shipped notification templates: they load, are valid, and say something in both languages."""

from datetime import datetime, timezone

import pytest
from django.core.management import call_command

from django_webpush_kit.models import NotificationTemplate, get_template_model
from django_webpush_kit.options import template_options
from django_webpush_kit.services import send_templated
from django_webpush_kit.templating.renderer import TemplateRenderer

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(
        get_template_model() is not NotificationTemplate, reason="a fixture names its model; see push_templates import"
    ),
]

CONTEXT = {
    "number": 4711,
    "arrives": datetime(2025, 5, 1, 12, tzinfo=timezone.utc),
    "what": "Yoga for all 🧘",
    "starts": datetime(2025, 5, 1, 18, 30, tzinfo=timezone.utc),
    "where": "Studio 2",
    "sender": "Bob",
    "text": "Hi!",
    "url": "/somewhere/",
}

TYPES = {"booking_confirmed", "booking_reminder", "message_received", "order_shipped", "welcome"}


@pytest.fixture
def templates(db):
    call_command("loaddata", "notification_templates", verbosity=0)
    return list(get_template_model().objects.all())


def test_each_type_exists_in_english_and_german(templates):
    assert {(template.type, template.language) for template in templates} == {
        (type_, language) for type_ in TYPES for language in ("", "de")
    }


def test_each_template_is_valid_and_renders(templates):
    for template in templates:
        template.full_clean()
        template_options(template)
        text = TemplateRenderer(template.type, CONTEXT, templates=[template]).render(template.language)
        assert text.title
        assert text.body
        assert "{" not in text.title + text.body


def test_the_two_languages_differ_and_format_dates_differently(templates):
    renderer = TemplateRenderer(
        "booking_reminder", CONTEXT, templates=get_template_model().objects.filter(type="booking_reminder")
    )
    assert renderer.render("de-at").title == "Erinnerung: Yoga for all 🧘 um 18:30 Uhr"
    assert renderer.render("en").title == "Reminder: Yoga for all 🧘 at 6:30 p.m."
    assert renderer.render("de").body == "1. Mai 2025, Studio 2"


def test_each_type_can_be_sent(templates, subscription):
    for type_ in TYPES:
        assert send_templated(type_, to=subscription, context=CONTEXT).queued == 1


def test_loading_again_restores_the_texts_without_duplicates(templates):
    changed = templates[0]
    get_template_model().objects.filter(pk=changed.pk).update(title_template="Changed")
    call_command("loaddata", "notification_templates", verbosity=0)
    again = get_template_model().objects.all()
    assert {(row.pk, row.type, row.title_template) for row in again} == {
        (row.pk, row.type, row.title_template) for row in templates
    }


def test_a_dump_with_natural_keys_can_be_loaded_elsewhere(templates, tmp_path):
    dump = tmp_path / "templates.json"
    call_command("dumpdata", "webpush_kit.notificationtemplate", natural_primary=True, output=str(dump))
    get_template_model().objects.exclude(type="welcome").delete()
    call_command("loaddata", str(dump), verbosity=0)
    assert get_template_model().objects.count() == len(templates)
    assert get_template_model().objects.filter(type="welcome").count() == 2

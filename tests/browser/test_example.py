"""The main job, end to end: a real browser uses the example site, and the django-q2 cluster delivers to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.studio import POTTERY, book, events, log_in, open_studio, select
from tests.browser.waiting import wait_until

pytest.importorskip("django_q")
pytestmark = pytest.mark.browser


@pytest.fixture
def studio(push_service, tmp_path):
    with open_studio(tmp_path) as running:
        yield running


@pytest.fixture
def german_firefox(firefox):
    firefox.run_privileged("Services.prefs.setStringPref('intl.accept_languages', 'de')")
    yield firefox
    firefox.run_privileged("Services.prefs.clearUserPref('intl.accept_languages')")


ROOT = Path(__file__).resolve().parent.parent.parent


def toggle_state(browser):
    return browser.run("return document.querySelector('webpush-toggle').getAttribute('state')")


def test_a_booking_is_confirmed_shown_reported_and_clicked(german_firefox, push_service, studio):
    firefox = german_firefox
    log_in(firefox, studio, "kaethe")

    firefox.open(f"{studio.origin}/notifications/")
    wait_until(lambda: toggle_state(firefox) == "off", "the switch to be off")
    firefox.click("#push-toggle")
    wait_until(lambda: toggle_state(firefox) == "on", "the switch to be on")
    assert select(studio, "SELECT language, is_active FROM webpush_kit_pushsubscription") == [("de", 1)]

    address = book(firefox, studio, POTTERY)
    title = f"Gebucht: {POTTERY}"
    shown = firefox.wait_for_notification(title)
    assert shown["body"].startswith("Schön, Käthe! Bis ")
    assert shown["body"].endswith(", 18:00 Uhr, Tonkammer. Änne Groß freut sich auf dich.")
    wait_until(lambda: events(studio) == [("booking_confirmed", "delivered")], "the worker's report")

    firefox.open(f"{studio.origin}/")
    firefox.click_notification(title)
    wait_until(lambda: address in firefox.tabs(), "the booking's page")
    wait_until(lambda: ("booking_confirmed", "clicked") in events(studio), "the click's report")
    statuses = select(studio, "SELECT type, status FROM webpush_kit_pushnotification ORDER BY id")
    assert statuses == [("booking_confirmed", "sent"), ("booking_reminder", "pending")]


def test_a_member_asks_for_a_test_and_turns_notifications_off_again(firefox, studio):
    log_in(firefox, studio, "zoe")
    firefox.open(f"{studio.origin}/notifications/")
    wait_until(lambda: toggle_state(firefox) == "off", "the switch to be off")
    firefox.click("#push-toggle")
    wait_until(lambda: toggle_state(firefox) == "on", "the switch to be on")
    firefox.click("#push-test")
    firefox.wait_for_notification("Test notification")
    firefox.click("#push-toggle")
    wait_until(lambda: toggle_state(firefox) == "off", "the switch to be off again")
    assert select(studio, "SELECT is_active FROM webpush_kit_pushsubscription") == [(0,)]


def test_chromium_shows_what_the_cluster_sends(chromium, tmp_path):
    environment = {
        "STUDIO_TRANSPORT": "tests.browser.relay.RelayTransport",
        "TEST_PUSH_ORIGIN": chromium.push_service.origin,
        "PYTHONPATH": str(ROOT),
    }
    with open_studio(tmp_path, **environment) as studio:
        chromium.allow_notifications(studio.origin)
        log_in(chromium, studio, "zoe")
        chromium.open(f"{studio.origin}/notifications/")
        wait_until(lambda: toggle_state(chromium) == "off", "the switch to be off")
        chromium.run("document.getElementById('push-toggle').click()")
        wait_until(lambda: toggle_state(chromium) == "on", "the switch to be on")

        address = book(chromium, studio, POTTERY)
        title = f"Booked: {POTTERY}"
        assert chromium.wait_for_notification(title)["body"].startswith("Zoë, see you on ")
        wait_until(lambda: events(studio) == [("booking_confirmed", "delivered")], "the worker's report")

        chromium.open(f"{studio.origin}/")
        chromium.click_notification(title)
        wait_until(lambda: address in chromium.tabs(), "the booking's page")
        wait_until(lambda: ("booking_confirmed", "clicked") in events(studio), "the click's report")

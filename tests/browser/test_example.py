"""The main job, end to end: a real browser uses the example site, and the django-q2 cluster delivers to it."""

from __future__ import annotations

import pytest

from tests.browser.studio import POTTERY, book, events, open_studio, relayed_to, select, subscribe, toggle_state
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = pytest.mark.browser


@pytest.fixture
def studio(push_service, studio_folder):
    with open_studio(studio_folder) as running:
        yield running


@pytest.fixture
def german_firefox(firefox):
    firefox.run_privileged("Services.prefs.setStringPref('intl.accept_languages', 'de')")
    yield firefox
    firefox.run_privileged("Services.prefs.clearUserPref('intl.accept_languages')")


def test_a_booking_is_confirmed_shown_reported_and_clicked(german_firefox, push_service, studio):
    firefox = german_firefox
    subscribe(firefox, studio, "kaethe")
    assert select(studio, "SELECT language, is_active FROM webpush_kit_pushsubscription") == [("de", 1)]

    address = book(firefox, studio, POTTERY)
    title = f"Gebucht: {POTTERY}"
    shown = firefox.wait_for_notification(title)
    assert shown["body"].startswith("Schön, Käthe! Bis ")
    assert shown["body"].endswith(", 18:00 Uhr, Clay Room. Änne Groß freut sich auf dich.")
    wait_until(lambda: events(studio) == [("booking_confirmed", "delivered")], "the worker's report")

    firefox.open(f"{studio.origin}/")
    firefox.click_notification(title)
    wait_until(lambda: address in firefox.tabs(), "the booking's page")
    wait_until(lambda: ("booking_confirmed", "clicked") in events(studio), "the click's report")
    statuses = select(studio, "SELECT type, status FROM webpush_kit_pushnotification ORDER BY id")
    assert statuses == [("booking_confirmed", "sent"), ("booking_reminder", "pending")]


def test_a_member_asks_for_a_test_and_turns_notifications_off_again(firefox, studio):
    subscribe(firefox, studio, "zoe")
    firefox.click("#push-test")
    firefox.wait_for_notification("Test notification")
    firefox.click("#push-toggle")
    wait_until(lambda: toggle_state(firefox) == "off", "the switch to be off again")
    assert select(studio, "SELECT is_active FROM webpush_kit_pushsubscription") == [(0,)]


def test_chromium_shows_what_the_cluster_sends(chromium, studio_folder):
    with open_studio(studio_folder, **relayed_to(chromium)) as studio:
        subscribe(chromium, studio, "zoe")
        address = book(chromium, studio, POTTERY)
        title = f"Booked: {POTTERY}"
        assert chromium.wait_for_notification(title)["body"].startswith("Zoë, see you on ")
        wait_until(lambda: events(studio) == [("booking_confirmed", "delivered")], "the worker's report")

        chromium.open(f"{studio.origin}/")
        chromium.click_notification(title)
        wait_until(lambda: address in chromium.tabs(), "the booking's page")
        wait_until(lambda: ("booking_confirmed", "clicked") in events(studio), "the click's report")

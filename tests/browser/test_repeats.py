"""A worker dies between the push service's answer and its own note of it: the row is sent again, and shown once.

The site, its database, the workers and their deaths, the push and the browser are real. What the user sees is taken
from where it is drawn: Firefox's own alert windows, and for Chromium the desktop's notification centre.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager, suppress
from itertools import count

import pytest

from example_project.backstage.running import MANAGE
from tests.browser.browser import SeenAlert
from tests.browser.studio import open_site, relayed_to, select, subscribe
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = pytest.mark.browser

_numbers = count(1)


@pytest.fixture
def titles():
    """Of the message that is repeated, and of one after it: new ones, for the desktop keeps those of former tests."""
    number = next(_numbers)
    return f"Your table {number} is booked", f"Train {number} leaves in an hour"


@pytest.fixture
def studio(browser, studio_folder):
    with open_site(studio_folder, **relayed_to(browser)) as running:
        subscribe(browser, running, "zoe")
        yield running


def test_a_repeat_of_a_shown_notification_is_invisible(browser, studio, titles):
    repeated, last = titles
    seen_before = len(browser.alerts())
    send_and_die(studio, "push_send", "zoe", repeated, "--now")
    browser.wait_for_notification(repeated)
    browser.stop_service_workers()

    end_lease(studio)
    with received(browser):
        studio.manage("deliver_push")
    assert [shown["title"] for shown in browser.notifications()] == [repeated]

    # what the repeat might have brought up would be there when the next message is
    send(studio, "push_send", "zoe", last, "--now")
    assert_alerts(browser, seen_before, [SeenAlert(repeated), SeenAlert(last)])
    assert events(studio) == [(repeated, "delivered"), (last, "delivered")]


@pytest.mark.parametrize("is_watched", [True, False], ids=["with a page open", "with no page open"])
def test_a_repeat_of_a_dismissed_notification_is_not_shown(browser, studio, titles, is_watched):
    repeated, last = titles
    seen_before = len(browser.alerts())
    send_and_die(studio, "push_send", "zoe", repeated, "--now")
    browser.wait_for_notification(repeated)
    browser.dismiss_notification(repeated)
    wait_until(lambda: (repeated, "dismissed") in events(studio), "the dismissal's report")
    if not is_watched:
        browser.open("about:blank")

    # with no page of the site in sight Chromium wants something on screen: without a sound, and taken away at once
    is_needed = browser.name == "chromium" and not is_watched
    silently = [SeenAlert(repeated, is_silent=True)] if is_needed else []
    # twice, for Chromium lets a site that is much used off with one push that shows nothing
    for repeats, deliver in ((1, die_delivering), (2, deliver_all)):
        browser.stop_service_workers()
        end_lease(studio)
        with received(browser):
            deliver(studio)
        assert_alerts(browser, seen_before, [SeenAlert(repeated), *silently * repeats])
        wait_until(lambda: repeated not in browser.on_screen(), "the repeat to be taken away")

    send(studio, "push_send", "zoe", last, "--now")
    assert_alerts(browser, seen_before, [SeenAlert(repeated), *silently * 2, SeenAlert(last)])
    assert repeated not in browser.on_screen()
    assert events(studio) == [(repeated, "delivered"), (repeated, "dismissed"), (last, "delivered")]


def assert_alerts(browser, since, expected):
    """What the user was shown since a moment; it may take the desktop a while to draw it."""
    with suppress(TimeoutError):
        wait_until(lambda: browser.alerts()[since:] == expected, "the alerts")
    assert browser.alerts()[since:] == expected


def send(studio, *command):
    """Run a command that sends one message, and wait until the service worker has reported it."""
    with reported(studio):
        studio.manage(*command)
    assert newest(studio) == ("sent", 201)


def send_and_die(studio, *command):
    """The same, but the process is killed right after the push service has taken the message."""
    with reported(studio):
        die(studio, *command)


def deliver_all(studio):
    """Deliver the due notification: a repeat, which the service worker does not report."""
    studio.manage("deliver_push")
    assert newest(studio) == ("sent", 201)


def die_delivering(studio):
    die(studio, "deliver_push")


def die(studio, *command):
    """Run a command in a process that is killed right after the push service has taken the message."""
    died = subprocess.run(
        [sys.executable, str(MANAGE), *command],
        env={**studio.environment, "STUDIO_TRANSPORT": "tests.browser.relay.DyingTransport"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    assert newest(studio) == ("sending", None)


def end_lease(studio):
    """Let the time of a dead process's lease pass: the row is anybody's again."""
    with closing(sqlite3.connect(studio.folder / "db.sqlite3", timeout=20)) as database, database:
        database.execute("UPDATE webpush_kit_pushnotification SET next_attempt_at = strftime('%Y-%m-%d %H:%M:%f')")


@contextmanager
def reported(studio):
    """Within the block something is pushed; wait until the service worker has reported it."""
    before = studio.log("site").count(REPORT)
    yield
    wait_until(lambda: studio.log("site").count(REPORT) > before, "the service worker's report")


@contextmanager
def received(browser):
    """Within the block something is pushed; wait until the browser has it. Repeats are not reported."""
    before = browser.received()
    yield
    wait_until(lambda: browser.received() > before, "the push")


REPORT = '"POST /api/v1/push/events HTTP/1.1" 200'


def newest(studio):
    """State of the message that was written last."""
    return select(studio, "SELECT status, response_status FROM webpush_kit_pushnotification ORDER BY id DESC")[0]


def events(studio):
    """What became of each message, in the order of the reports."""
    return select(
        studio,
        "SELECT notification.title, event.action_type FROM webpush_kit_notificationanalytics event"
        " JOIN webpush_kit_pushnotification notification ON notification.id = event.notification_id ORDER BY event.id",
    )

"""The story of a notification in words, told from a row and its events alone."""

from datetime import datetime, timedelta, timezone

import pytest

from django_webpush_kit.admin.story import MEANINGS, duration, tell
from django_webpush_kit.attempt_log import MAX_LENGTH, Step, line
from django_webpush_kit.models import get_analytics_model, get_notification_model, get_subscription_model

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def row(status, *steps, push_service="fcm.googleapis.com", **fields):
    """An outbox row that is not saved; each step is `(seconds, kind, status, reason, until)`."""
    log = "".join(
        line(kind, at=at(seconds), status=code, reason=reason, until=None if until is None else at(until))
        for seconds, kind, code, reason, until in steps
    )
    given = {"title": "Hello", "created_at": NOON, "next_attempt_at": NOON, "attempt_log": log, **fields}
    return get_notification_model()(
        status=status, subscription=get_subscription_model()(push_service=push_service), **given
    )


def event(seconds, action_type, action_id=""):
    return get_analytics_model()(timestamp=at(seconds), action_type=action_type, action_id=action_id)


def texts(story):
    return [entry.text for entry in story.entries]


def test_all_kinds_of_steps_are_told_in_order():
    notification = row(
        "sent",
        (0, Step.WAIT, None, "Quiet hours", 3600),
        (3600, Step.ANSWER, 503, "HTTP 503", 3642),
        (3642, Step.WAIT, None, "The push service is paused", 3650),
        (3650, Step.WAIT, None, "The push service is paused", 3660),
        (3660, Step.ANSWER, None, "timed out", 3700),
        (3700, Step.ANSWER, 500, "BadGateway", 3702),
        sent_at=at(3702),
        response_status=201,
        options={"actions": [{"action": "track", "title": "Track"}]},
    )
    events = [event(3720, "clicked"), event(3705, "delivered"), event(3725, "action_clicked", "track")]
    events += [event(3730, "action_clicked", "gone"), event(3740, "dismissed")]
    story = tell(notification, events, now=at(4000), origin="the broadcast Autumn sale")
    assert texts(story) == [
        "Queued by the broadcast Autumn sale",
        "Waited for the end of quiet hours, until 13:00:00",
        "FCM answered 503, tried again after 1 min",
        "Postponed until 13:01:00: The push service is paused (2 times)",
        "FCM did not answer (timed out), tried again after 40 s",
        "FCM answered 500 (BadGateway), tried again after 2 s",
        "Accepted by FCM (HTTP 201)",
        "Shown after 3 s",
        "Clicked",
        "Clicked: Track",
        "Clicked: gone",
        "Dismissed",
    ]
    assert [entry.at for entry in story.entries[:2]] == [NOON, NOON]
    assert (story.why, story.outlook) == ("", [])


def test_a_notification_accepted_at_once_and_not_shown_yet():
    story = tell(row("sent", sent_at=at(1), options={"ttl": 60}), [], now=at(30))
    assert texts(story) == ["Queued", "Accepted by FCM"]
    assert story.outlook == [
        "No browser has reported that it was shown.",
        "Until 12:01:01, the push service keeps the message for a browser that is offline.",
    ]
    assert "kept it until" in tell(row("sent", sent_at=at(1), options={"ttl": 60}), [], now=at(90)).outlook[-1]
    limited = row("sent", sent_at=at(1), expires_at=at(10), options={"ttl": 60})
    assert "kept it until" in tell(limited, [], now=at(30)).outlook[-1]


def test_a_browser_may_report_before_the_acceptance_is_recorded():
    assert texts(tell(row("sent", sent_at=at(2)), [event(1, "delivered")], now=at(3)))[-1] == "Shown at once"
    assert texts(tell(row("sending"), [event(1, "delivered")], now=at(3)))[-1] == "Shown"


def test_a_pending_notification_says_when_it_is_due():
    waiting = row(
        "pending",
        (0, Step.ANSWER, 503, "HTTP 503", 42),
        next_attempt_at=at(42),
        retry_count=1,
        failure_reason="HTTP 503",
        options={"ttl": 600},
    )
    story = tell(waiting, [], now=at(2))
    assert texts(story)[-1] == "FCM answered 503, will be tried again after 42 s"
    assert story.why == "The push service has a problem of its own."
    assert story.outlook == [
        "Due at 12:00:42, in 40 s.",
        "Retries used: 1 of 3.",
        "It expires at 12:10:00 if it is not sent by then.",
    ]
    late = tell(waiting, [], now=at(60))
    assert texts(late)[-1] == "FCM answered 503"
    assert late.outlook[0] == "Due since 12:00:42: the next free worker sends it."


def test_a_scheduled_notification_shows_its_time():
    scheduled = row("pending", scheduled_for=at(86_400), next_attempt_at=at(86_400), options={"ttl": 0})
    story = tell(scheduled, [], now=at(0))
    assert texts(story) == ["Queued", "Scheduled for March 2, 2026 12:00:00"]
    assert story.outlook == ["Due at March 2, 2026 12:00:00, in 1 d."]


def test_a_notification_being_sent_says_what_happens_if_its_worker_dies():
    story = tell(row("sending", (5, Step.LAPSE, None, "", None), next_attempt_at=at(300)), [], now=at(6))
    assert texts(story)[1:] == [
        "A worker took it and did not report an outcome; it is sent again",
        "A worker is sending it now",
    ]
    assert "another one sends it again" in story.outlook[0]


@pytest.mark.parametrize(
    ("status", "steps", "reason", "text", "outlook"),
    [
        ("failed", [(1, Step.ANSWER, 410, "HTTP 410", None)], "HTTP 410", "this was the last attempt", "not tried"),
        ("expired", [(1, Step.END, None, "Too late", None)], "Too late", "Not sent: Too late", "will not be"),
        ("cancelled", [(1, Step.CANCEL, None, "By staff", None)], "By staff", "Cancelled: By staff", "will not be"),
        ("suppressed", [], "Blocked by user preferences", "Not sent: Blocked by user", "will not be"),
        ("cancelled", [], "", "Not sent: cancelled", "will not be"),
        ("failed", [(1, Step.RETRY, None, "", None)], "By hand", "Not sent: By hand", "not tried"),
    ],
)
def test_a_notification_that_was_not_sent_says_why(status, steps, reason, text, outlook):
    story = tell(row(status, *steps, failure_reason=reason), [], now=at(60))
    assert text in texts(story)[-1]
    assert outlook in story.outlook[0]
    assert len(story.entries) == 1 + max(1, len(steps) + (reason == "By hand"))


def test_a_truncated_log_says_so():
    cut = row("pending")
    cut.attempt_log = "x" * MAX_LENGTH
    assert texts(tell(cut, [], now=NOON))[1] == "Earlier steps are not kept"


@pytest.mark.parametrize("options", [[], "x", None, {"ttl": "soon"}, {"actions": 7}])
def test_malformed_stored_options_do_not_break_the_story(options):
    story = tell(row("sent", sent_at=at(1), options=options), [event(2, "action_clicked", "x")], now=at(9))
    assert texts(story)[-1] == "Clicked: x"


@pytest.mark.parametrize(("host", "name"), [("push.example.com", "push.example.com"), ("", "The push service")])
def test_unknown_push_services_are_named_by_their_host(host, name):
    assert f"Accepted by {name}" in texts(tell(row("sent", push_service=host), [], now=NOON))


def test_a_pause_without_an_end_is_shown():
    assert "until ?" in texts(tell(row("pending", (0, Step.WAIT, None, "Odd", None)), [], now=NOON))[1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0, "0 s"), (42, "42 s"), (60, "1 min"), (3725, "1 h 2 min"), (3605, "1 h"), (90_000, "1 d 1 h")],
)
def test_durations_have_two_units_at_most(seconds, text):
    assert duration(seconds) == text


def test_the_most_specific_explanation_of_a_reason_comes_first():
    starts = [start for start, _text in MEANINGS]
    for number, start in enumerate(starts):
        assert not any(start.startswith(earlier) for earlier in starts[:number])


@pytest.mark.parametrize("reason", ["", "Something else"])
def test_an_unknown_reason_has_no_explanation(reason):
    assert tell(row("failed", failure_reason=reason), [], now=NOON).why == ""

"""The log of an outbox row: one line a step, bounded, and readable whatever is stored."""

from datetime import datetime, timedelta, timezone

import pytest

from django_webpush_kit import attempt_log
from django_webpush_kit.attempt_log import Attempt, Step, attempts, is_cut, line
from django_webpush_kit.models import get_notification_model
from tests.factories import make_notification

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
LATER = NOON + timedelta(seconds=42)


def append(row, text):
    get_notification_model().objects.filter(pk=row.pk).update(attempt_log=attempt_log.with_line(text))
    row.refresh_from_db()


@pytest.mark.django_db
def test_lines_are_appended_and_read_in_order(subscription):
    row = make_notification(subscription)
    assert row.attempt_log == ""
    append(row, line(Step.ANSWER, at=NOON, status=503, reason='HTTP 503 "ä\n\x00"', until=LATER))
    append(row, line(Step.END, at=LATER, reason="Not sent before its deadline"))
    assert attempts(row.attempt_log) == [
        Attempt(NOON, Step.ANSWER, 503, 'HTTP 503 "ä\n\x00"', LATER),
        Attempt(LATER, Step.END, None, "Not sent before its deadline", None),
    ]
    assert not is_cut(row.attempt_log)


@pytest.mark.django_db
def test_a_log_keeps_its_latest_steps(subscription):
    row = make_notification(subscription)
    for number in range(100):
        append(row, line(Step.WAIT, at=NOON, reason=f"Reason {number}", until=LATER))
    assert len(row.attempt_log) == attempt_log.MAX_LENGTH
    assert is_cut(row.attempt_log)
    kept = [step.reason for step in attempts(row.attempt_log)]
    assert kept == [f"Reason {number}" for number in range(100 - len(kept), 100)]
    assert len(kept) > 20


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[1]",
        '{"a":1}',
        "null",
        '[1,"jump",null,"",null]',
        '["x","wait",null,"",null]',
        '[1e400,"wait",null,"",null]',
        '[1,"wait","many","",null]',
        '[1,"wait",null,"",1e300]',
        "[" * 100_000,
    ],
)
def test_a_malformed_line_is_skipped(text):
    good = line(Step.RETRY, at=NOON)
    assert attempts(f"{text}\n{good}") == [Attempt(NOON, Step.RETRY, None, "", None)]

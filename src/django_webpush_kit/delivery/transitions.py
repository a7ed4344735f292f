"""Transitions of an outbox row, as pure functions: (row, event) -> change to write."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from django_webpush_kit import attempt_log
from django_webpush_kit.attempt_log import Step
from django_webpush_kit.delivery.backoff import backoff_seconds
from django_webpush_kit.delivery.breaker import Fault, Verdict
from django_webpush_kit.delivery.claiming import Row
from django_webpush_kit.protocol.responses import GONE_STATUSES, Answer
from django_webpush_kit.states import NotificationStatus

NEW_SUBSCRIPTION_RETRY_SECONDS = 60.0
"""Wait before the second attempt after a push service reported a brand-new subscription as gone."""

MIN_FAULT_WAIT_SECONDS = 5.0
MAX_FAULT_WAIT_SECONDS = 900.0

NO_TTL_PAUSE = timedelta(seconds=60)
"""Maximum time that a message with a TTL of 0 waits for the end of a pause."""

REFUSED_STATUSES = (400, 401, 403)

OTHER_KEY = "made with another VAPID key"
"""Reason to deactivate a subscription that is refused while others are accepted."""


class Change(NamedTuple):
    """The values to write to a row. One UPDATE writes all rows with equal changes.

    `until` is the next due time of a pending row. If a push service was asked, `is_answer` is true: `response_status`
    is written and `claims` is reset. `counts_retry` adds one to `retry_count`. `deactivation` is the reason to
    deactivate the row's subscription, or "" to keep it active.
    """

    status: NotificationStatus
    reason: str
    until: datetime | None = None
    response_status: int | None = None
    is_answer: bool = False
    counts_retry: bool = False
    deactivation: str = ""

    @property
    def is_logged(self) -> bool:
        """Whether the row's log gets a line: an accepted message needs none, nor a short wait without a reason."""
        return self.status is not NotificationStatus.SENT and bool(self.reason)


def log_line(change: Change, now: datetime) -> str:
    """Return the line that a change adds to the log of its rows."""
    step = Step.WAIT if change.status is NotificationStatus.PENDING else Step.END
    if change.is_answer:
        step = Step.ANSWER
    return attempt_log.line(step, at=now, status=change.response_status, reason=change.reason, until=change.until)


def ended(status: NotificationStatus, reason: str) -> Change:
    """End the row without sending it."""
    return Change(status, reason[:200])


def postponed(row: Row, until: datetime, reason: str) -> Change:
    """Set the row to pending until a time, or to expired if its deadline is earlier."""
    deadline = row.deadline or row.due + NO_TTL_PAUSE
    if until >= deadline:
        return ended(NotificationStatus.EXPIRED, f"Postponed past its deadline: {reason}")
    return Change(NotificationStatus.PENDING, reason, until)


def put_back(row: Row, until: datetime, reason: str, now: datetime) -> Change:
    """The row was claimed too early: it is due again at a moment before its deadline, or expires if that has passed."""
    deadline = row.deadline or row.due + NO_TTL_PAUSE
    if deadline <= now:
        return ended(NotificationStatus.EXPIRED, "Not sent before its deadline")
    halfway = now + (deadline - now) / 2
    if until > halfway:
        until = min(_next_second(halfway), halfway + (deadline - halfway) / 2)
    return Change(NotificationStatus.PENDING, reason, until)


@lru_cache(maxsize=100)
def accepted(response_status: int | None) -> Change:
    """End the row as sent. Cached, because most rows of a worker get the same change."""
    return Change(NotificationStatus.SENT, "", None, response_status, is_answer=True)


def refused(answer: Answer, response_status: int | None) -> Change:
    """End the row as failed with this answer: too large, rejected, or without retries left."""
    return Change(NotificationStatus.FAILED, answer.reason, None, response_status, is_answer=True)


def called_gone(row: Row, answer: Answer, response_status: int | None, now: datetime, *, is_brand_new: bool) -> Change:
    """Deactivate a subscription reported as gone, unless it is brand-new and this is the first such answer."""
    if is_brand_new and row.response_status not in GONE_STATUSES:
        return _retried(row, answer, response_status, NEW_SUBSCRIPTION_RETRY_SECONDS, now, counts_retry=True)
    return refused(answer, response_status)._replace(deactivation=f"gone ({answer.reason})")


def faulted(
    row: Row, answer: Answer, response_status: int | None, now: datetime, *, fault: Fault | None, verdict: Verdict
) -> Change:
    """Postpone a row after a temporary fault, until its deadline at the latest.

    While the breaker is open, the row waits for the next probe. Otherwise the wait of a refused or throttled row grows
    with its age, and a row without an answer uses one retry. If a subscription is refused again while others are
    accepted, it was created with another key. `fault` is None if only the subscription can be at fault.
    """
    if verdict.paused_until is not None:
        wait = (verdict.paused_until - now).total_seconds()
        return _retried(row, answer, response_status, wait, now)
    if fault is Fault.CREDENTIALS and verdict.is_own_fault and row.response_status in REFUSED_STATUSES:
        change = Change(NotificationStatus.FAILED, f"Subscription {OTHER_KEY}", None, response_status, is_answer=True)
        return change._replace(deactivation=OTHER_KEY)
    if fault in (Fault.CREDENTIALS, Fault.THROTTLED):
        wait = max(_fault_wait_seconds(row, now), _retry_after_seconds(row, answer, now))
        return _retried(row, answer, response_status, wait, now)
    return _unavailable(row, answer, response_status, now, is_own_fault=fault is None or verdict.is_own_fault)


def _unavailable(row: Row, answer: Answer, response_status: int | None, now: datetime, *, is_own_fault: bool) -> Change:
    """Handle a missing answer or a 5xx. A row without retries left fails once the fault is known to be its own."""
    has_retries = row.retry_count < row.max_retries
    if not has_retries and is_own_fault:
        return refused(answer, response_status)
    wait = backoff_seconds(row.retry_count, base=row.options.retry_base, cap=row.options.retry_cap)
    if not has_retries:
        wait = max(wait, MIN_FAULT_WAIT_SECONDS)
    wait = max(wait, _retry_after_seconds(row, answer, now))
    return _retried(row, answer, response_status, wait, now, counts_retry=has_retries)


def _retried(
    row: Row, answer: Answer, response_status: int | None, seconds: float, now: datetime, *, counts_retry: bool = False
) -> Change:
    until = now + timedelta(seconds=seconds)
    if row.deadline is None or until >= row.deadline:
        return Change(NotificationStatus.EXPIRED, answer.reason, None, response_status, is_answer=True)
    return Change(
        NotificationStatus.PENDING, answer.reason, until, response_status, is_answer=True, counts_retry=counts_retry
    )


def _retry_after_seconds(row: Row, answer: Answer, now: datetime) -> float:
    """Return the wait that the answer asks for, shortened if the row would expire before its end."""
    seconds = answer.retry_after or 0.0
    if row.deadline is not None and now + timedelta(seconds=seconds) >= row.deadline:
        return min(seconds, MAX_FAULT_WAIT_SECONDS)
    return seconds


def _fault_wait_seconds(row: Row, now: datetime) -> float:
    """Return a wait with jitter that grows with the age of the row, because these faults use no retries."""
    age = (now - row.due).total_seconds()
    longest = min(max(age, 2 * MIN_FAULT_WAIT_SECONDS), MAX_FAULT_WAIT_SECONDS)
    return random.uniform(longest / 2, longest)  # noqa: S311  # no secret


def _next_second(moment: datetime) -> datetime:
    """The next whole second: rows that are due at the same moment are written together."""
    return moment.replace(microsecond=0) + timedelta(seconds=1)

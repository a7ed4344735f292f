"""Recording outcomes: what each answer means for its row, written in small groups under the lease's fence."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Case, DateTimeField, F, Value, When
from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import outbox_database, retry_on_conflict
from django_webpush_kit.delivery.backoff import backoff_seconds
from django_webpush_kit.delivery.breaker import Breakers
from django_webpush_kit.delivery.claiming import Lease, Row
from django_webpush_kit.models import get_notification_model, get_subscription_model
from django_webpush_kit.protocol.responses import Answer, Outcome, classify
from django_webpush_kit.signals import emit, post_send
from django_webpush_kit.states import NotificationStatus
from django_webpush_kit.subscriptions.deactivation import deactivate_subscriptions
from django_webpush_kit.transports import PushResponse

FLUSH_ROWS = 250
FLUSH_SECONDS = 0.25

BRAND_NEW = timedelta(hours=1)
"""A subscription this young that never accepted a message gets one more try when it is called gone."""

BRAND_NEW_WAIT_SECONDS = 60.0

GONE_STATUSES = (404, 410)

_logger = logging.getLogger("django_webpush_kit")


class Change(NamedTuple):
    """What is written to rows alike; `counts_retry` adds one to `retry_count`, `is_answer` resets `claims`."""

    status: NotificationStatus
    reason: str
    response_status: int | None = None
    counts_retry: bool = False
    is_answer: bool = False
    keeps_answer: bool = False


class Recorder:
    """Collects what became of the rows under a worker's leases and writes it: after `FLUSH_ROWS` or `FLUSH_SECONDS`.

    A chunk that is smaller says that little may be repeated when a worker dies: then it is after as many rows.
    """

    breakers: Breakers
    """The pauses in force, as they stood when rows were last taken, and what has been learnt since."""

    def __init__(self, outcomes: Counter[str]) -> None:
        self._outcomes = outcomes
        self._leases: list[Lease] = []
        self._open: set[Any] = set()
        self._changes: dict[Change, list[tuple[Row, datetime | None]]] = {}
        self._gone: list[tuple[Row, str]] = []
        self._answers: list[tuple[Any, Answer]] = []
        self._waiting = 0
        self._flush_rows = min(FLUSH_ROWS, kit_settings.CHUNK_SIZE)
        self._flushed_at = time.monotonic()
        self._model = get_notification_model()
        self._tells_receivers = post_send.has_listeners(self._model)
        self._transitions = {
            Outcome.ACCEPTED: self._accepted,
            Outcome.GONE: self._called_gone,
            Outcome.CREDENTIALS: self._refused,
            Outcome.TOO_LARGE: self._failed,
            Outcome.REJECTED: self._failed,
            Outcome.THROTTLED: self._throttled,
            Outcome.UNAVAILABLE: self._unavailable,
        }

    def take(self, lease: Lease, rows: Sequence[Row]) -> None:
        """From now on the recorder answers for these rows too."""
        self.breakers = Breakers()
        self._leases.append(lease)
        self._open.update(row.pk for row in rows)

    def finished(self, row: Row, status: NotificationStatus, reason: str) -> None:
        """The row comes to an end without having been sent."""
        self._add(Change(status, reason[:200], keeps_answer=True), row, None, str(status))

    def postponed(self, row: Row, until: datetime, reason: str) -> None:
        """The row goes back to wait until a moment; that is neither an attempt nor a lapse."""
        if row.deadline is not None and until >= row.deadline:
            self.finished(row, NotificationStatus.EXPIRED, f"{reason} until after its deadline")
        else:
            self._add(Change(NotificationStatus.PENDING, reason, keeps_answer=True), row, until, "deferred")

    def answered(self, row: Row, response: PushResponse) -> None:
        """The row's request has an answer, or is known to get none."""
        now = timezone.now()
        answer = classify(
            push_service=row.push_service,
            status=response.status,
            headers=response.headers,
            body=response.body,
            error=response.error,
            now=now.timestamp(),
        )
        if self._tells_receivers:
            self._answers.append((row.pk, answer))
        self._transitions[answer.outcome](row, answer, response.status, now)
        if self._waiting >= self._flush_rows or time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self.flush()

    def started(self, row: Row) -> None:
        """The row's request is made: without an answer it may have been sent, and is left to the end of the lease."""
        self._open.discard(row.pk)

    def flush(self) -> None:
        """Write what has been collected. Rows of another lease are left alone: the fence is the lease token."""
        changes, self._changes, self._waiting = self._changes, {}, 0
        gone, self._gone = self._gone, []
        answers, self._answers = self._answers, []
        if changes:
            retry_on_conflict(lambda: self._write(changes))
        for row, reason in gone:
            _deactivate(row, reason)
        self._tell(answers)
        self._flushed_at = time.monotonic()

    def release_rest(self) -> None:
        """Give back the rows that were claimed and not tried; giving back is not a lapse."""
        if self._open:
            released = retry_on_conflict(
                lambda: self._fenced(list(self._open)).update(
                    status=NotificationStatus.PENDING,
                    lease_token=None,
                    claims=F("claims") - 1,
                    next_attempt_at=timezone.now(),
                )
            )
            self._outcomes["released"] += released
            self._open.clear()

    def _accepted(self, row: Row, answer: Answer, status: int | None, now: datetime) -> None:
        self.breakers.succeed(row.push_service, row.vapid_key_id, now)
        self._finish(NotificationStatus.SENT, row, answer, status)

    def _failed(self, row: Row, answer: Answer, status: int | None, now: datetime) -> None:
        self._finish(NotificationStatus.FAILED, row, answer, status)

    def _called_gone(self, row: Row, answer: Answer, status: int | None, now: datetime) -> None:
        """Gone: deactivate the subscription, unless it is brand-new and this is the first such answer."""
        if row.response_status not in GONE_STATUSES and _is_brand_new(row, now):
            self._wait(row, answer, status, BRAND_NEW_WAIT_SECONDS, now, counts_retry=True)
        else:
            self._gone.append((row, f"gone ({answer.reason})"))
            self._finish(NotificationStatus.FAILED, row, answer, status)

    def _throttled(self, row: Row, answer: Answer, status: int | None, now: datetime) -> None:
        end = self.breakers.throttle(row.push_service, answer.retry_after, answer.reason, now)
        self._wait_for_pause(row, answer, status, end, now)

    def _refused(self, row: Row, answer: Answer, status: int | None, now: datetime) -> None:
        end = self.breakers.refuse_credentials(row.push_service, row.vapid_key_id, answer.reason, now)
        self._wait_for_pause(row, answer, status, end, now)

    def _unavailable(self, row: Row, answer: Answer, status: int | None, now: datetime) -> None:
        if row.retry_count >= row.max_retries:
            self._finish(NotificationStatus.FAILED, row, answer, status)
            return
        wait = backoff_seconds(row.retry_count, base=row.options.retry_base, cap=row.options.retry_cap)
        self._wait(row, answer, status, max(wait, answer.retry_after or 0.0), now, counts_retry=True)

    def _wait_for_pause(self, row: Row, answer: Answer, status: int | None, end: datetime, now: datetime) -> None:
        seconds = (end - now).total_seconds() + backoff_seconds(0, base=1)
        self._wait(row, answer, status, seconds, now, counts_retry=False)

    def _wait(
        self, row: Row, answer: Answer, status: int | None, seconds: float, now: datetime, *, counts_retry: bool
    ) -> None:
        until = now + timedelta(seconds=seconds)
        deadline = now if row.deadline is None else row.deadline
        if until >= deadline:
            self._finish(NotificationStatus.EXPIRED, row, answer, status)
            return
        change = Change(NotificationStatus.PENDING, answer.reason, status, counts_retry=counts_retry, is_answer=True)
        self._add(change, row, until, "retried")

    def _finish(self, outcome: NotificationStatus, row: Row, answer: Answer, status: int | None) -> None:
        reason = "" if outcome == NotificationStatus.SENT else answer.reason
        self._add(Change(outcome, reason, status, is_answer=True), row, None, str(outcome))

    def _add(self, change: Change, row: Row, until: datetime | None, outcome: str) -> None:
        self._changes.setdefault(change, []).append((row, until))
        self._outcomes[outcome] += 1
        self._open.discard(row.pk)
        self._waiting += 1

    def _fenced(self, keys: Sequence[Any]) -> Any:
        """The rows that are still this worker's: whatever ends `sending` takes the token away."""
        tokens = [lease.token for lease in self._leases]
        return self._model.objects.filter(pk__in=keys, lease_token__in=tokens)

    def _write(self, changes: dict[Change, list[tuple[Row, datetime | None]]]) -> None:
        now = timezone.now()
        written = 0
        with transaction.atomic(using=outbox_database()):
            for change, rows in changes.items():
                written += self._fenced([row.pk for row, _until in rows]).update(**_values(change, rows, now))
        late = sum(map(len, changes.values())) - written
        if late:
            _logger.warning("%d outcomes came after their lease had lapsed, or their rows were deleted", late)

    def _tell(self, answers: list[tuple[Any, Answer]]) -> None:
        if answers:
            notifications = self._model.objects.select_related("subscription").in_bulk([key for key, _ in answers])
            for key, answer in answers:
                if key in notifications:
                    emit(
                        post_send,
                        self._model,
                        notification=notifications[key],
                        outcome=answer.outcome.value,
                        answer=answer,
                    )


def _values(change: Change, rows: list[tuple[Row, datetime | None]], now: datetime) -> dict[str, Any]:
    values: dict[str, Any] = {"status": change.status, "lease_token": None, "failure_reason": change.reason}
    if not change.keeps_answer:
        values["response_status"] = change.response_status
    values["claims"] = Value(0) if change.is_answer else F("claims") - 1
    if change.counts_retry:
        values["retry_count"] = F("retry_count") + 1
    if change.status == NotificationStatus.SENT:
        values["sent_at"] = now
    if change.status == NotificationStatus.PENDING:
        values["next_attempt_at"] = _moments(rows)
    return values


def _moments(rows: list[tuple[Row, datetime | None]]) -> Any:
    """One moment for all rows where they agree, else a CASE by key."""
    if len({until for _row, until in rows}) == 1:
        return rows[0][1]
    return Case(*(When(pk=row.pk, then=Value(until)) for row, until in rows), output_field=DateTimeField())


def _is_brand_new(row: Row, now: datetime) -> bool:
    young = get_subscription_model().objects.filter(pk=row.subscription_id, created_at__gt=now - BRAND_NEW)
    if not young.exists():
        return False
    accepted = get_notification_model().objects.filter(subscription=row.subscription_id, status=NotificationStatus.SENT)
    return not accepted.exists()


def _deactivate(row: Row, reason: str) -> None:
    """Deactivate a subscription that is gone, unless the browser has replaced its keys meanwhile."""
    same = get_subscription_model().objects.filter(pk=row.subscription_id, endpoint=row.endpoint, auth_key=row.auth)
    deactivate_subscriptions(same, reason)

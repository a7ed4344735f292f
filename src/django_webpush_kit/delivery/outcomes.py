"""Record the outcomes of the rows under a worker's leases, in small groups."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import DatabaseError, transaction
from django.db.models import F, Value
from django.utils import timezone

from django_webpush_kit import attempt_log
from django_webpush_kit.attempt_log import Step
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import is_statement_error, outbox_database, retry_on_conflict
from django_webpush_kit.delivery import transitions
from django_webpush_kit.delivery.backlog import Looks
from django_webpush_kit.delivery.breaker import USUAL_PAUSES, BreakerKey, Fault, Verdict
from django_webpush_kit.delivery.breakers import Breakers
from django_webpush_kit.delivery.chunk_watch import watch_chunks
from django_webpush_kit.delivery.claiming import Lease, Row, UnreadableRow
from django_webpush_kit.delivery.containment import ErrorLog, raise_if_away, raise_if_shared
from django_webpush_kit.delivery.daily_caps import DailyCaps
from django_webpush_kit.delivery.heartbeats import note_progress
from django_webpush_kit.delivery.pacing import Pacing
from django_webpush_kit.delivery.transitions import Change
from django_webpush_kit.delivery.unfinished import is_passing
from django_webpush_kit.error_reports import log_warning
from django_webpush_kit.models import get_notification_model, get_subscription_model
from django_webpush_kit.protocol.responses import NO_SUBSCRIBER_STATUS, Answer, Outcome, classify
from django_webpush_kit.signals import emit, post_send
from django_webpush_kit.states import Lane, NotificationStatus
from django_webpush_kit.subscriptions.deactivation import deactivate_subscriptions
from django_webpush_kit.transports import PushResponse

FLUSH_ROWS = 250
FLUSH_SECONDS = 0.25

RETRY_SECONDS = 1.0
"""Interval between two attempts to write outcomes while the database fails and responses are still pending."""

BRAND_NEW = timedelta(hours=1)
"""A younger subscription that never accepted a message gets a second attempt after it was reported gone."""

ONLY_OWN = Verdict(paused_until=None, is_own_fault=True)
"""The conclusion from a fault that tells nothing about the push service."""

_FAULTS = {
    Outcome.CREDENTIALS: Fault.CREDENTIALS,
    Outcome.THROTTLED: Fault.THROTTLED,
    Outcome.UNAVAILABLE: Fault.OUTAGE,
}

_logger = logging.getLogger(__name__)


class Recorder:
    """Collects the changes of the rows under a worker's leases and writes them.

    It writes after `FLUSH_ROWS` rows or `FLUSH_SECONDS`. If `CHUNK_SIZE` is smaller, it writes after `CHUNK_SIZE` rows,
    so that fewer messages are repeated after a crash of the worker.
    """

    def __init__(self, outcomes: Counter[str]) -> None:
        self.breakers = Breakers()
        self.pacing = Pacing()
        self.caps = DailyCaps()
        self.backlogs = Looks()
        self.errors = ErrorLog()
        self._outcomes = outcomes
        self._tokens: dict[Any, UUID] = {}
        self._open: set[Any] = set()
        self._changes: defaultdict[Change, list[Any]] = defaultdict(list)
        self._deactivations: list[tuple[Row, str]] = []
        self._answers: list[tuple[Any, Answer]] = []
        self._unread: list[tuple[Row, PushResponse]] = []
        self._waiting = 0
        self._flush_rows = min(FLUSH_ROWS, kit_settings.CHUNK_SIZE)
        self._flushed_at = time.monotonic()
        self._retry_at = 0.0
        self.lease_ends_at = timezone.now()
        """When the last lease of these rows ends."""
        self._model = get_notification_model()
        self._tells_receivers = post_send.has_listeners(self._model)
        self._watch = watch_chunks()

    def take(self, lease: Lease, rows: Iterable[Row | UnreadableRow]) -> None:
        """Add claimed rows. The recorder must record or release each of them."""
        rows = list(rows)
        keys = [row.pk for row in rows]
        self._tokens.update(dict.fromkeys(keys, lease.token))
        self.lease_ends_at = max(self.lease_ends_at, lease.ends_at)
        self._open.update(keys)
        if self._watch is not None:
            self._watch.take(rows)
        self.pacing.read(self.breakers.refresh())

    def ended(self, row: Row, status: NotificationStatus, reason: str) -> None:
        """End the row without sending it."""
        self._add(row.pk, transitions.ended(status, reason), status.value)

    def failed(self, key: Any, step: str, error: Exception) -> None:
        """Fail the row with this key, because `step` raised an error."""
        reason = self.errors.failure_reason(key, step, error)
        self._add(key, transitions.ended(NotificationStatus.FAILED, reason), "failed")

    def postponed(self, row: Row, until: datetime, reason: str) -> None:
        """Set the row to pending until a time. This counts neither as an attempt nor as a lapse."""
        change = transitions.postponed(row, until, reason)
        self._add(row.pk, change, "deferred" if change.status is NotificationStatus.PENDING else change.status.value)

    def put_back(self, row: Row, until: datetime, reason: str = "") -> None:
        """Set a row that was claimed too early for its push service to pending, until a time before its deadline."""
        change = transitions.put_back(row, until, reason, timezone.now())
        self._add(row.pk, change, "deferred" if change.status is NotificationStatus.PENDING else change.status.value)

    def started(self, row: Row) -> None:
        """Record the start of the request. Without a response it may have been sent, so its lease must lapse first."""
        self._open.discard(row.pk)
        if self._watch is not None:
            self._watch.started(row)

    def answered(self, row: Row, response: PushResponse) -> None:
        """Record the response to the row's request, or that there will be none.

        If the database fails, the response is kept, because those of other rows are still to come.
        """
        try:
            self._read_answer(row, response)
        except DatabaseError as error:
            if not is_passing(error):
                raise
            self._unread.append((row, response))
        try:
            self.flush_if_due()
        except DatabaseError as error:
            if not is_passing(error):
                raise

    def flush_if_due(self) -> None:
        """Write the collected changes if there are enough or if the oldest has waited long enough."""
        if self._waiting >= self._flush_rows or time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            if time.monotonic() < self._retry_at:
                return
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self.flush()

    def flush(self) -> None:
        """Write the collected changes. The lease token protects rows that are under another lease now.

        If the database fails, what was not written is kept for the next call.
        """
        while self._unread:
            self._read_answer(*self._unread[0])
            del self._unread[0]
        if self._changes:
            self._write(self._changes)
            changes, self._changes = self._changes, defaultdict(list)
            for keys in changes.values():
                for key in keys:
                    self._tokens.pop(key, None)
        self.breakers.write()
        self.pacing.write()
        while self._deactivations:
            self._deactivate(*self._deactivations[0])
            del self._deactivations[0]
        self._tell(self._answers)
        self._answers = []
        handled, self._waiting = self._waiting, 0
        note_progress(handled)
        self._flushed_at = time.monotonic()
        self._retry_at = 0.0

    def finish(self) -> None:
        """Write the collected changes, and release the rows that were not started. May be repeated if it raises."""
        self.flush()
        self.release_rest()

    def release_rest(self) -> None:
        """Set claimed rows without an attempt to pending. This does not count as a lapse."""
        if self._watch is not None:
            self._watch.close(self._open)
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
            for key in self._open:
                self.breakers.abandon_probe(key)
            self._open.clear()
            self.breakers.write()

    def isolate(self, keys: Sequence[Any]) -> None:
        """Isolate these rows, because one of them made the transport raise."""
        now = timezone.now()
        retry_on_conflict(
            lambda: self._fenced(keys).update(
                status=NotificationStatus.PENDING,
                lane=Lane.ISOLATED,
                lease_token=None,
                next_attempt_at=now,
                attempt_log=attempt_log.with_line(attempt_log.line(Step.LAPSE, at=now)),
            )
        )

    def _read_answer(self, row: Row, response: PushResponse) -> None:
        try:
            self._record_answer(row, response)
        except Exception as error:  # noqa: BLE001 - contained
            raise_if_shared(error)
            self.failed(row.pk, "Reading the answer", error)

    def _record_answer(self, row: Row, response: PushResponse) -> None:
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
        if self._watch is not None:
            self._watch.answered(row, response.status)
        change = self._change(row, answer, response.status, now)
        self._add(row.pk, change, "retried" if change.status is NotificationStatus.PENDING else change.status.value)
        if change.deactivation:
            self._deactivations.append((row, change.deactivation))

    def _change(self, row: Row, answer: Answer, status: int | None, now: datetime) -> Change:
        """Return the change of a row after an answer, and pass the answer to the breakers."""
        if answer.outcome is Outcome.ACCEPTED:
            if not self.breakers.are_all_closed:
                self.breakers.accept(BreakerKey(row.push_service, row.vapid_key_id), row, now)
            if self.pacing.is_watching:
                self.pacing.note_accepted(row.push_service)
            return transitions.accepted(status)
        if answer.outcome is Outcome.GONE:
            return transitions.called_gone(row, answer, status, now, is_brand_new=_is_brand_new(row, now))
        if answer.outcome not in _FAULTS:
            return transitions.refused(answer, status)
        fault = fault_of(answer, status)
        verdict, pauses = ONLY_OWN, USUAL_PAUSES
        if fault is Fault.THROTTLED:
            self.pacing.note_throttled(row.push_service, row.subscription_id, status, now)
            pauses = self.pacing.pauses(row.push_service, status)
        if fault is not None:
            key = BreakerKey(row.push_service, row.vapid_key_id)
            verdict = self.breakers.blame(
                key, row, fault, reason=answer.reason, retry_after=answer.retry_after, now=now, pauses=pauses
            )
        return transitions.faulted(row, answer, status, now, fault=fault, verdict=verdict)

    def _add(self, key: Any, change: Change, outcome: str) -> None:
        self._changes[change].append(key)
        self._outcomes[outcome] += 1
        self._open.discard(key)
        self._waiting += 1
        self.breakers.abandon_probe(key)
        self.caps.settle(key, is_sent=change.status is NotificationStatus.SENT)
        if self._watch is not None:
            self._watch.recorded(key, outcome)

    def _fenced(self, keys: Sequence[Any]) -> Any:
        """Return the rows still leased by this worker: every change from `sending` removes the lease token."""
        tokens = {self._tokens[key] for key in keys if key in self._tokens}
        return self._model.objects.using(outbox_database()).filter(pk__in=keys, lease_token__in=tokens)

    def _write(self, changes: dict[Change, list[Any]]) -> None:
        """Write the changes in one transaction. If the database refuses one, write each row in its own transaction."""
        try:
            written = retry_on_conflict(lambda: self._write_together(changes))
        except DatabaseError as error:
            raise_if_away(error)
            if is_statement_error(error):
                self._model.objects.using(outbox_database()).only("pk").first()  # raises if the table is missing
            written = sum(self._write_alone(key, change) for change, keys in changes.items() for key in keys)
        late = sum(map(len, changes.values())) - written
        if late:
            log_warning(_logger, "%d outcomes came too late: their leases had lapsed or their rows are gone", late)

    def _write_together(self, changes: dict[Change, list[Any]]) -> int:
        now = timezone.now()
        is_one_statement = len(changes) == 1  # which is a transaction of its own, in one round trip instead of three
        with nullcontext() if is_one_statement else transaction.atomic(using=outbox_database()):
            return sum(int(self._fenced(keys).update(**_values(change, now))) for change, keys in changes.items())

    def _write_alone(self, key: Any, change: Change) -> int:
        try:
            return retry_on_conflict(lambda: self._write_together({change: [key]}))
        except DatabaseError as error:
            raise_if_away(error)
            reason = self.errors.failure_reason(key, "Recording the outcome", error)
            values = {"status": NotificationStatus.FAILED, "lease_token": None, "failure_reason": reason}
            return int(retry_on_conflict(lambda: self._fenced([key]).update(**values)))

    def _deactivate(self, row: Row, reason: str) -> None:
        """Deactivate the row's subscription, unless the browser has replaced its keys since then."""
        subscriptions = get_subscription_model().objects.using(outbox_database())
        same = subscriptions.filter(pk=row.subscription_id, endpoint=row.endpoint, auth_key=row.auth)
        try:
            deactivate_subscriptions(same, reason)
        except Exception as error:  # noqa: BLE001 - contained
            raise_if_shared(error)
            self.errors.failure_reason(row.pk, "Deactivating the subscription", error)

    def _tell(self, answers: list[tuple[Any, Answer]]) -> None:
        if not answers:
            return
        notifications = self._read([key for key, _answer in answers])
        for key, answer in answers:
            if key in notifications:
                emit(
                    post_send,
                    self._model,
                    notification=notifications[key],
                    outcome=answer.outcome.value,
                    answer=answer,
                )

    def _read(self, keys: Sequence[Any]) -> dict[Any, Any]:
        """Return the rows with these keys as model instances. Unreadable rows are left out."""
        rows = self._model.objects.using(outbox_database()).select_related("subscription")
        try:
            return rows.in_bulk(keys)
        except Exception as error:  # noqa: BLE001 - contained
            raise_if_shared(error)
            if len(keys) == 1:
                self.errors.failure_reason(keys[0], "Reading the row for post_send", error)
                return {}
        return {key: row for one in keys for key, row in self._read([one]).items()}


def fault_of(answer: Answer, status: int | None) -> Fault | None:
    """Return the kind of fault if the answer may affect a whole push service, or None if only its subscription.

    A push service that answers with a status below 500, or that nobody listens to one of its topics, works.
    """
    works = status is not None and (status < 500 or status == NO_SUBSCRIBER_STATUS)
    if answer.outcome is Outcome.UNAVAILABLE and works:
        return None
    return _FAULTS[answer.outcome]


def _values(change: Change, now: datetime) -> dict[str, Any]:
    values: dict[str, Any] = {"status": change.status, "lease_token": None, "failure_reason": change.reason}
    values["claims"] = Value(0) if change.is_answer else F("claims") - 1
    if change.is_answer:
        values["response_status"] = change.response_status
    if change.counts_retry:
        values["retry_count"] = F("retry_count") + 1
    if change.status == NotificationStatus.SENT:
        values["sent_at"] = now
    if change.until is not None:
        values["next_attempt_at"] = change.until
    if change.is_logged:
        values["attempt_log"] = attempt_log.with_line(transitions.log_line(change, now))
    return values


def _is_brand_new(row: Row, now: datetime) -> bool:
    subscriptions = get_subscription_model().objects.using(outbox_database())
    if not subscriptions.filter(pk=row.subscription_id, created_at__gt=now - BRAND_NEW).exists():
        return False
    rows = get_notification_model().objects.using(outbox_database())
    return not rows.filter(subscription=row.subscription_id, status=NotificationStatus.SENT).exists()

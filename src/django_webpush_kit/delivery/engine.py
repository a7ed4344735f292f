"""The delivery engine: claim due rows under a lease, send them, record what came of it.

    pending --claim--> sending --2xx--> sent
       ^                 |--retryable--> pending (next_attempt_at later)
       |                 |--permanent--> failed
       |<--lease lapsed--'
       |--deadline--> expired    |--preference, opt-out--> suppressed    |--cancel, owner change--> cancelled

`deliver_due` is the one entry point of every task backend, the sweep and the command. It may run any number of times at
once. A worker that dies leaves rows in `sending`; when their lease lapses, the next call returns them to `pending`.
Every write after the claim is fenced by the lease token, so a worker that overslept its lease changes nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID, uuid4

from django.db import DatabaseError, connections, transaction
from django.db.models import F, QuerySet
from django.db.transaction import TransactionManagementError
from django.utils import timezone

from django_webpush_kit.base_models import Lane, NotificationStatus
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.delivery.broadcast import fan_out
from django_webpush_kit.delivery.collector import collector
from django_webpush_kit.delivery.database import is_inside_transaction, outbox_database, retry_on_conflict
from django_webpush_kit.delivery.gate import Gate
from django_webpush_kit.delivery.record import Recorder
from django_webpush_kit.delivery.resources import get_transport, request_seconds
from django_webpush_kit.delivery.rows import Lease, Row, read_rows
from django_webpush_kit.delivery.sending import RequestBuilder
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.transports import PushRequest

LANES = (Lane.HIGH, Lane.NORMAL, Lane.LOW)

LAPSES_BEFORE_ISOLATION = 2
"""A row whose lease lapsed this often is claimed alone from then on."""

EVERY_KIND = 8
"""With enough ordinary rows waiting, every so many chunks an isolated row is tried and broadcasts are fanned out."""

CHUNKS_OUTSTANDING = 2
"""With answers of as many rows outstanding no other chunk is claimed: a worker has less than three chunks in hand."""

SHARE_FOR_RECORDING = 0.05
"""The part of a lease that is kept free after the last possible answer, so that it can still be recorded."""

LAPSED_AT_ONCE = 1000
"""Rows that one statement returns; it bounds how long the statement holds locks."""

Turn: TypeAlias = Literal["first", "last", "never"]
"""When isolated rows are claimed: before everything else, when nothing else is due, or not."""

QUARANTINED = "Quarantined: every worker that tried to send it died"


@dataclass(slots=True)
class DeliveryReport:
    """What one call did.

    `outcomes` counts rows by the state or step they went to: sent, retried, failed, expired, suppressed, cancelled,
    deferred (quiet hours, pauses) and released. `more` says that rows may still be due.
    """

    claimed: int = 0
    more: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        """Rows that a push service accepted."""
        return self.outcomes["sent"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows claimed together. No request may start after `stop_at` (time.monotonic()).

    `is_last` says that nothing is to be sent beside it or was left to claim: an isolated row, or fewer than asked for.
    """

    lease: Lease
    rows: list[Row]
    stop_at: float
    is_last: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far one call goes: rows of one batch or of all, `limit` of them, up to a moment or until it is stopped."""

    limit: int | None
    batch: UUID | None
    give_up_at: float
    is_stopped: Callable[[], bool]

    def are_reached(self, report: DeliveryReport) -> bool:
        """Whether the call has done what it may; notes in the report that rows may still be due."""
        report.more = self.is_stopped() or time.monotonic() >= self.give_up_at or self.chunk_size(report) <= 0
        return report.more

    def chunk_size(self, report: DeliveryReport) -> int:
        """How many rows may be claimed next."""
        size: int = kit_settings.CHUNK_SIZE
        return size if self.limit is None else min(size, self.limit - report.claimed)


def deliver_due(
    limit: int | None = None,
    *,
    batch: UUID | None = None,
    seconds: float | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> DeliveryReport:
    """Send what is due, until nothing is, or `limit` rows were claimed, or `seconds` have passed, or `is_stopped()`.

    With `batch` only rows of that batch are sent. Raises TransactionManagementError inside a transaction: rows must be
    committed before they are sent, and a request must not hold locks.
    """
    if is_inside_transaction(outbox_database()):
        raise TransactionManagementError(
            "deliver_due() was called inside a transaction. Call it after commit: transaction.on_commit(deliver_due)."
        )
    report = DeliveryReport()
    give_up_at = time.monotonic() + seconds if seconds is not None else float("inf")
    bounds = Bounds(limit, batch, give_up_at, is_stopped)
    while return_lapsed() == LAPSED_AT_ONCE:
        pass
    while not bounds.are_reached(report):
        claimed = report.claimed
        with collector.while_any():
            deliver(_run(bounds, report), report)
        is_written = batch is None and fan_out(give_up_at)
        if report.claimed == claimed and not is_written:
            break
    return report


def return_lapsed(now: datetime | None = None) -> int:
    """Return rows whose lease has lapsed to `pending`; those that lapse again and again are isolated, then given up.

    Returns the number of rows that were returned or given up.
    """
    now = now or timezone.now()
    notification = get_notification_model()
    lapsed = notification.objects.filter(
        status=NotificationStatus.SENDING, lane__in=Lane.values, next_attempt_at__lte=now
    )
    keys = list(lapsed.values_list("pk", flat=True)[:LAPSED_AT_ONCE])
    if not keys:
        return 0
    given_up = LAPSES_BEFORE_ISOLATION + kit_settings.MAX_CLAIMS
    back = {"status": NotificationStatus.PENDING, "lease_token": None}

    def statements() -> int:
        with transaction.atomic(using=outbox_database()):
            mine = lapsed.filter(pk__in=keys)
            failed = mine.filter(claims__gte=given_up).update(
                status=NotificationStatus.FAILED, lease_token=None, failure_reason=QUARANTINED
            )
            isolated = mine.filter(claims__gte=LAPSES_BEFORE_ISOLATION).update(lane=Lane.ISOLATED, **back)
            return failed + isolated + mine.update(**back)

    return retry_on_conflict(statements)


def claim(
    size: int,
    *,
    batch: UUID | None = None,
    stop_at: float = float("inf"),
    isolated: Turn = "last",
) -> Chunk:
    """Take up to `size` due rows, the most urgent first, for the length of a lease.

    Rows whose lease lapsed twice are claimed alone, so that a row that kills its worker takes none with it: when
    nothing else is due, or before everything else, or not at all, as `isolated` says.
    """
    now = timezone.now()
    lease = Lease(uuid4(), now + timedelta(seconds=kit_settings.LEASE_SECONDS))
    longest = request_seconds() + kit_settings.LEASE_SECONDS * SHARE_FOR_RECORDING
    stop_at = min(stop_at, time.monotonic() + kit_settings.LEASE_SECONDS - longest)
    due = get_notification_model().objects.due(now)
    if batch is not None:
        due = due.filter(batch=batch)
    alone = due.filter(lane=Lane.ISOLATED)
    taken = taken_alone = _take(alone, 1, lease) if isolated == "first" else 0
    if not taken:
        for lane in LANES:
            taken += _take(due.filter(lane=lane), size - taken, lease) if taken < size else 0
    if not taken and isolated == "last":
        taken = taken_alone = _take(alone, 1, lease)
    rows = retry_on_conflict(lambda: read_rows(lease)) if taken else []
    return Chunk(lease, rows, stop_at, is_last=bool(taken_alone) or taken < size)


def deliver(chunks: Iterable[Chunk], report: DeliveryReport) -> None:
    """Send the rows of the chunks and record each outcome, in small groups as they come in.

    A chunk is asked for when the one before has been handed over, so that the network has something to do meanwhile.
    """
    recorder = Recorder(report.outcomes)
    started: dict[Any, Row] = {}
    try:
        for response in get_transport().send(_requests(chunks, recorder, started)):
            recorder.answered(started.pop(response.id), response)
    finally:
        recorder.flush()
        recorder.release_rest()


def _run(bounds: Bounds, report: DeliveryReport) -> Iterator[Chunk]:
    """Claim chunk after chunk, until no more rows are due or it is every kind's turn."""
    isolated: Turn = "first" if _turns.is_for_every_kind else "last"
    while not bounds.are_reached(report):
        size = bounds.chunk_size(report)
        try:
            chunk = claim(size, batch=bounds.batch, stop_at=bounds.give_up_at, isolated=isolated)
        except DatabaseError:
            if isolated != "never":
                raise
            return  # what is in flight is recorded first, if that is possible; the next claim tells
        _turns.take()
        report.claimed += len(chunk.rows)
        yield chunk
        if chunk.is_last or _turns.is_for_every_kind:
            return
        isolated = "never"  # the last chunk's rows are still in flight: one that kills its worker would take them along


def _requests(chunks: Iterable[Chunk], recorder: Recorder, started: dict[Any, Row]) -> Iterator[PushRequest]:
    """The requests of the chunks one by one, as the transport asks for them; each row is noted in `started`."""
    for chunk in chunks:
        recorder.take(chunk.lease, chunk.rows)
        ready = Gate(chunk.rows, recorder.breakers, recorder).admitted()
        for row, request in RequestBuilder(recorder).requests(ready, chunk.stop_at):
            # A row in flight whose lease has lapsed may come again: then the answer to its first request counts.
            if row.pk not in started:
                started[row.pk] = row
                recorder.started(row)
                yield request
        if time.monotonic() >= chunk.stop_at or len(started) >= CHUNKS_OUTSTANDING * kit_settings.CHUNK_SIZE:
            return


class _Turns:
    """Counts this process's chunks: of `EVERY_KIND`, one is for isolated rows first, and broadcasts are fanned out."""

    def __init__(self) -> None:
        self._taken = 0

    @property
    def is_for_every_kind(self) -> bool:
        return self._taken % EVERY_KIND == EVERY_KIND - 1

    def take(self) -> None:
        self._taken += 1


_turns = _Turns()


def _take(due: QuerySet[Any], size: int, lease: Lease) -> int:
    """Lease the first `size` rows of one lane, in index order; returns how many.

    Where the database has SKIP LOCKED, workers step around each other's rows. Elsewhere one conditional UPDATE decides
    who gets a row: on SQLite a SELECT before the UPDATE would only raise lock errors. There the status is asked in the
    subquery alone: beside the keys it would mislead SQLite into reading every pending row.
    """
    features = connections[outbox_database()].features
    rows = due.model.objects
    first = due.order_by("next_attempt_at", "pk").values_list("pk", flat=True)
    values = {
        "status": NotificationStatus.SENDING,
        "lease_token": lease.token,
        "claims": F("claims") + 1,
        "next_attempt_at": lease.ends_at,
    }

    def statements() -> int:
        with transaction.atomic(using=outbox_database(), durable=True):
            if features.has_select_for_update_skip_locked:
                chosen = rows.filter(pk__in=list(first.select_for_update(skip_locked=True)[:size]))
            elif features.allow_sliced_subqueries_with_in:
                chosen = rows.filter(pk__in=first[:size])
            else:
                chosen = rows.pending().filter(pk__in=list(first[:size]))
            return int(chosen.update(**values))

    return retry_on_conflict(statements)

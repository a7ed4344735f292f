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

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.db.transaction import TransactionManagementError
from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import is_inside_transaction, outbox_database
from django_webpush_kit.delivery.claiming import LAPSED_AT_ONCE, Chunk, Row, Turn, claim, return_lapsed
from django_webpush_kit.delivery.containment import error_name
from django_webpush_kit.delivery.eligibility import Gate
from django_webpush_kit.delivery.fan_out import fan_out
from django_webpush_kit.delivery.flow import Flow
from django_webpush_kit.delivery.manual_pause import is_all_paused
from django_webpush_kit.delivery.outcomes import Recorder
from django_webpush_kit.delivery.requests import RequestBuilder
from django_webpush_kit.delivery.transport import get_transport
from django_webpush_kit.transports import PushRequest

_logger = logging.getLogger(__name__)

EVERY_KIND = 8
"""Under backlog, every 8th chunk goes to isolated rows and fan-out."""

SLOW_SERVICE_SECONDS = 1.0
"""How long rows are put back that a worker cannot send, because their push service has its share in flight."""


RATE_LIMIT_SLEEP_SECONDS = 0.2
"""How often a call that has an end looks for rows that wait for the rate limit of their push service."""


@dataclass(slots=True)
class DeliveryReport:
    """What one call did.

    `outcomes` counts rows by the state or step they went to: sent, retried, failed, expired, suppressed, cancelled,
    deferred (quiet hours, pauses, rate limits) and released. `more` says that rows may still be due. `waits_until` is
    the last moment at which a row that waits for a rate limit is due again.
    """

    claimed: int = 0
    more: bool = False
    waits_until: datetime | None = None
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        """Rows that a push service accepted."""
        return self.outcomes["sent"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far one call goes: rows of one batch or of all, `limit` of them, up to a moment or until it is stopped."""

    limit: int | None
    batch: UUID | None
    deadline: float
    is_stopped: Callable[[], bool]
    on_backlog: Callable[[], None]

    def are_reached(self, report: DeliveryReport) -> bool:
        """Whether the call has done what it may; notes in the report that rows may still be due."""
        report.more = self.is_stopped() or time.monotonic() >= self.deadline or self.chunk_size(report) <= 0
        return report.more

    def fan_out(self) -> bool:
        """Write the next rows of broadcasts, unless one batch alone is to be sent; whether any were written.

        Returns lapsed leases too: both are due every few chunks, however long a call lasts.
        """
        return_lapsed()
        written = fan_out(self.deadline) if self.batch is None else 0
        if written > kit_settings.CHUNK_SIZE:
            self.on_backlog()
        return bool(written)

    def may_wait(self, report: DeliveryReport) -> bool:
        """Whether rows wait for a rate limit, and the call has an end: else its caller looks for them again."""
        return self.deadline < float("inf") and report.waits_until is not None and timezone.now() < report.waits_until

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
    on_backlog: Callable[[], None] = lambda: None,
) -> DeliveryReport:
    """Send what is due, until nothing is, or `limit` rows were claimed, or `seconds` have passed, or `is_stopped()`.

    With `batch` only rows of that batch are sent. `on_backlog` is called when a broadcast has written more rows than a
    chunk holds: more workers would help. Raises TransactionManagementError inside a transaction: rows must be committed
    before they are sent, and a request must not hold locks.
    """
    if is_inside_transaction(outbox_database()):
        raise TransactionManagementError(
            "deliver_due() was called inside a transaction, or with autocommit switched off. Call it after commit: "
            "transaction.on_commit(deliver_due)."
        )
    report = DeliveryReport()
    deadline = time.monotonic() + seconds if seconds is not None else float("inf")
    deliver_within(Bounds(limit, batch, deadline, is_stopped, on_backlog), report)
    return report


def deliver_within(bounds: Bounds, report: DeliveryReport) -> None:
    """Send what is due within the bounds, adding to the report as it goes: what `deliver_due` calls."""
    turns = _Turns()
    while return_lapsed() == LAPSED_AT_ONCE:
        pass
    while not bounds.are_reached(report) and not is_all_paused():
        claimed = report.claimed
        flow = Flow(get_transport())
        deliver(_run(bounds, report, turns, flow), report, flow)
        has_written = bounds.fan_out()
        if report.claimed == claimed and not has_written:
            if not bounds.may_wait(report):
                break
            time.sleep(RATE_LIMIT_SLEEP_SECONDS)


def deliver(chunks: Iterable[Chunk | None], report: DeliveryReport, flow: Flow | None = None) -> None:
    """Send the rows of the chunks and record each outcome, in small groups as they come in.

    The next chunk is claimed while responses to the previous one are still pending, to keep the network busy. A chunk
    that is None says that nothing is due at the moment.
    """
    transport = get_transport()
    flow = flow or Flow(transport)
    recorder = Recorder(report.outcomes)
    requests = cast("Iterator[PushRequest]", _requests(chunks, recorder, flow))  # with None if it accepts pauses
    try:
        for response in transport.send(requests):
            row = flow.finish(response.id)
            if row is not None:
                recorder.answered(row, response)
    except (DatabaseError, ImproperlyConfigured):
        raise
    except Exception as error:  # noqa: BLE001 - contained
        _contain(error, recorder, flow.in_flight)
    finally:
        recorder.flush()
        recorder.release_rest()
        report.waits_until = max(filter(None, (report.waits_until, recorder.pacing.waits_until)), default=None)


def _contain(error: Exception, recorder: Recorder, in_flight: list[Any]) -> None:
    """The transport raised: end the one row in flight; have several rows claimed one at a time from now on."""
    if not in_flight:
        raise error
    if len(in_flight) > 1:
        recorder.isolate(in_flight)
        reason = "%d rows are sent again, one at a time, because the transport raised %s"
        _logger.error(reason, len(in_flight), error_name(error), exc_info=error)
    else:
        recorder.failed(in_flight[0], "The transport", error)


def _run(bounds: Bounds, report: DeliveryReport, turns: _Turns, flow: Flow) -> Iterator[Chunk | None]:
    """Claim chunk after chunk, until nothing is due and nothing in flight; None when there is nothing to do but wait.

    Every `EVERY_KIND` chunks what is in flight is awaited, so that an isolated row may be sent alone, and broadcasts
    are fanned out. A push service that does not answer does not hold that up for long.
    """
    isolated: Turn = "first" if turns.is_for_every_kind else "last"
    has_more = True
    while not bounds.are_reached(report):
        if not flow.is_empty and flow.accepts_pauses and not has_more and not flow.is_time_to_look():
            yield None
            continue
        flow.note_look()
        if is_all_paused():
            return
        try:
            chunk = claim(bounds.chunk_size(report), batch=bounds.batch, stop_at=bounds.deadline, isolated=isolated)
        except DatabaseError:
            if isolated != "never":
                raise
            return  # what is in flight is recorded first, if that is possible; the next claim tells
        turns.take()
        report.claimed += len(chunk.rows) + len(chunk.unreadable)
        yield chunk
        isolated = "never"  # rows are in flight: one that kills its worker would take them along
        has_more = not chunk.is_last
        if chunk.is_last or turns.is_for_every_kind:
            yield from _awaited(flow)
            if flow.is_empty or not flow.accepts_pauses:
                return
            has_more = bounds.fan_out() or has_more


def _awaited(flow: Flow) -> Iterator[None]:
    """Wait until nothing is in flight, but not for a push service that does not answer."""
    while flow.accepts_pauses and not flow.is_empty and not flow.is_stalled:
        yield None


def _requests(chunks: Iterable[Chunk | None], recorder: Recorder, flow: Flow) -> Iterator[PushRequest | None]:
    """The requests of the chunks one by one, as the transport asks for them; None when it should ask again later."""
    for chunk in chunks:
        yield from _started_parked(flow, recorder)
        if chunk is None:
            recorder.flush_if_due()
            yield None
            continue
        yield from _requests_of(chunk, recorder, flow)
        recorder.flush_if_due()
        while flow.is_full:
            if not flow.accepts_pauses:
                return
            if flow.is_time_to_look():
                _put_back(flow.give_up_parked(), recorder)
            yield from _started_parked(flow, recorder)
            recorder.flush_if_due()
            if flow.is_full:
                yield None
        if time.monotonic() >= chunk.stop_at:
            _put_back(flow.give_up_parked(), recorder)
            return
    while not flow.is_empty and flow.accepts_pauses:
        if flow.is_stalled:
            _put_back(flow.give_up_parked(), recorder)
        yield from _started_parked(flow, recorder)
        recorder.flush_if_due()
        yield None


def _requests_of(chunk: Chunk, recorder: Recorder, flow: Flow) -> Iterator[PushRequest]:
    recorder.take(chunk.lease, [*chunk.rows, *chunk.unreadable])
    for key, error in chunk.unreadable:
        recorder.failed(key, "Reading the row", error)
    ready = Gate(chunk.rows, recorder).admitted()
    for row, request in RequestBuilder(recorder).requests(ready, chunk.stop_at):
        if not flow.has_room(row.push_service):
            flow.park(row, request, chunk.stop_at)
        elif flow.start(row):
            recorder.started(row)
            yield request


def _started_parked(flow: Flow, recorder: Recorder) -> Iterator[PushRequest]:
    """The parked requests whose push services have room again."""
    for row, request in flow.unparked():
        if flow.start(row):
            recorder.started(row)
            yield request


def _put_back(rows: list[Row], recorder: Recorder) -> None:
    """Let rows of a slow push service wait, so that this worker can claim rows of others."""
    until = timezone.now() + timedelta(seconds=SLOW_SERVICE_SECONDS)
    for row in rows:
        recorder.put_back(row, until)


class _Turns:
    """Counts the chunks of one call: of `EVERY_KIND`, one is for isolated rows first, and broadcasts are fanned out."""

    def __init__(self) -> None:
        self._taken = 0

    @property
    def is_for_every_kind(self) -> bool:
        return self._taken % EVERY_KIND == EVERY_KIND - 1

    def take(self) -> None:
        self._taken += 1

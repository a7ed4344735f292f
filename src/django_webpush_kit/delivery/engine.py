"""The delivery engine: claim due rows under a lease, send them, and record the outcomes.

    pending --claim--> sending --2xx--> sent
       ^                 |--retryable--> pending (next_attempt_at later)
       |                 |--permanent--> failed
       |<--lease lapsed--'
       |--deadline--> expired    |--preference, opt-out--> suppressed    |--cancel, owner change--> cancelled

Every task backend, the sweep and the command call `deliver_due`. Any number of calls may run at the same time. A worker
that dies leaves rows in `sending`. When their lease lapses, the next call returns them to `pending`. Every write after
the claim checks the lease token, so a worker whose lease has lapsed changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.db.transaction import TransactionManagementError
from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import is_inside_transaction, outbox_database
from django_webpush_kit.delivery.breaker import PAUSED
from django_webpush_kit.delivery.claiming import LAPSED_AT_ONCE, Chunk, Row, Turn, claim, return_lapsed
from django_webpush_kit.delivery.containment import error_name
from django_webpush_kit.delivery.eligibility import Gate
from django_webpush_kit.delivery.fan_out import fan_out, may_write_before
from django_webpush_kit.delivery.flow import Flow
from django_webpush_kit.delivery.manual_pause import is_all_paused
from django_webpush_kit.delivery.outcomes import Recorder
from django_webpush_kit.delivery.requests import RequestBuilder
from django_webpush_kit.delivery.transport import get_transport
from django_webpush_kit.delivery.unfinished import finish_kept, finish_or_keep
from django_webpush_kit.error_reports import error_text, log_error
from django_webpush_kit.transports import PushRequest, PushResponse, Transport

_logger = logging.getLogger(__name__)

EVERY_KIND = 8
"""Under backlog, every 8th chunk goes to isolated rows and fan-out."""

SLOW_SERVICE_SECONDS = 1.0
"""Delay for rows that cannot be sent now because their push service already has its share in flight."""


RATE_LIMIT_SLEEP_SECONDS = 0.2
"""Interval at which a call with a time limit checks for rows that waited for a rate limit."""


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
    """The limits of one call: a batch, a number of rows, a deadline and a stop function.

    After `rest_after` rows the call ends as soon as nothing is in flight. Unlike a limit, it does not make the rows of
    others wait for a push service that does not answer.
    """

    limit: int | None
    batch: UUID | None
    deadline: float
    is_stopped: Callable[[], bool]
    on_backlog: Callable[[], None]
    rest_after: float = float("inf")

    def are_reached(self, report: DeliveryReport) -> bool:
        """Return whether a limit is reached. If so, set `more` in the report."""
        report.more = self.is_stopped() or time.monotonic() >= self.deadline or self.chunk_size(report) <= 0
        return report.more

    def replenish(self) -> bool:
        """Return lapsed leases and, unless a single batch is sent, write the next rows of broadcasts.

        Returns whether broadcast rows were written. Called every few chunks, so that long calls do both too.
        """
        return_lapsed()
        written = fan_out(self.deadline) if self.batch is None else 0
        if written > kit_settings.CHUNK_SIZE:
            self._ask_for_help()
        return bool(written)

    def is_passed_over(self, chunk: Chunk) -> bool:
        """Whether a broadcast that is more urgent than the rows of the chunk waits to write its own."""
        return self.batch is None and may_write_before(chunk.lane)

    def may_wait(self, report: DeliveryReport, looked_at: datetime) -> bool:
        """Return whether rows waited for a rate limit at the last claim, and the call has a time limit.

        A call without a time limit does not wait: its caller will check for these rows again.
        """
        return self.deadline < float("inf") and report.waits_until is not None and looked_at < report.waits_until

    def _ask_for_help(self) -> None:
        """Wake more workers. If the task backend raises, this worker continues alone."""
        try:
            self.on_backlog()
        except Exception as error:  # noqa: BLE001 - contained
            log_error(_logger, "The task backend could not wake more workers: %s", error_text(error), error=error)

    def chunk_size(self, report: DeliveryReport) -> int:
        """Return the number of rows that may be claimed next."""
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
    """Send due rows until none are left, `limit` rows were claimed, `seconds` have passed, or `is_stopped()` is true.

    Then nothing more is claimed or started, and the call ends with the last answer: at the latest after the transport's
    `timeout`, and at once where all push services answer.
    `batch` limits the call to rows of one batch. `on_backlog` is called when a broadcast has written more rows than one
    chunk, so that more workers would help. Raises TransactionManagementError inside a transaction: rows must be
    committed before they are sent, and locks must not be held during requests.
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
    """Send due rows within the bounds and update the report. `deliver_due` calls this."""
    try:
        _deliver_within(bounds, report)
    except DatabaseError:
        _leave_session()
        raise


def _leave_session() -> None:
    """Close the connection after an error, so that the next call gets a new session.

    This one may answer, and still be of no use: it has prepared statements for a table that was changed since, or it is
    connected to a file or a server that was replaced.
    """
    connection = connections[outbox_database()]
    if not connection.in_atomic_block:
        connection.close()


def _deliver_within(bounds: Bounds, report: DeliveryReport) -> None:
    turns = _Turns()
    finish_kept()
    while return_lapsed() == LAPSED_AT_ONCE:
        pass
    while not bounds.are_reached(report) and not is_all_paused():
        claimed, looked_at = report.claimed, timezone.now()
        finish_kept()
        flow = Flow(get_transport())
        deliver(_run(bounds, report, turns, flow), report, flow)
        has_written = bounds.replenish()
        if report.claimed >= bounds.rest_after:
            report.more = True
            break
        if report.claimed == claimed and not has_written:
            if not bounds.may_wait(report, looked_at):
                break
            time.sleep(RATE_LIMIT_SLEEP_SECONDS)


def deliver(chunks: Iterable[Chunk | None], report: DeliveryReport, flow: Flow | None = None) -> None:
    """Send the rows of the chunks and record their outcomes in small groups.

    The next chunk is claimed while responses to the previous one are still pending, to keep the network busy. None
    instead of a chunk means that nothing is due at the moment.
    """
    transport = get_transport()
    flow = flow or Flow(transport)
    recorder = Recorder(report.outcomes)
    requests = _Requests(_requests(chunks, recorder, flow))
    try:
        for response in _responses(transport, requests):
            row = flow.finish(response.id)
            if row is not None:
                recorder.answered(row, response)
    except _TransportError as failure:
        _contain(failure.error, recorder, flow.in_flight)
    finally:
        finish_or_keep(recorder.finish, recorder.lease_ends_at)
        report.waits_until = max(filter(None, (report.waits_until, recorder.pacing.waits_until)), default=None)
    if requests.error is not None:
        raise requests.error


class _Requests:
    """An iterator over requests that ends at an exception of its own, and keeps it as `error`.

    The transport still yields the responses to the requests in flight. Without them, these would be sent again.
    """

    def __init__(self, requests: Iterator[PushRequest | None]) -> None:
        self._requests = requests
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[PushRequest | None]:
        try:
            yield from self._requests
        except Exception as error:  # noqa: BLE001 - raised by `deliver`
            self.error = error


def _responses(transport: Transport, requests: _Requests) -> Iterator[PushResponse]:
    """Yield the transport's responses. Its exceptions become `_TransportError`."""
    iterator = cast("Iterator[PushRequest]", iter(requests))  # with None if the transport accepts pauses
    try:
        yield from map(_checked, transport.send(iterator))
    except ImproperlyConfigured:
        raise
    except Exception as error:
        raise _TransportError(error) from error


def _checked(response: object) -> PushResponse:
    if not isinstance(response, PushResponse):
        raise TypeError(f"A transport must yield PushResponse objects, not {type(response).__name__}.")
    return response


class _TransportError(Exception):
    """The transport raised `error`."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def _contain(error: Exception, recorder: Recorder, in_flight: list[Any]) -> None:
    """Handle an exception of the transport: fail a single row in flight; isolate several rows and send them again."""
    if not in_flight:
        raise error
    if len(in_flight) > 1:
        recorder.isolate(in_flight)
        reason = "%d rows are sent again, one at a time, because the transport raised %s"
        log_error(_logger, reason, len(in_flight), error_name(error), error=error)
    else:
        recorder.failed(in_flight[0], "The transport", error)


def _run(bounds: Bounds, report: DeliveryReport, turns: _Turns, flow: Flow) -> Iterator[Chunk | None]:
    """Yield chunks until nothing is due and nothing is in flight. Yields None while there is only waiting to do.

    Every `EVERY_KIND` chunks, and after a chunk that is less urgent than a broadcast that waits, wait for all rows in
    flight, so that an isolated row can be sent alone, and fan out broadcasts. The wait is short if a push service does
    not answer.
    """
    isolated: Turn = "first" if turns.is_for_every_kind else "last"
    has_more = is_first = True  # before the first chunk the caller has asked for the pause
    while not bounds.are_reached(report):
        if not has_more and flow.may_await_answers:
            yield None
            continue
        flow.note_look()
        chunk = None if not is_first and is_all_paused() else _claim(bounds, report, isolated)
        is_first = False
        if chunk is None:
            return
        turns.take()
        yield chunk
        isolated = "never"  # a poison row claimed now would crash the worker while other rows are in flight
        has_more = not chunk.is_last
        if chunk.is_last or turns.is_for_every_kind or bounds.is_passed_over(chunk):
            yield from _awaited(flow)
            if flow.is_empty or not flow.accepts_pauses:
                return
            has_more = bounds.replenish() or has_more


def _claim(bounds: Bounds, report: DeliveryReport, isolated: Turn) -> Chunk | None:
    """Claim the next chunk; None if the database fails while rows are in flight: their answers are recorded first."""
    try:
        chunk = claim(bounds.chunk_size(report), batch=bounds.batch, stop_at=bounds.deadline, isolated=isolated)
    except DatabaseError:
        if isolated != "never":
            raise
        return None
    report.claimed += len(chunk.rows) + len(chunk.unreadable)
    return chunk


def _awaited(flow: Flow) -> Iterator[None]:
    """Wait until nothing is in flight, but not for push services that do not answer."""
    while flow.accepts_pauses and not flow.is_empty and not flow.is_stalled:
        yield None


def _requests(chunks: Iterable[Chunk | None], recorder: Recorder, flow: Flow) -> Iterator[PushRequest | None]:
    """Yield the requests of the chunks as the transport asks for them. None tells it to ask again later."""
    for chunk in chunks:
        yield from _started_parked(flow, recorder)
        if chunk is None:
            recorder.flush_if_due()
            yield None
            continue
        ready = yield from _requests_of(chunk, recorder, flow)
        recorder.flush_if_due()
        if ready < len(chunk.rows) and flow.accepts_pauses:
            yield None  # transports send in groups: those that may go must not wait for chunks whose rows may not
        yield from _until_room(recorder, flow)
        if flow.is_full:
            return
        if time.monotonic() >= chunk.stop_at:
            _put_back(flow.give_up_parked(), recorder)
            return
    yield from _until_empty(recorder, flow)


def _until_room(recorder: Recorder, flow: Flow) -> Iterator[PushRequest | None]:
    """Wait until there is room for another chunk, if the transport accepts pauses; start parked requests meanwhile."""
    while flow.is_full and flow.accepts_pauses:
        if flow.is_time_to_look():
            _put_back(flow.give_up_excess(), recorder)
            flow.note_look()
        yield from _started_parked(flow, recorder)
        recorder.flush_if_due()
        if flow.is_full:
            yield None


def _until_empty(recorder: Recorder, flow: Flow) -> Iterator[PushRequest | None]:
    """Wait for the last answers, if the transport accepts pauses; start the parked requests as there is room."""
    while not flow.is_empty and flow.accepts_pauses:
        if flow.is_stalled:
            _put_back(flow.give_up_parked(), recorder)
        yield from _started_parked(flow, recorder)
        recorder.flush_if_due()
        yield None


def _requests_of(chunk: Chunk, recorder: Recorder, flow: Flow) -> Generator[PushRequest, None, int]:
    """Check the rows of a chunk and start those that may be sent; park those whose push service has its share.

    Returns how many may be sent.
    """
    count = 0
    if not chunk.rows and not chunk.unreadable:
        return count
    recorder.take(chunk.lease, [*chunk.rows, *chunk.unreadable])
    for key, error in chunk.unreadable:
        recorder.failed(key, "Reading the row", error)
    ready = Gate(chunk.rows, recorder).admitted()
    for row, request in RequestBuilder(recorder).requests(ready, chunk.stop_at):
        count += 1
        if not flow.has_room(row.push_service):
            flow.park(row, request, chunk.stop_at)
        elif flow.start(row):
            recorder.started(row)
            yield request
    return count


def _started_parked(flow: Flow, recorder: Recorder) -> Iterator[PushRequest]:
    """Yield the parked requests whose push services have room again and are not paused meanwhile."""
    for row, request in flow.unparked():
        paused_until = recorder.breakers.holds(row)
        if paused_until is not None:
            recorder.postponed(row, paused_until, PAUSED)
        elif flow.start(row):
            recorder.started(row)
            yield request


def _put_back(rows: list[Row], recorder: Recorder) -> None:
    """Postpone rows of a slow push service, so that this worker can claim rows of others."""
    until = timezone.now() + timedelta(seconds=SLOW_SERVICE_SECONDS)
    for row in rows:
        recorder.put_back(row, until)


class _Turns:
    """Counts the chunks of one call. Every `EVERY_KIND` chunks it is the turn of isolated rows and broadcasts."""

    def __init__(self) -> None:
        self._taken = 0

    @property
    def is_for_every_kind(self) -> bool:
        return self._taken % EVERY_KIND == EVERY_KIND - 1

    def take(self) -> None:
        self._taken += 1

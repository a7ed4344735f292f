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
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.db.transaction import TransactionManagementError

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import is_inside_transaction, outbox_database
from django_webpush_kit.delivery.claiming import LAPSED_AT_ONCE, Chunk, Row, Turn, claim, return_lapsed
from django_webpush_kit.delivery.eligibility import Gate
from django_webpush_kit.delivery.fan_out import fan_out
from django_webpush_kit.delivery.outcomes import Recorder
from django_webpush_kit.delivery.requests import RequestBuilder
from django_webpush_kit.delivery.transport import get_transport
from django_webpush_kit.transports import PushRequest

_logger = logging.getLogger(__name__)

EVERY_KIND = 8
"""With enough ordinary rows waiting, every so many chunks an isolated row is tried and broadcasts are fanned out."""

CHUNKS_OUTSTANDING = 2
"""With answers of as many rows outstanding no other chunk is claimed: a worker has less than three chunks in hand."""


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
class Bounds:
    """How far one call goes: rows of one batch or of all, `limit` of them, up to a moment or until it is stopped."""

    limit: int | None
    batch: UUID | None
    deadline: float
    is_stopped: Callable[[], bool]

    def are_reached(self, report: DeliveryReport) -> bool:
        """Whether the call has done what it may; notes in the report that rows may still be due."""
        report.more = self.is_stopped() or time.monotonic() >= self.deadline or self.chunk_size(report) <= 0
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
    on_backlog: Callable[[], None] = lambda: None,
) -> DeliveryReport:
    """Send what is due, until nothing is, or `limit` rows were claimed, or `seconds` have passed, or `is_stopped()`.

    With `batch` only rows of that batch are sent. `on_backlog` is called when a broadcast has written more rows than a
    chunk holds: more workers would help. Raises TransactionManagementError inside a transaction: rows must be committed
    before they are sent, and a request must not hold locks.
    """
    if is_inside_transaction(outbox_database()):
        raise TransactionManagementError(
            "deliver_due() was called inside a transaction. Call it after commit: transaction.on_commit(deliver_due)."
        )
    report = DeliveryReport()
    deadline = time.monotonic() + seconds if seconds is not None else float("inf")
    bounds = Bounds(limit, batch, deadline, is_stopped)
    turns = _Turns()
    while return_lapsed() == LAPSED_AT_ONCE:
        pass
    while not bounds.are_reached(report):
        claimed = report.claimed
        deliver(_run(bounds, report, turns), report)
        written = fan_out(deadline) if batch is None else 0
        if written > kit_settings.CHUNK_SIZE:
            on_backlog()
        if report.claimed == claimed and not written:
            break
    return report


def deliver(chunks: Iterable[Chunk], report: DeliveryReport) -> None:
    """Send the rows of the chunks and record each outcome, in small groups as they come in.

    The next chunk is claimed while responses to the previous one are still pending, to keep the network busy.
    """
    recorder = Recorder(report.outcomes)
    started: dict[Any, Row] = {}
    try:
        for response in get_transport().send(_requests(chunks, recorder, started)):
            row = started.pop(response.id, None)
            if row is not None:
                recorder.answered(row, response)
    except (DatabaseError, ImproperlyConfigured):
        raise
    except Exception as error:  # noqa: BLE001 - contained
        _contain(error, recorder, started)
    finally:
        recorder.flush()
        recorder.release_rest()


def _contain(error: Exception, recorder: Recorder, started: dict[Any, Row]) -> None:
    """The transport raised: end the one row in flight; have several rows claimed one at a time from now on."""
    if not started:
        raise error
    if len(started) > 1:
        recorder.isolate(list(started))
        reason = "%d rows are sent again, one at a time, because the transport raised %s"
        _logger.error(reason, len(started), type(error).__name__, exc_info=error)
        return
    (key,) = started
    recorder.failed(key, "The transport", error)


def _run(bounds: Bounds, report: DeliveryReport, turns: _Turns) -> Iterator[Chunk]:
    """Claim chunk after chunk, until no more rows are due or it is every kind's turn."""
    isolated: Turn = "first" if turns.is_for_every_kind else "last"
    while not bounds.are_reached(report):
        size = bounds.chunk_size(report)
        try:
            chunk = claim(size, batch=bounds.batch, stop_at=bounds.deadline, isolated=isolated)
        except DatabaseError:
            if isolated != "never":
                raise
            return  # what is in flight is recorded first, if that is possible; the next claim tells
        turns.take()
        report.claimed += len(chunk.rows)
        yield chunk
        if chunk.is_last or turns.is_for_every_kind:
            return
        isolated = "never"  # the last chunk's rows are still in flight: one that kills its worker would take them along


def _requests(chunks: Iterable[Chunk], recorder: Recorder, started: dict[Any, Row]) -> Iterator[PushRequest]:
    """The requests of the chunks one by one, as the transport asks for them; each row is noted in `started`."""
    for chunk in chunks:
        recorder.take(chunk.lease, [*chunk.rows, *chunk.unreadable])
        for key, error in chunk.unreadable:
            recorder.failed(key, "Reading the row", error)
        ready = Gate(chunk.rows, recorder).admitted()
        for row, request in RequestBuilder(recorder).requests(ready, chunk.stop_at):
            # A row in flight whose lease has lapsed may come again: then the answer to its first request counts.
            if row.pk not in started:
                started[row.pk] = row
                recorder.started(row)
                yield request
        recorder.flush_if_due()
        if time.monotonic() >= chunk.stop_at or len(started) >= CHUNKS_OUTSTANDING * kit_settings.CHUNK_SIZE:
            return


class _Turns:
    """Counts the chunks of one call: of `EVERY_KIND`, one is for isolated rows first, and broadcasts are fanned out."""

    def __init__(self) -> None:
        self._taken = 0

    @property
    def is_for_every_kind(self) -> bool:
        return self._taken % EVERY_KIND == EVERY_KIND - 1

    def take(self) -> None:
        self._taken += 1

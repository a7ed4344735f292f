"""Report the results of each claimed chunk to observers, and to the log at level DEBUG."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django_webpush_kit.delivery.claiming import Row, UnreadableRow
from django_webpush_kit.error_reports import log_event
from django_webpush_kit.observers import ChunkReport, RequestReport, observers, tell

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Open:
    """A claimed chunk with unfinished rows."""

    rows: list[Row | UnreadableRow]
    started_at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.monotonic)
    outcomes: Counter[str] = field(default_factory=Counter)
    requests: list[RequestReport] = field(default_factory=list)


@dataclass(slots=True)
class _Request:
    """A request in flight, or answered with `status` after `seconds`."""

    row: Row
    started_at: float
    started: float
    status: int | None = None
    seconds: float | None = None


class ChunkWatch:
    """Follows the rows of one recorder from claim to outcome."""

    def __init__(self) -> None:
        self._chunks: dict[Any, _Open] = {}
        self._requests: dict[Any, _Request] = {}

    def take(self, rows: Iterable[Row | UnreadableRow]) -> None:
        """A chunk was claimed."""
        chunk = _Open(list(rows))
        self._chunks.update(dict.fromkeys((row.pk for row in chunk.rows), chunk))

    def started(self, row: Row) -> None:
        """The request of a row has started."""
        self._requests[row.pk] = _Request(row, time.time(), time.monotonic())

    def answered(self, row: Row, status: int | None) -> None:
        """The request has ended. The outcome of the row is recorded next."""
        request = self._requests.get(row.pk)
        if request is not None:
            request.status, request.seconds = status, time.monotonic() - request.started

    def recorded(self, key: Any, outcome: str) -> None:
        """The outcome of a row was recorded."""
        chunk = self._chunks.pop(key, None)
        request = self._requests.pop(key, None)
        if chunk is None:
            return
        chunk.outcomes[outcome] += 1
        if request is not None and request.seconds is not None:
            chunk.requests.append(_report(request, outcome, request.seconds))
        if chunk.outcomes.total() == len(chunk.rows):
            _finish(chunk)

    def close(self, released: Iterable[Any]) -> None:
        """End the watch. The given rows were released; all other unfinished rows got no answer."""
        for key in list(released):
            self.recorded(key, "released")
        for key in list(self._chunks):
            self.recorded(key, "unanswered")


def watch_chunks() -> ChunkWatch | None:
    """Return a watch, or None if neither the log nor an observer needs it, so that delivery is not slowed down."""
    return ChunkWatch() if _logger.isEnabledFor(logging.DEBUG) or observers() else None


def _report(request: _Request, outcome: str, seconds: float) -> RequestReport:
    row = request.row
    return RequestReport(
        notification=row.pk,
        batch=row.batch,
        type=row.type,
        push_service=row.push_service,
        status=request.status,
        outcome=outcome,
        started_at=request.started_at,
        seconds=seconds,
    )


def _finish(chunk: _Open) -> None:
    seconds = time.monotonic() - chunk.started
    counts = {name: chunk.outcomes[name] for name in ("sent", "retried", "failed")}
    other = chunk.outcomes.total() - sum(counts.values())
    log_event(
        _logger,
        logging.DEBUG,
        "webpush.chunk",
        "Chunk done: %d claimed, %d accepted, %d retried, %d failed, %d other in %d ms",
        len(chunk.rows),
        *counts.values(),
        other,
        seconds * 1000,
        claimed=len(chunk.rows),
        accepted=counts["sent"],
        retried=counts["retried"],
        failed=counts["failed"],
        other=other,
        ms=round(seconds * 1000),
    )
    batches = frozenset(row.batch for row in chunk.rows if isinstance(row, Row))
    report = ChunkReport(len(chunk.rows), chunk.outcomes, chunk.requests, chunk.started_at, seconds, batches)
    tell("on_chunk", report)

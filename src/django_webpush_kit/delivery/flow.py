"""Flow control of one worker: rows in flight, and rows parked because their push service has its share.

A push service that does not answer must not delay the rows of others. So each push service gets only a share of the
requests in flight, and the worker looks for due rows again while responses are pending.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.delivery.claiming import Row
from django_webpush_kit.transports import PushRequest, Transport

CHUNKS_IN_HAND = 2
"""Stop claiming while CHUNKS_IN_HAND x CHUNK_SIZE rows are in flight or parked."""

SERVICE_SHARE = 0.75
"""Fraction of the free capacity that one push service may use."""

LOOK_SECONDS = 0.5
"""Interval between two looks for due rows while responses are pending."""

DRAIN_SECONDS = 1.0
"""Parked rows that their push service will have answered after this time, at its present rate, stay parked."""

STALL_SECONDS = 1.0
"""Maximum wait for rows in flight before an isolated row. After this time the worker stops waiting for them."""


class _Parked(NamedTuple):
    row: Row
    request: PushRequest
    stop_at: float


class Flow:
    """The rows of a worker that are in flight or parked during one call of the transport."""

    def __init__(self, transport: Transport) -> None:
        self.accepts_pauses = transport.accepts_pauses
        self._capacity = _capacity(transport)
        self._batch_size = int(getattr(transport, "batch_size", 1))
        self._started: dict[Any, tuple[Row, float]] = {}
        self._in_flight: Counter[str] = Counter()
        self._parked: dict[str, deque[_Parked]] = {}
        self._looked_at = 0.0
        self._answered: Counter[str] = Counter()

    @property
    def is_empty(self) -> bool:
        """Whether no row is in flight or parked."""
        return not self._started and not self._parked

    @property
    def is_full(self) -> bool:
        """Whether too many rows are in flight or parked to claim another chunk."""
        parked = sum(map(len, self._parked.values()))
        return len(self._started) + parked >= CHUNKS_IN_HAND * int(kit_settings.CHUNK_SIZE)

    @property
    def is_stalled(self) -> bool:
        """Whether the oldest row in flight has waited so long that its push service seems to hang."""
        oldest = next(iter(self._started.values()), None)
        return oldest is not None and time.monotonic() - oldest[1] > STALL_SECONDS

    @property
    def in_flight(self) -> list[Any]:
        """The primary keys of the rows in flight."""
        return list(self._started)

    @property
    def may_await_answers(self) -> bool:
        """Whether answers are outstanding and the transport accepts a pause, until it is time to look for due rows."""
        return not self.is_empty and self.accepts_pauses and not self.is_time_to_look()

    def is_time_to_look(self) -> bool:
        """Whether the worker should look for due rows again."""
        return time.monotonic() - self._looked_at >= LOOK_SECONDS

    def note_look(self) -> None:
        """Record that the worker looks for due rows now."""
        self._looked_at = time.monotonic()
        self._answered.clear()

    def has_room(self, push_service: str) -> bool:
        """Return whether one more row of this push service may be sent without using up the share of others."""
        return self._capacity is None or self._room(push_service, self._capacity) > 0

    def _room(self, push_service: str, capacity: int) -> float:
        mine = self._in_flight[push_service]
        others = len(self._started) - mine
        return max((capacity - others) * SERVICE_SHARE, 1) - mine

    def start(self, row: Row) -> bool:
        """Record that the row is being sent. Returns False if it is already in flight: its lease lapsed meanwhile."""
        if row.pk in self._started:
            return False
        self._started[row.pk] = (row, time.monotonic())
        self._in_flight[row.push_service] += 1
        return True

    def finish(self, key: Any) -> Row | None:
        """Record the response to the row with this key. Returns the row, or None if it is not in flight."""
        started = self._started.pop(key, None)
        if started is None:
            return None
        self._in_flight[started[0].push_service] -= 1
        self._answered[started[0].push_service] += 1
        return started[0]

    def park(self, row: Row, request: PushRequest, stop_at: float) -> None:
        """Keep a request until its push service has room. It must not start after `stop_at`."""
        self._parked.setdefault(row.push_service, deque()).append(_Parked(row, request, stop_at))

    def unparked(self) -> Iterator[tuple[Row, PushRequest]]:
        """Take the parked requests that may start now. Starting them in groups is cheaper than one by one."""
        now = time.monotonic()
        for push_service in list(self._parked):
            waiting = self._parked[push_service]
            in_flight = self._in_flight[push_service]
            room = self._room(push_service, self._capacity or 1)
            if room < min(self._batch_size, len(waiting)) and in_flight:
                continue
            while waiting and self.has_room(push_service):
                parked = waiting.popleft()
                if now < parked.stop_at:  # otherwise it is released with the rest of its chunk
                    yield parked.row, parked.request
            if not waiting:
                del self._parked[push_service]

    def give_up_excess(self) -> list[Row]:
        """Remove and return the parked rows that their push services would not answer within `DRAIN_SECONDS`."""
        seconds = max(time.monotonic() - self._looked_at, LOOK_SECONDS)
        excess = []
        for push_service, waiting in list(self._parked.items()):
            kept = int(self._answered[push_service] / seconds * DRAIN_SECONDS)
            excess += [waiting.pop().row for _ in range(len(waiting) - kept)]
            if not waiting:
                del self._parked[push_service]
        return excess

    def give_up_parked(self) -> list[Row]:
        """Remove and return all parked rows, so that rows of other push services can be claimed."""
        rows = [parked.row for waiting in self._parked.values() for parked in waiting]
        self._parked.clear()
        return rows


def _capacity(transport: Transport) -> int | None:
    """Return how many requests may be in flight before the transport blocks, or None if shares do not apply."""
    if not transport.accepts_pauses or transport.max_in_flight is None:
        return None
    return max(transport.max_in_flight - int(getattr(transport, "batch_size", 1)), 1)

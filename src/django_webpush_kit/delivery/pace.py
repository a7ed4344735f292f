"""The rules of rate limits, as pure functions: permits to send, the moments of rows without one, and learned rates.

With N messages a minute each permit takes 60/N seconds. `Pace.permits_until` is the moment up to which permits were
handed out. The last second of permits is kept for urgent rows. Rows without a permit wait for moments spread at the
rate, up to `Pace.waiting_until`, so that a large backlog is not claimed again and again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_webpush_kit.models import PushServiceState

URGENT_SECONDS = 1.0
"""Permits of this time are kept for urgent rows."""

BURST_SECONDS = 2.0
"""Other rows may use the permits of this time at once, if nothing was sent before."""

MAX_WAIT = timedelta(minutes=10)
"""Rows without a permit look again after this time, because a cancelled broadcast may have made room."""

SPREAD = 1.1
"""Waiting rows come back this much faster than permits, so that no permit goes unused."""

MAX_CLOCK_DIFFERENCE = timedelta(seconds=60)
"""Permits handed out further ahead than this were written by a worker whose clock is wrong."""

EVIDENCE_WINDOW = timedelta(seconds=10)
"""Throttled and accepted messages are counted for this time. A rate falls once in it."""

DECREASE = 0.95
MAX_DECREASE = 0.5
INCREASE_PER_MINUTE = 0.01
MIN_RATE = 60.0
"""Messages per minute. No slower rate is learned: breakers and retries are enough for that few messages."""

FORGET_AFTER = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Permits:
    """How many urgent and other rows may be sent now, and the moments at which the others are due again."""

    urgent: int = 0
    other: int = 0
    urgent_moments: tuple[datetime, ...] = ()
    other_moments: tuple[datetime, ...] = ()

    @property
    def waits_until(self) -> datetime | None:
        """The last moment at which a row is due again, or None."""
        return max((*self.urgent_moments, *self.other_moments), default=None)


@dataclass(frozen=True, slots=True)
class Pace:
    """What is stored about the rate of one push service. `learned` is in messages per minute."""

    learned: float | None = None
    learned_at: datetime | None = None
    permits_until: datetime | None = None
    waiting_until: datetime | None = None

    @classmethod
    def of(cls, state: PushServiceState) -> Pace:
        """Return what a stored state says."""
        return cls(state.rate, state.rate_changed_at, state.permits_until, state.waiting_until)

    def rate(self, configured: float | None, now: datetime) -> float | None:
        """Messages per minute that may be sent now; None: as many as possible."""
        rates = [rate for rate in (configured, self.learned_rate(now)) if rate is not None]
        return min(rates, default=None)

    def learned_rate(self, now: datetime) -> float | None:
        """The learned rate with what has been added since the last throttling; None once it is forgotten."""
        if self.learned is None or self.learned_at is None or now - self.learned_at >= FORGET_AFTER:
            return None
        minutes = max((now - self.learned_at).total_seconds(), 0.0) / 60
        learned = max(MIN_RATE, self.learned)  # in this order also for NaN
        return learned * (1 + INCREASE_PER_MINUTE * minutes)

    def taken(self, rate: float, urgent: int, other: int, now: datetime) -> tuple[Permits, Pace]:
        """Take permits for so many rows at `rate` messages per minute; returns them and the state afterwards."""
        interval = max(timedelta(minutes=1 / rate), timedelta.resolution)
        kept = max(timedelta(seconds=URGENT_SECONDS), interval)
        longest = kept + max(timedelta(seconds=BURST_SECONDS), interval)
        idle_since = now - longest
        start = self.permits_until
        if start is None or start > now + MAX_CLOCK_DIFFERENCE:
            start = idle_since
        is_idle = start <= idle_since
        start = max(start, idle_since)
        granted_urgent = min(urgent, _count(start, now, interval))
        start += granted_urgent * interval
        granted = min(other, _count(start, now - kept, interval))
        start += granted * interval
        urgent_moments = _spread(start + interval, urgent - granted_urgent, interval, now)
        last = None if is_idle else self.waiting_until
        other_moments, waiting_until = _queue(last, start + kept + interval, other - granted, interval / SPREAD, now)
        permits = Permits(granted_urgent, granted, urgent_moments, other_moments)
        return permits, replace(self, permits_until=start, waiting_until=waiting_until)

    def queued(self, rate: float, count: int, now: datetime) -> tuple[tuple[datetime, ...], Pace]:
        """Let so many rows wait without permits; returns the moments at which they are due, and the state."""
        step = max(timedelta(minutes=1 / rate), timedelta.resolution) / SPREAD
        moments, waiting_until = _queue(self.waiting_until, now + step, count, step, now)
        return moments, replace(self, waiting_until=waiting_until)

    def throttled(self, seen: int, configured: float | None, now: datetime, *, is_the_same: bool = False) -> Pace:
        """The state after the push service throttled; it had accepted `seen` messages in the last minute.

        The first `EVIDENCE_WINDOW` belongs to the same throttling. `is_the_same` says that it lasts still: nothing was
        accepted since the rate was learned, so that it cannot have been too high.
        """
        measured = seen * DECREASE
        current = self.learned_rate(now)
        if current is not None and self.learned_at is not None and now - self.learned_at < EVIDENCE_WINDOW:
            # the same throttling, better measured
            return replace(self, learned=_within(max(self.learned or 0.0, measured), configured))
        if current is not None and is_the_same:
            return self
        before = self.rate(configured, now)
        if before is None:
            return self if measured < MIN_RATE else replace(self, learned=measured, learned_at=now)
        learned = max(min(before, seen), before * MAX_DECREASE) * DECREASE
        return replace(self, learned=max(learned, MIN_RATE), learned_at=now)


def _within(rate: float, configured: float | None) -> float:
    return rate if configured is None else min(rate, configured)


def _count(start: datetime, end: datetime, interval: timedelta) -> int:
    """How many permits there are between two moments."""
    return max((end - start) // interval, 0)


def _queue(
    last: datetime | None, first: datetime, count: int, step: timedelta, now: datetime
) -> tuple[tuple[datetime, ...], datetime]:
    """The moments of `count` more rows, from `first` on and behind the last row that waits; and the new last moment."""
    start = first if last is None else max(last, first)
    return _spread(start, count, step, now), min(start + count * step, now + MAX_WAIT)


def _spread(start: datetime, count: int, step: timedelta, now: datetime) -> tuple[datetime, ...]:
    """`count` moments from `start` on, `MAX_WAIT` from now at most, in whole seconds: each costs an UPDATE."""
    end = now + MAX_WAIT
    return tuple(next_second(min(start + number * step, end)) for number in range(count))


def next_second(moment: datetime) -> datetime:
    """Return the moment, rounded up to a whole second."""
    return moment.replace(microsecond=0) + timedelta(seconds=ceil(moment.microsecond / 1_000_000))

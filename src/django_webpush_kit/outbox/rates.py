"""The rate of a broadcast: how many rows may be written now, to spread a broadcast over time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from django_webpush_kit.exceptions import InvalidOption

PERIOD_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

MAX_BURST_SECONDS = 60
"""Rows missed during this time are written at once, so that a sweep that runs every minute keeps the rate."""

FIRST_BURST_SECONDS = 1
"""A broadcast starts with the number of rows for this time."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Rows per second. The only state to store is `next_at`, the time of the next row."""

    per_second: float

    @classmethod
    def parse(cls, text: object) -> Rate:
        """Parse a rate such as "5000/m": a number, a slash and s, m, h or d. Raises `InvalidOption` if malformed."""
        match = re.fullmatch(r"([0-9]{1,9})/([smhd])", text) if isinstance(text, str) else None
        if match is None or not int(match[1]):
            found = repr(text)[:50] if isinstance(text, str | int | float) else type(text).__name__
            raise InvalidOption(f'rate must be a number, a slash and s, m, h or d, such as "5000/m", not {found}')
        return cls(int(match[1]) / PERIOD_SECONDS[match[2]])

    def allowance(self, next_at: datetime | None, now: datetime) -> int:
        """Return how many rows may be written now."""
        waited = (now - self._start(next_at, now)).total_seconds()
        return int(waited * self.per_second) + 1 if waited >= 0 else 0

    def after(self, rows: int, next_at: datetime | None, now: datetime) -> datetime:
        """Return the time of the next row after writing `rows` rows now."""
        return self._start(next_at, now) + timedelta(seconds=rows / self.per_second)

    def _start(self, next_at: datetime | None, now: datetime) -> datetime:
        if next_at is None:
            return now - timedelta(seconds=FIRST_BURST_SECONDS)
        return max(next_at, now - timedelta(seconds=max(MAX_BURST_SECONDS, 1 / self.per_second)))

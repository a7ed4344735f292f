"""The limits of one run of the cleanup. The cleanup works in steps; the next run continues."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """A run stops at `deadline` (by `time.monotonic()`) or when `is_stopped()` is true, between two steps."""

    deadline: float = float("inf")
    is_stopped: Callable[[], bool] = lambda: False

    @property
    def are_reached(self) -> bool:
        """Return whether to stop before the next step."""
        return time.monotonic() >= self.deadline or self.is_stopped()

    def share(self, part: float) -> Bounds:
        """Return bounds that end after this part of the remaining time."""
        now = time.monotonic()
        return Bounds(now + (self.deadline - now) * part, self.is_stopped)


def bounds_of(seconds: float | None, is_stopped: Callable[[], bool] = lambda: False) -> Bounds:
    """Return bounds that end after `seconds`; None means no limit."""
    return Bounds(float("inf") if seconds is None else time.monotonic() + seconds, is_stopped)

"""What counts as a broken promise: pure functions over what was written, received and shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


class Impossible(Exception):
    """The fault cannot be tried here; the message says why."""


@dataclass(slots=True)
class Finding:
    """What one fault came to: figures for the table, and the promises it broke, in words."""

    fault: str
    database: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    impossible: str = ""
    """Why it could not be tried."""

    def expect(self, holds: object, otherwise: str) -> None:
        """Note a broken promise unless it holds."""
        if not holds:
            self.broken.append(otherwise)

    def judge(
        self,
        states: Mapping[str, str],
        received: Iterable[str],
        alerts: Iterable[tuple[str, str]],
        *,
        unrecorded: Mapping[str, int],
        may_be_cancelled: bool = False,
    ) -> None:
        """Lost, repeated, shown twice.

        `states` is the state of every row written, `received` the ids that came to browsers, repeats included,
        `alerts` the (browser, id) pairs that a user noticed, `unrecorded` how many leases of that row ended without an
        outcome, or how many of its requests had no answer: that often it may have been sent once more. A row that was
        cancelled may have come that often and no more.
        """
        counts = Counter(received)
        cancelled = {key for key, state in states.items() if state == "cancelled" and may_be_cancelled}
        lost = [key for key, state in states.items() if key not in cancelled and (state != "sent" or not counts[key])]
        strangers = counts.keys() - states.keys()
        repeats = {key: more for key, count in counts.items() if (more := count - (key not in cancelled)) > 0}
        too_often = {key: count for key, count in repeats.items() if count > unrecorded.get(key, 0)}
        twice = [pair for pair, count in Counter(alerts).items() if count > 1]
        self.figures |= {
            "rows": len(states),
            "lost": len(lost),
            "repeats": sum(repeats.values()),
            "left open": sum(unrecorded.values()),
            "shown twice": len(twice),
        }
        unsent = Counter(states[key] for key in lost)
        self.expect(not lost, f"{len(lost)} of {len(states)} rows lost: {dict(unsent)}")
        self.expect(not strangers, f"{len(strangers)} messages without a committed row")
        self.expect(not too_often, f"{len(too_often)} rows repeated more often than their outcome was left open")
        self.expect(not twice, f"{len(twice)} notifications shown twice")

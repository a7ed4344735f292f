"""What counts as a broken promise: pure functions over what was written, received and shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Finding:
    """What one fault came to: figures for the table, and the promises it broke, in words."""

    fault: str
    database: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

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
    ) -> None:
        """Lost, repeated, shown twice.

        `states` is the state of every row written, `received` the ids that came to browsers, repeats included,
        `alerts` the (browser, id) pairs that a user noticed, `unrecorded` how many workers died with that row in hand,
        or had no answer to its request: that often it may have been sent once more.
        """
        counts = Counter(received)
        lost = [key for key, state in states.items() if state != "sent" or not counts[key]]
        strangers = counts.keys() - states.keys()
        repeats = {key: count - 1 for key, count in counts.items() if count > 1}
        too_often = {key: count for key, count in repeats.items() if count > unrecorded.get(key, 0)}
        twice = [pair for pair, count in Counter(alerts).items() if count > 1]
        self.figures |= {
            "rows": len(states),
            "lost": len(lost),
            "repeats": sum(repeats.values()),
            "in hand": sum(unrecorded.values()),
            "shown twice": len(twice),
        }
        unsent = Counter(states[key] for key in lost)
        self.expect(not lost, f"{len(lost)} of {len(states)} rows lost: {dict(unsent)}")
        self.expect(not strangers, f"{len(strangers)} messages without a committed row")
        self.expect(not too_often, f"{len(too_often)} rows repeated more often than workers died with them in hand")
        self.expect(not twice, f"{len(twice)} notifications shown twice")

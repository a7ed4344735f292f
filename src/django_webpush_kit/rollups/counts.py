"""Counters of one day, for one value of one dimension, and percentiles of the time to show."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

COUNTERS = (
    "queued",
    "accepted",
    "failed",
    "expired",
    "suppressed",
    "cancelled",
    "shown",
    "clicked",
    "body_clicked",
    "button_clicked",
    "dismissed",
    "gone",
    "unsubscribed",
    "opted_out",
    "subscribers_gained",
    "subscribers_lost",
)
"""The names of the counters: columns of `DailyStatistics`, which describes them."""

INDEX = {name: number for number, name in enumerate(COUNTERS)}

SHOW_TIMES = (
    *(0.1, 0.2, 0.5, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 45, 60, 90),
    *(120, 180, 300, 450, 600, 900, 1200, 1800, 2700),
    *(3600 * hours for hours in (1, 1.5, 2, 3, 4, 6, 9, 12, 18)),
    *(86400 * days for days in (1, 1.5, 2, 3, 5, 7, 10, 14, 21, 28)),
)
"""Upper bounds of the histogram of the time to show, in seconds. A last bucket holds everything above."""

MAX_VALUE_LENGTH = 200


class Dimension(models.TextChoices):
    """The dimensions by which notifications are counted."""

    TOTAL = "total", _("total")
    TYPE = "type", _("type")
    PUSH_SERVICE = "push_service", _("push service")
    BROWSER = "browser", _("browser")
    TEMPLATE = "template", _("template")
    LANGUAGE = "language", _("language")
    BROADCAST = "broadcast", _("broadcast")
    HOUR = "hour", _("hour of day")
    REASON = "reason", _("reason")


Key = tuple[str, str]
"""Dimension and value, such as ("type", "news")."""

TOTAL: Key = (Dimension.TOTAL.value, "")


@dataclass(slots=True)
class Counts:
    """One number for each of `COUNTERS`, and a histogram: index in `SHOW_TIMES` -> notifications."""

    numbers: list[int] = field(default_factory=lambda: [0] * len(COUNTERS))
    times: Counter[int] = field(default_factory=Counter)

    def __getitem__(self, name: str) -> int:
        return self.numbers[INDEX[name]]

    def add(self, other: Counts) -> None:
        """Add the numbers of another object to this one."""
        self.numbers = [own + more for own, more in zip(self.numbers, other.numbers, strict=True)]
        self.times.update(other.times)

    def as_json(self) -> dict[str, Any]:
        """Return the counters that are not 0, and the histogram, as plain JSON values."""
        found: dict[str, Any] = {name: number for name, number in zip(COUNTERS, self.numbers, strict=True) if number}
        return {**found, "times": times_as_json(self.times)} if self.times else found

    @classmethod
    def from_json(cls, value: object) -> Counts:
        """Read what `as_json` returned. Anything else that may be stored counts as 0."""
        given = value if isinstance(value, Mapping) else {}
        return cls([_number(given.get(name)) for name in COUNTERS], times_from_json(given.get("times")))


DayCounts = dict[Key, Counts]
"""The counts of one day by dimension and value."""


def total_of(several: Iterable[Counts]) -> Counts:
    """Return the sum of several counts."""
    total = Counts()
    for counts in several:
        total.add(counts)
    return total


def bucket_of(seconds: float) -> int:
    """Return the bucket of the histogram for a time to show."""
    return bisect_left(SHOW_TIMES, seconds)


def percentile(times: Mapping[int, int], share: float) -> float | None:
    """Return the time in seconds within which this share (0 to 1) was shown, or None without any.

    It is interpolated between the bounds of a bucket, so it is an estimate. Above the last bound, it is that bound.
    """
    wanted = share * sum(times.values())
    before = 0
    for bucket in sorted(times):
        inside = times[bucket]
        if before + inside >= wanted > 0:
            low = SHOW_TIMES[bucket - 1] if bucket else 0.0
            high = SHOW_TIMES[min(bucket, len(SHOW_TIMES) - 1)]
            return round(low + (high - low) * (wanted - before) / inside, 2)
        before += inside
    return None


def times_as_json(times: Mapping[int, int]) -> dict[str, int]:
    """Return a histogram with the text keys that JSON needs."""
    return {str(bucket): number for bucket, number in sorted(times.items()) if number}


def times_from_json(value: object) -> Counter[int]:
    """Read a stored histogram. Unknown buckets and wrong values are left out."""
    given = value if isinstance(value, Mapping) else {}
    known = {bucket: _number(given.get(str(bucket))) for bucket in range(len(SHOW_TIMES) + 1)}
    return Counter({bucket: number for bucket, number in known.items() if number})


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

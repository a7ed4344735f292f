"""Geometry of the charts in the admin. Templates draw them as SVG that stretches; texts are HTML beside it.

Coordinates are in a box of `WIDTH` x `HEIGHT` units with the origin at the top left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django_webpush_kit.admin.numbers import formatted

WIDTH, HEIGHT = 1000, 100

GRID_LINES = 4

MAX_X_LABELS = 5

DAY_STEPS, WEEK_STEPS, HOUR_STEPS = (1, 2, 7, 14, 28), (1, 2, 4, 13), (6,)
"""Distances between the labels below a chart. The first one with at most `MAX_X_LABELS` is taken."""

EDGE = 0.94
"""A label whose middle is beyond this part of the width ends at its place, or it would leave the chart."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line or set of bars. `name` is also part of its CSS class."""

    name: str
    label: Any
    values: Sequence[int]


@dataclass(frozen=True)
class Chart:
    """Values over time or hours, as lines or bars, with a table of the same figures.

    `extra` are further columns of the table that are not drawn.
    """

    id: str
    title: Any
    description: Any
    axis: Any
    labels: Sequence[str]
    series: Sequence[Series]
    extra: Sequence[Series] = ()
    is_bars: bool = False
    steps: Sequence[int] = DAY_STEPS

    @property
    def top(self) -> int:
        """The value at the upper edge: a round number."""
        return round_up(max((value for one in self.series for value in one.values), default=0))

    @property
    def ticks(self) -> list[str]:
        """The labels of the grid lines, from the top."""
        return [formatted(self.top * number // GRID_LINES) for number in range(GRID_LINES, -1, -1)]

    @property
    def grid(self) -> list[str]:
        """The heights of the grid lines."""
        return [f"{HEIGHT * number / GRID_LINES:.1f}" for number in range(GRID_LINES + 1)]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The points of each line. A single value is drawn across the whole width."""
        found = []
        for one in self.series:
            values = one.values if len(one.values) > 1 else [*one.values] * 2
            step = WIDTH / max(1, len(values) - 1)
            points = " ".join(f"{number * step:.1f},{self._y(value):.1f}" for number, value in enumerate(values))
            found.append({"name": one.name, "label": one.label, "points": points})
        return found

    @property
    def slots(self) -> list[dict[str, Any]]:
        """A part of the width for each label, with the text to show there, and the bar of the first series."""
        slot = WIDTH / max(1, len(self.labels))
        found = []
        for number, (label, *values) in enumerate(self.rows):
            texts = (f"{value} {one.label}" for value, one in zip(values, (*self.series, *self.extra), strict=True))
            value = self.series[0].values[number]
            found.append(
                {
                    "x": f"{number * slot:.1f}",
                    "width": f"{slot:.1f}",
                    "text": f"{label}: {', '.join(texts)}",
                    "bar": {
                        "x": f"{(number + 0.15) * slot:.1f}",
                        "width": f"{0.7 * slot:.1f}",
                        "y": f"{self._y(value):.1f}",
                        "height": f"{HEIGHT - self._y(value):.1f}",
                    },
                }
            )
        return found

    @property
    def x_ticks(self) -> list[dict[str, str]]:
        """Some of the labels at even distances from the first, with their place in the box and in percent."""
        count = len(self.labels)
        step = next((step for step in self.steps if count <= step * MAX_X_LABELS), self.steps[-1])
        return [self._x_tick(number) for number in range(0, count, step)]

    def _x_tick(self, number: int) -> dict[str, str]:
        count = len(self.labels)
        place = (number + 0.5) / count if self.is_bars else number / max(1, count - 1)
        anchor = "middle" if self.is_bars else "start" if not number else "end" if place > EDGE else "middle"
        return {"text": self.labels[number], "x": f"{place * WIDTH:.1f}", "left": f"{place:.2%}", "anchor": anchor}

    @property
    def rows(self) -> Iterator[list[str]]:
        """The rows of the table: label and formatted values."""
        columns = [one.values for one in (*self.series, *self.extra)]
        for label, *values in zip(self.labels, *columns, strict=True):
            yield [label, *map(formatted, values)]

    def _y(self, value: int) -> float:
        return HEIGHT * (1 - value / self.top)


def round_up(value: int) -> int:
    """Return a round number of 4 or more that is at least `value`, and that `GRID_LINES` divides."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if step * factor * GRID_LINES >= value:
                return step * factor * GRID_LINES
        step *= 10

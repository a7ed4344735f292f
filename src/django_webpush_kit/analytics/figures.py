"""Read the counts of a period: from the daily statistics, and from rows for days not counted yet."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from django_webpush_kit.database import outbox_database
from django_webpush_kit.models import (
    DailyStatistics,
    OutboxDay,
    PushBroadcast,
    get_notification_model,
    get_subscription_model,
)
from django_webpush_kit.rollups.counting import DayTally, pages
from django_webpush_kit.rollups.counts import COUNTERS, TOTAL, Counts, DayCounts, Key, times_from_json, total_of
from django_webpush_kit.rollups.days import ONE_DAY, day_of, end_of, last_days, start_of, today

LIVE_ROWS = 2_000
"""Uncounted days, and today, are counted while reading if they have at most this many rows."""

LIVE_RANGES = 3
"""Uncounted days are counted while reading if they form at most this many unbroken ranges."""

Breakdown = dict[str, dict[str, Counts]]
"""Dimension -> value -> counts."""


def percentage(part: int, whole: int) -> float | None:
    """Return `part` as a percentage of `whole` with one decimal, or None if `whole` is 0."""
    return round(100 * part / whole, 1) if whole else None


@dataclass
class Figures:
    """The counts of the last `days` days for one key, such as ("type", "news"), and of the same time before.

    `conditions` choose notifications by columns without statistics of their own (`batch`, `user`): then everything is
    counted from rows. Each attribute is read once, when it is needed.
    """

    days: int
    key: Key = TOTAL
    conditions: Mapping[str, Any] | None = None

    @cached_property
    def period(self) -> list[date]:
        """The days, oldest first. The last one is today."""
        return last_days(self.days)

    @cached_property
    def daily(self) -> dict[date, Counts]:
        """The counts of each day of the period."""
        return {day: self._daily.get(day, Counts()) for day in self.period}

    @cached_property
    def total(self) -> Counts:
        """The sum of the period."""
        return total_of(self.daily.values())

    @cached_property
    def previous_total(self) -> Counts:
        """The sum of the same number of days before."""
        return total_of(counts for day, counts in self._daily.items() if day < self.period[0])

    @cached_property
    def breakdown(self) -> Breakdown:
        """The counts of the period by dimension and value. Percentiles need `daily`: there are no times here."""
        found: dict[Key, Counts] = {}
        if self.conditions is None:
            sums = {f"sum_{name}": Sum(name) for name in COUNTERS}
            rows = _counted(DailyStatistics, self.period[0], self._live).order_by().values("dimension", "value")
            for row in rows.annotate(**sums):
                numbers = [int(row[f"sum_{name}"]) for name in COUNTERS]
                found[row["dimension"], row["value"]] = Counts(numbers)
        for day, counts_by_key in self._live.items():
            if day >= self.period[0]:
                for key, counts in counts_by_key.items():
                    found.setdefault(key, Counts()).add(counts)
        nested: Breakdown = {}
        for (dimension, value), counts in found.items():
            nested.setdefault(dimension, {})[value] = counts
        return nested

    @cached_property
    def subscribers(self) -> dict[date, int]:
        """The number of active subscriptions at the end of each day, for the key ("total", "")."""
        anchor, active = self._anchor
        gained, gained_until = 0, {}
        for number in range(2 * self.days):
            day = self._first + number * ONE_DAY
            counts = self._daily.get(day, Counts())
            gained += counts["subscribers_gained"] - counts["subscribers_lost"]
            gained_until[day] = gained
        return {day: max(0, active + gained_until[day] - gained_until[anchor]) for day in self.period}

    @cached_property
    def as_of(self) -> datetime:
        """The time of the latest change that today's figures can contain."""
        if today() in self._live:
            return timezone.now()
        state = self._states.get(today())
        if state is None or state.rolled_up_at is None:
            return start_of(today())
        return state.rolled_up_at

    @cached_property
    def uncounted(self) -> list[date]:
        """The days of the period that are missing, because they have not been counted yet and have too many rows."""
        return sorted(day for day in self._uncounted if day >= self.period[0] and day not in self._live)

    def rows(self) -> Iterator[tuple[date, Key, Counts]]:
        """Yield day, key and counts of everything in the period, or of the chosen key, by day."""
        is_all = self.key == TOTAL
        rows = _counted(DailyStatistics, self.period[0], self._live).order_by("day", "dimension", "value")
        if not is_all:
            rows = rows.filter(dimension=self.key[0], value=self.key[1])
        columns = ("day", "dimension", "value", "show_times", *COUNTERS)
        for day, dimension, value, times, *numbers in rows.values_list(*columns).iterator():
            yield day, (dimension, value), Counts(numbers, times_from_json(times))
        for day in sorted(day for day in self._live if day >= self.period[0]):
            for key, counts in sorted(self._live[day].items()):
                if is_all or key == self.key:
                    yield day, key, counts

    @cached_property
    def _first(self) -> date:
        return self.period[0] - self.days * ONE_DAY

    @cached_property
    def _daily(self) -> dict[date, Counts]:
        daily: dict[date, Counts] = {}
        if self.conditions is None:
            rows = _counted(DailyStatistics, self._first, self._live)
            rows = rows.filter(dimension=self.key[0], value=self.key[1])
            for day, times, *numbers in rows.values_list("day", "show_times", *COUNTERS):
                daily.setdefault(day, Counts()).add(Counts(numbers, times_from_json(times)))
        for day, counts_by_key in self._live.items():
            if self.key in counts_by_key:
                daily.setdefault(day, Counts()).add(counts_by_key[self.key])
        return daily

    @cached_property
    def _states(self) -> dict[date, OutboxDay]:
        rows = _rows(OutboxDay).filter(day__gte=self._first, day__lte=today()).defer("progress")
        return {state.day: state for state in rows}

    @cached_property
    def _uncounted(self) -> set[date]:
        """The days, in both periods, without statistics. Days without rows need none once they were looked for."""
        now = timezone.now()  # a later check was made under a wrong clock
        checked = [one.checked_until for one in self._states.values() if one.checked_until and one.checked_until <= now]
        last = day_of(max(checked)) if checked else self._first - ONE_DAY
        both = {self._first + number * ONE_DAY for number in range(2 * self.days)}
        waiting = {state.day for state in self._states.values() if state.rolled_up_at is None}
        return {day for day in both if day > last} | (waiting & both)

    @cached_property
    def _live(self) -> dict[date, DayCounts]:
        """The counts, by day and key, of the days that are counted from rows now."""
        if self.conditions is not None:
            return _count_rows(self._first, self.conditions)
        for days in (self._uncounted | {today()}, {today()}):
            ranges = _ranges(days)
            if len(ranges) <= LIVE_RANGES and _is_small(ranges):
                return _count_days(days, ranges)
        return {}

    @cached_property
    def _anchor(self) -> tuple[date, int]:
        """A day and the number of active subscriptions at its end, or at the time of its last count."""
        known = [state for state in self._states.values() if state.subscribers is not None]
        latest = max(known, key=lambda state: state.day, default=None)
        if latest is None or latest.subscribers is None or (latest.day == today() and today() in self._live):
            return today(), _rows(get_subscription_model()).filter(is_active=True).count()
        return latest.day, latest.subscribers


def key_of(dimension: str, value: Any) -> Key:
    """Return the key of a filter. A broadcast may be given as an instance."""
    return dimension, str(value.pk if isinstance(value, PushBroadcast) else value)


def _rows(model: Any) -> QuerySet[Any]:
    rows: QuerySet[Any] = model.objects.using(outbox_database())
    return rows


def _counted(model: Any, first: date, live: Collection[date]) -> QuerySet[Any]:
    return _rows(model).filter(day__gte=first, day__lte=today()).exclude(day__in=list(live))


def _ranges(days: Collection[date]) -> list[tuple[date, date]]:
    """Return unbroken ranges of days: first and last."""
    ranges: list[tuple[date, date]] = []
    for day in sorted(days):
        if ranges and day == ranges[-1][1] + ONE_DAY:
            ranges[-1] = ranges[-1][0], day
        else:
            ranges.append((day, day))
    return ranges


def _within(name: str, ranges: list[tuple[date, date]]) -> Q:
    where = Q(pk__in=[])
    for first, last in ranges:
        where |= Q(**{f"{name}__gte": start_of(first), f"{name}__lt": end_of(last)})
    return where


def _sources(ranges: list[tuple[date, date]]) -> dict[str, QuerySet[Any]]:
    """Return the rows of days: notifications, and subscriptions that began and that ended."""
    subscriptions = _rows(get_subscription_model())
    return {
        "notifications": _rows(get_notification_model()).filter(_within("created_at", ranges)),
        "created_at": subscriptions.filter(_within("created_at", ranges)),
        "deactivated_at": subscriptions.filter(_within("deactivated_at", ranges), is_active=False),
    }


def _is_small(ranges: list[tuple[date, date]]) -> bool:
    counts = (rows.order_by()[: LIVE_ROWS + 1].count() for rows in _sources(ranges).values())
    return all(count <= LIVE_ROWS for count in counts)


def _count_days(days: Collection[date], ranges: list[tuple[date, date]]) -> dict[date, DayCounts]:
    sources = _sources(ranges)
    tally = DayTally()
    for page in pages(sources["notifications"]):
        tally.add_page(page)
    for moment in ("created_at", "deactivated_at"):
        tally.add_subscriptions(sources[moment], moment)
    counted: dict[date, DayCounts] = {day: tally.days.get(day, {}) for day in days}
    kept = _rows(DailyStatistics).filter(day__in=list(days)).exclude(kept={})
    for row in kept:
        counted[row.day].setdefault((row.dimension, row.value), Counts()).add(Counts.from_json(row.kept))
    return counted


def _count_rows(first: date, conditions: Mapping[str, Any]) -> dict[date, DayCounts]:
    tally = DayTally()
    period = {"created_at__gte": start_of(first), "created_at__lt": end_of(today())}
    for page in pages(_rows(get_notification_model()).filter(**period, **conditions)):
        tally.add_page(page)
    return dict(tally.days)

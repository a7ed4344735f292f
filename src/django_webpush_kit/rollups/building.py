"""Build the daily statistics: find the days that are new or have changed, and count them in bounded steps.

A day's statistics are the sum of two parts. One is counted from the rows that exist, as often as the day changes. The
other, `DailyStatistics.kept`, holds what cannot be counted again: rows that were deleted, and opt-outs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import timezone as datetime_timezone
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import F, Max, Q
from django.db.models.functions import TruncHour
from django.utils import timezone

from django_webpush_kit.database import atomic_with_retry, is_unavailable, outbox_database, retry_on_conflict, rows_of
from django_webpush_kit.error_reports import log_error, log_warning
from django_webpush_kit.models import (
    DailyStatistics,
    OutboxDay,
    get_analytics_model,
    get_notification_model,
    get_subscription_model,
)
from django_webpush_kit.rollups.bounds import Bounds
from django_webpush_kit.rollups.counting import DayTally, Position, pages, position_of
from django_webpush_kit.rollups.counts import COUNTERS, Counts, DayCounts, Dimension, Key, times_as_json
from django_webpush_kit.rollups.days import ONE_DAY, day_of, end_of, oldest_kept_day, start_of, today

OVERLAP = timedelta(minutes=10)
"""Events are searched from this long before the last run, because a transaction may commit late."""

CHEAP_SECONDS = 1.0
"""A day that was counted faster than this is counted again whenever it has changed."""

MAX_VALUES = 200
"""Values stored for one dimension of a day. The rest is added up under `OTHER_VALUE`."""

OTHER_VALUE = "(other)"

_logger = logging.getLogger(__name__)


def roll_up(bounds: Bounds, on_progress: Callable[[date], None] = lambda day: None) -> int:
    """Count the days that are new or have changed. Returns how many were completed within the bounds.

    `on_progress` is called with each completed day. An error of one day is logged; the others go on.
    """
    find_days()
    built = 0
    for day in due_days():
        if bounds.are_reached:
            break
        try:
            is_complete = build_day(day, bounds)
        except Exception as error:
            if is_unavailable(error):
                raise  # the database is at fault, not this day
            log_error(_logger, "The statistics of %s could not be built", day, error=error)
            continue
        if is_complete:
            built += 1
            on_progress(day)
    return built


def find_days() -> None:
    """Create state rows for new days, and mark the days whose notifications got events since the last call."""
    now = timezone.now()
    since = last_check()
    found = set(_days_with_rows(oldest_kept_day() if since is None else day_of(since)))
    changed = set() if since is None else _days_with_new_events(since - OVERLAP)
    days = rows_of(OutboxDay)
    every = found | changed | {today()}
    retry_on_conflict(lambda: days.bulk_create([OutboxDay(day=day) for day in sorted(every)], ignore_conflicts=True))
    if changed:
        retry_on_conflict(lambda: days.filter(day__in=changed).update(changed_at=now))
    retry_on_conflict(lambda: days.filter(checked_until__gt=now + OVERLAP).update(checked_until=None))
    retry_on_conflict(lambda: days.filter(day=day_of(now)).update(checked_until=now))


def last_check() -> datetime | None:
    """Return the time up to which `find_days` has looked for days and events, or None before its first run.

    A time in the future was written under a wrong clock and is ignored. A time that is too old finds all days.
    """
    checks = rows_of(OutboxDay).filter(checked_until__lte=timezone.now() + OVERLAP)
    checked: datetime | None = checks.aggregate(last=Max("checked_until"))["last"]
    return None if checked is None else max(checked, start_of(oldest_kept_day()))


def mark_changed(first: date) -> int:
    """Mark every day since `first` that has rows, so that it is counted again. Returns the number of days."""
    found = set(_days_with_rows(max(first, oldest_kept_day())))
    days = rows_of(OutboxDay)
    retry_on_conflict(lambda: days.bulk_create([OutboxDay(day=day) for day in sorted(found)], ignore_conflicts=True))
    changes = {"changed_at": timezone.now(), "build_seconds": 0, "progress": None}
    return int(retry_on_conflict(lambda: days.filter(day__gte=first).update(**changes)))


def due_days() -> list[date]:
    """Return the days to count now: today and yesterday, then days never counted, then days that have changed."""
    now, yesterday = timezone.now(), today() - ONE_DAY
    has_changed = Q(changed_at__gte=F("rolled_up_at")) | Q(unfinished__gt=0) | Q(rolled_up_at__gt=now)
    wanted = Q(rolled_up_at=None) | has_changed | Q(day__gte=yesterday)
    states = rows_of(OutboxDay).filter(wanted, day__gte=oldest_kept_day(), day__lte=today()).defer("progress")
    due = [state for state in states if _is_due(state, now)]
    never = datetime.min.replace(tzinfo=datetime_timezone.utc)
    due.sort(key=lambda state: (state.day < yesterday, state.rolled_up_at or never, -state.day.toordinal()))
    return [state.day for state in due]


def build_day(day: date, bounds: Bounds | None = None) -> bool:
    """Count the rows of a day and store the result. Returns whether the day is complete.

    If the bounds are reached, the state is stored and the next call continues.
    """
    bounds = bounds or Bounds()
    work = _Work.resumed(rows_of(OutboxDay).get(pk=day))
    started = time.monotonic()
    within = {"gte": start_of(day), "lt": end_of(day)}
    notifications = rows_of(get_notification_model()).filter(**_between("created_at", within))
    for page in pages(notifications, work.after):
        work.tally.add_page(page)
        work.after = position_of(page)
        if bounds.are_reached:
            work.seconds += time.monotonic() - started
            retry_on_conflict(partial(rows_of(OutboxDay).filter(pk=day).update, progress=work.as_json()))
            return False
    subscriptions = rows_of(get_subscription_model())
    work.tally.add_subscriptions(subscriptions.filter(**_between("created_at", within)), "created_at")
    ended = subscriptions.filter(**_between("deactivated_at", within), is_active=False)
    work.tally.add_subscriptions(ended, "deactivated_at")
    active = subscriptions.filter(is_active=True).count() if day == today() else None
    work.seconds += time.monotonic() - started
    return _store(day, work, active)


def keep(days: Mapping[date, DayCounts], *, is_deletion: bool = True) -> None:
    """Add counts to the kept part of statistics. Call it in the transaction that deletes the counted rows."""
    oldest = oldest_kept_day()
    for day in sorted(day for day in days if day >= oldest):
        state = _locked(day)
        rows = {(row.dimension, row.value): row for row in rows_of(DailyStatistics).filter(day=day)}
        new, changed = [], []
        for key, counts in days[day].items():
            row = rows.get(key)
            if row is None:
                new.append(DailyStatistics(day=day, dimension=key[0], value=key[1], kept=counts.as_json()))
            else:
                kept = Counts.from_json(row.kept)
                kept.add(counts)
                row.kept = kept.as_json()
                changed.append(row)
        rows_of(DailyStatistics).bulk_create(new)
        rows_of(DailyStatistics).bulk_update(changed, ["kept"])
        state.changed_at = timezone.now()
        if is_deletion:
            state.deletions += 1
            state.build_seconds = 0
        state.save(using=outbox_database(), update_fields=["changed_at", "deletions", "build_seconds"])


@dataclass(slots=True)
class _Work:
    """The state of an unfinished count of one day."""

    started: datetime
    deletions: int
    after: Position | None = None
    tally: DayTally = field(default_factory=DayTally)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        return {
            "started": self.started.isoformat(),
            "deletions": self.deletions,
            "after": self.after and [self.after[0].isoformat(), str(self.after[1])],
            "seconds": self.seconds,
            "unfinished": sum(self.tally.unfinished.values()),
            "counts": [[*key, counts.as_json()] for key, counts in _merged(self.tally.days.values()).items()],
        }

    @classmethod
    def resumed(cls, state: OutboxDay) -> _Work:
        """Return the state of an interrupted count, or a new one if there is none, or rows were deleted since."""
        new = cls(timezone.now(), state.deletions)
        try:
            given = state.progress or {}
            if given.get("deletions") != state.deletions:
                return new
            pk = get_notification_model()._meta.pk.to_python(given["after"][1])
            after = datetime.fromisoformat(given["after"][0]), pk
            work = cls(datetime.fromisoformat(given["started"]), state.deletions, after, seconds=given["seconds"])
            work.tally.unfinished[state.day] = given["unfinished"]
            for dimension, value, counts in given["counts"]:
                work.tally.days[state.day][dimension, value] = Counts.from_json(counts)
        except (AttributeError, LookupError, TypeError, ValueError, ValidationError):
            log_warning(_logger, "The interrupted count of %s cannot be read; it starts again", state.day)
            return new
        return work


@atomic_with_retry
def _store(day: date, work: _Work, active: int | None) -> bool:
    """Replace the statistics of a day. Returns False if rows of the day were deleted meanwhile."""
    state = _locked(day)
    state.progress = None
    is_valid = state.deletions == work.deletions
    if is_valid:
        _replace(day, _capped(_merged(work.tally.days.values())))
        state.rolled_up_at = work.started
        state.build_seconds = work.seconds
        state.unfinished = sum(work.tally.unfinished.values())
        state.subscribers = state.subscribers if active is None else active
    state.save(using=outbox_database())
    return is_valid


def _replace(day: date, counted: DayCounts) -> None:
    stored = rows_of(DailyStatistics).filter(day=day)
    kept = {(row.dimension, row.value): row.kept for row in stored if row.kept}
    stored.delete()
    rows = []
    for key in {**counted, **kept}:
        counts = Counts.from_json(kept.get(key))
        if key in counted:
            counts.add(counted[key])
        numbers = dict(zip(COUNTERS, counts.numbers, strict=True))
        rows.append(
            DailyStatistics(
                day=day,
                dimension=key[0],
                value=key[1],
                show_times=times_as_json(counts.times),
                kept=kept.get(key, {}),
                **numbers,
            )
        )
    rows_of(DailyStatistics).bulk_create(rows, batch_size=500)


def _locked(day: date) -> OutboxDay:
    state: OutboxDay
    state, _created = rows_of(OutboxDay).select_for_update().get_or_create(day=day)
    return state


def _merged(several: Iterable[DayCounts]) -> DayCounts:
    merged: DayCounts = {}
    for counts_by_key in several:
        for key, counts in counts_by_key.items():
            merged.setdefault(key, Counts()).add(counts)
    return merged


def _capped(counted: DayCounts) -> DayCounts:
    """Keep the `MAX_VALUES` most frequent values of each dimension, and add up the rest."""
    capped: DayCounts = {}
    for dimension in Dimension.values:
        keys = [key for key in counted if key[0] == dimension]
        keys.sort(key=lambda key: (-counted[key]["queued"], -counted[key]["subscribers_gained"], key))
        for number, key in enumerate(keys):
            kept: Key = key if number < MAX_VALUES else (dimension, OTHER_VALUE)
            capped.setdefault(kept, Counts()).add(counted[key])
    return capped


def _is_due(state: OutboxDay, now: datetime) -> bool:
    """Count a large day less often the older it is, so that late events do not keep a worker busy all day."""
    if state.rolled_up_at is None or state.build_seconds < CHEAP_SECONDS:
        return True
    if state.rolled_up_at > now:
        return True  # counted under a wrong clock
    age = (today() - state.day).days
    return (now - state.rolled_up_at).total_seconds() >= state.build_seconds * (20 + 100 * age)


def _days_with_rows(first: date) -> Iterator[date]:
    """Yield the days since `first` on which notifications were created, or subscriptions began or ended."""
    subscriptions = rows_of(get_subscription_model())
    sources = [(rows_of(get_notification_model()), "created_at"), (subscriptions, "created_at")]
    sources.append((subscriptions, "deactivated_at"))
    start, end = start_of(first), end_of(today())
    while True:
        moments = [
            rows.filter(**_between(name, {"gte": start, "lt": end})).order_by(name).values_list(name, flat=True).first()
            for rows, name in sources
        ]
        if not any(moments):
            return
        day = day_of(min(moment for moment in moments if moment))
        yield day
        start = end_of(day)


def _days_with_new_events(since: datetime) -> set[date]:
    """Return the days before yesterday whose notifications got events; today and yesterday are counted anyway."""
    kept = {"gte": start_of(oldest_kept_day()), "lt": start_of(today() - ONE_DAY)}
    events = rows_of(get_analytics_model()).filter(timestamp__gte=since).order_by()
    hour = TruncHour("notification__created_at", tzinfo=datetime_timezone.utc)  # UTC needs no time zone tables
    # with a condition on `created_at` itself, SQLite would begin with all notifications
    hours = events.annotate(hour=hour).filter(**_between("hour", kept)).values_list("hour", flat=True).distinct()
    # SQLite gives None for a text that is no time
    days = {day_of(moment) for hour in hours if hour for moment in (hour, hour + timedelta(minutes=59))}
    return {day for day in days if day >= oldest_kept_day()}


def _between(name: str, within: Mapping[str, datetime]) -> dict[str, datetime]:
    return {f"{name}__{lookup}": moment for lookup, moment in within.items()}

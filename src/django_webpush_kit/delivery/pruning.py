"""Clean up hourly in small transactions: leases that are too long, statistics, expired subscriptions, old data.

Notifications and subscriptions are added to the kept part of the statistics in the transaction that deletes them. Rows
that a transaction of the project has locked are left for the next run, where the database can pass over them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from django.db import connections, models
from django.db.models import Exists, Min, OuterRef, Q, QuerySet
from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import atomic_with_retry, outbox_database, retry_on_conflict, rows_of
from django_webpush_kit.delivery.claiming import shorten_leases
from django_webpush_kit.models import (
    DailyStatistics,
    IdempotencyKey,
    OutboxDay,
    PushBroadcast,
    get_notification_model,
    get_subscription_model,
)
from django_webpush_kit.readable_rows import ReadableQuerySet, read_moments
from django_webpush_kit.rollups.bounds import Bounds, bounds_of
from django_webpush_kit.rollups.building import keep, roll_up
from django_webpush_kit.rollups.counting import DayTally, pages
from django_webpush_kit.rollups.days import day_of, end_of, oldest_kept_day, start_of
from django_webpush_kit.states import UNFINISHED
from django_webpush_kit.subscriptions.deactivation import EXPIRED, deactivate_subscriptions

DELETE_SIZE = 500
"""Rows deleted in one transaction."""

ROLL_UP_SHARE = 0.5
"""Maximum share of the time of a run for counting days."""

UNFINISHED_BROADCASTS = (PushBroadcast.Status.PENDING, PushBroadcast.Status.RUNNING, PushBroadcast.Status.PAUSED)

NO_TEXTS: dict[str, Any] = {"title": "", "body": "", "data": {}, "options": {}}
"""The content of a notification after `TEXT_RETENTION_DAYS`."""


def clean_up(
    *,
    seconds: float | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
    on_progress: Callable[[str, int], None] = lambda name, count: None,
) -> dict[str, int]:
    """Count days, deactivate and prune.

    Returns the counts: expired, days, texts, notifications, subscriptions, idempotency_keys. Stops after `seconds`, or
    when `is_stopped()` is true; the next call continues. `on_progress` is called with a name and its count after every
    step.
    """
    bounds = bounds_of(seconds, is_stopped)
    now = timezone.now()
    shorten_leases()
    counts = {"expired": deactivate_subscriptions(rows_of(get_subscription_model()).expired(now), EXPIRED), "days": 0}

    def count_day(day: date) -> None:
        counts["days"] += 1
        on_progress("days", counts["days"])

    roll_up(bounds.share(ROLL_UP_SHARE), count_day)
    steps = {
        "texts": _blank_texts(now, bounds),
        "notifications": _prune_notifications(now, bounds),
        "subscriptions": _prune_subscriptions(now, bounds),
        "idempotency_keys": _prune(_expired_keys(now), bounds),
        "statistics": _prune_statistics(bounds),
    }
    for name, numbers in steps.items():
        counts[name] = 0
        for number in numbers:
            counts[name] += number
            on_progress(name, counts[name])
    return counts


def _blank_texts(now: datetime, bounds: Bounds) -> Iterator[int]:
    """Delete the content of finished notifications older than `TEXT_RETENTION_DAYS`, day by day."""
    if kit_settings.TEXT_RETENTION_DAYS is None:
        return
    cut = day_of(now - timedelta(days=kit_settings.TEXT_RETENTION_DAYS))
    days = rows_of(OutboxDay).filter(day__lt=cut, is_blanked=False).order_by("day").values_list("day", flat=True)
    for day in list(days):
        rows = rows_of(get_notification_model()).filter(created_at__gte=start_of(day), created_at__lt=end_of(day))
        for keys in _chunks(rows.exclude(status__in=UNFINISHED).exclude(title=""), bounds):
            yield _blank(rows.filter(pk__in=keys))
        if bounds.are_reached:
            return
        if not rows.filter(Q(status__in=UNFINISHED) | ~Q(title="")).exists():
            retry_on_conflict(partial(rows_of(OutboxDay).filter(pk=day).update, is_blanked=True))


@atomic_with_retry
def _blank(rows: QuerySet[Any]) -> int:
    keys = _lock(rows.exclude(status__in=UNFINISHED))
    return int(_locked(rows, keys).update(**NO_TEXTS))


def _prune_notifications(now: datetime, bounds: Bounds) -> Iterator[int]:
    """Delete finished notifications older than `RETENTION_DAYS`, except those of uncounted days."""
    cut = _retention_start(now)
    uncounted = rows_of(OutboxDay).filter(rolled_up_at=None).aggregate(first=Min("day"))["first"]
    if uncounted is not None:
        cut = min(cut, start_of(uncounted))
    rows = rows_of(get_notification_model()).filter(created_at__lt=cut).exclude(status__in=UNFINISHED)
    for keys in _chunks(rows, bounds):
        yield _delete_notifications(rows.filter(pk__in=keys))


def _prune_subscriptions(now: datetime, bounds: Bounds) -> Iterator[int]:
    """Delete subscriptions that ended before `RETENTION_DAYS`, and first, in small steps, their notifications."""
    old = rows_of(get_subscription_model()).filter(is_active=False, deactivated_at__lt=_retention_start(now))
    rest = old = old.order_by("pk")
    while not bounds.are_reached and (keys := list(rest.values_list("pk", flat=True)[:DELETE_SIZE])):
        theirs = rows_of(get_notification_model()).filter(subscription__in=keys)
        for chunk in _chunks(theirs, bounds):
            _delete_notifications(theirs.filter(pk__in=chunk))
        if not bounds.are_reached:
            yield _delete_subscriptions(old.filter(pk__in=keys))
        rest = old.filter(pk__gt=keys[-1])


@atomic_with_retry
def _delete_notifications(rows: QuerySet[Any]) -> int:
    """Delete these rows and add them to the kept part of the statistics."""
    keys = _lock(rows)
    tally = DayTally()
    for page in pages(_locked(rows, keys)):
        tally.add_page(page)
    keep(tally.days)
    _delete(rows.model, keys)
    return len(keys)


@atomic_with_retry
def _delete_subscriptions(rows: QuerySet[Any]) -> int:
    theirs = rows_of(get_notification_model()).filter(subscription=OuterRef("pk"))
    keys = _lock(rows.filter(~Exists(theirs)))
    locked = _locked(rows, keys)
    tally = DayTally()
    tally.add_subscriptions(locked, "created_at")
    tally.add_subscriptions(locked, "deactivated_at")
    keep(tally.days)
    _delete(rows.model, keys)
    return len(keys)


@atomic_with_retry
def _delete_locked(rows: QuerySet[Any]) -> int:
    keys = _lock(rows)
    _delete(rows.model, keys)
    return len(keys)


def _lock(rows: QuerySet[Any]) -> list[Any]:
    """Lock rows and return their keys."""
    passes_over = connections[outbox_database()].features.has_select_for_update_skip_locked
    return list(rows.order_by("pk").select_for_update(skip_locked=passes_over).values_list("pk", flat=True))


def _locked(rows: QuerySet[Any], keys: list[Any]) -> QuerySet[Any]:
    """Return the rows with these keys alone: for two lists of keys, PostgreSQL would read the whole table."""
    alone: QuerySet[Any] = rows_of(rows.model).filter(pk__in=keys)
    return alone


def _prune_statistics(bounds: Bounds) -> Iterator[int]:
    yield from _prune(rows_of(DailyStatistics).filter(day__lt=oldest_kept_day()), bounds)
    for _number in _prune(rows_of(OutboxDay).filter(day__lt=oldest_kept_day()), bounds):
        pass


def _retention_start(now: datetime) -> datetime:
    return now - timedelta(days=kit_settings.RETENTION_DAYS)


def _expired_keys(now: datetime) -> QuerySet[IdempotencyKey]:
    """Return keys older than `IDEMPOTENCY_DAYS` without unfinished rows, which a second call would send twice."""
    same_batch = {"batch": OuterRef("batch")}
    rows = rows_of(get_notification_model()).filter(**same_batch, status__in=UNFINISHED)
    broadcasts = rows_of(PushBroadcast).filter(**same_batch, status__in=UNFINISHED_BROADCASTS)
    old: QuerySet[IdempotencyKey] = rows_of(IdempotencyKey).filter(
        created_at__lt=now - timedelta(days=kit_settings.IDEMPOTENCY_DAYS)
    )
    return old.filter(~Exists(rows), ~Exists(broadcasts))


def _chunks(notifications: QuerySet[Any], bounds: Bounds) -> Iterator[list[Any]]:
    """Yield primary keys by `created_at`. Each chunk begins where the last one ended, past the rows deleted so far."""
    ordered = rest = notifications.order_by("created_at", "pk")
    before: list[Any] = []
    while not bounds.are_reached and (chunk := read_moments(rest[:DELETE_SIZE], "created_at")):
        if chunk == before:
            return  # only rows that are left for the next run
        before = chunk
        yield [pk for pk, _created_at in chunk]
        moments = [created_at for _pk, created_at in chunk if created_at is not None]
        if not moments:
            return
        rest = ordered.filter(created_at__gte=moments[-1])


def _prune(rows: QuerySet[Any], bounds: Bounds) -> Iterator[int]:
    keys: QuerySet[Any] = rows.values_list("pk", flat=True)
    while not bounds.are_reached and (chunk := list(keys[:DELETE_SIZE])):
        deleted = _delete_locked(rows_of(rows.model).filter(pk__in=chunk))
        yield deleted
        if not deleted:
            return


def _delete(model: type[models.Model], keys: list[Any]) -> None:
    ReadableQuerySet(model, using=outbox_database()).filter(pk__in=keys).delete()

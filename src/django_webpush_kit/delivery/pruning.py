"""Hourly cleanup in small transactions: deactivate expired subscriptions, delete old rows and idempotency keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import outbox_database, retry_on_conflict
from django_webpush_kit.models import IdempotencyKey, PushBroadcast, get_notification_model, get_subscription_model
from django_webpush_kit.states import UNFINISHED
from django_webpush_kit.subscriptions.deactivation import EXPIRED, deactivate_subscriptions

DELETE_SIZE = 500
"""Rows deleted in one transaction."""

UNFINISHED_BROADCASTS = (PushBroadcast.Status.PENDING, PushBroadcast.Status.RUNNING, PushBroadcast.Status.PAUSED)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of one run: it stops after `seconds` or when `is_stopped()` is true. The next run continues."""

    deadline: float
    is_stopped: Callable[[], bool]

    @property
    def are_reached(self) -> bool:
        """Return whether to stop before the next transaction."""
        return time.monotonic() >= self.deadline or self.is_stopped()


def clean_up(
    *,
    seconds: float | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
    on_progress: Callable[[str, int], None] = lambda name, count: None,
) -> dict[str, int]:
    """Deactivate and prune. Returns the counts: expired, notifications, subscriptions, idempotency_keys.

    Stops after `seconds`, or when `is_stopped()` is true. `on_progress` is called with a name and its count after every
    transaction.
    """
    bounds = Bounds(time.monotonic() + seconds if seconds is not None else float("inf"), is_stopped)
    now = timezone.now()
    database = outbox_database()
    counts = {
        "expired": deactivate_subscriptions(get_subscription_model().objects.using(database).expired(now), EXPIRED)
    }
    for name, rows in _prunable(now, database).items():
        counts[name] = 0
        for deleted in _prune(rows, bounds):
            counts[name] += deleted
            on_progress(name, counts[name])
    return counts


def _prunable(now: datetime, database: str) -> dict[str, QuerySet[Any]]:
    retention = now - timedelta(days=kit_settings.RETENTION_DAYS)
    notifications = get_notification_model().objects.using(database)
    subscriptions = get_subscription_model().objects.using(database)
    return {
        "notifications": notifications.filter(created_at__lt=retention).exclude(status__in=UNFINISHED),
        "subscriptions": subscriptions.filter(is_active=False, deactivated_at__lt=retention),
        "idempotency_keys": _expired_keys(now, database),
    }


def _expired_keys(now: datetime, database: str) -> QuerySet[IdempotencyKey]:
    """Return keys older than `IDEMPOTENCY_DAYS` without unfinished rows, which a second call would send twice."""
    same_batch = {"batch": OuterRef("batch")}
    rows = get_notification_model().objects.using(database).filter(**same_batch, status__in=UNFINISHED)
    broadcasts = PushBroadcast.objects.using(database).filter(**same_batch, status__in=UNFINISHED_BROADCASTS)
    old = IdempotencyKey.objects.using(database).filter(
        created_at__lt=now - timedelta(days=kit_settings.IDEMPOTENCY_DAYS)
    )
    return old.filter(~Exists(rows), ~Exists(broadcasts))


def _prune(rows: QuerySet[Any], bounds: Bounds) -> Iterator[int]:
    """Delete in small transactions, so that locks are short and memory use stays small."""
    everything = rows.model._base_manager.using(rows.db)
    keys: QuerySet[Any] = rows.values_list("pk", flat=True)
    while not bounds.are_reached and (chunk := list(keys[:DELETE_SIZE])):
        retry_on_conflict(everything.filter(pk__in=chunk).delete)
        yield len(chunk)

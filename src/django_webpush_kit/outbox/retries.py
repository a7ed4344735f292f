"""Send failed notifications again."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from django_webpush_kit import attempt_log
from django_webpush_kit.attempt_log import Step
from django_webpush_kit.database import outbox_database, retry_on_conflict
from django_webpush_kit.models import OutboxDay, get_notification_model
from django_webpush_kit.rollups.days import day_of
from django_webpush_kit.states import NotificationStatus
from django_webpush_kit.task_backends import wake_on_commit

RETRIED_AT_ONCE = 500
"""Rows changed per transaction. This limits locks and query parameters."""


def retriable(notifications: QuerySet[Any]) -> QuerySet[Any]:
    """Return the failed notifications whose subscription is still active and whose texts still exist."""
    return notifications.filter(status=NotificationStatus.FAILED, subscription__is_active=True).exclude(title="")


def retry_failed(notifications: QuerySet[Any]) -> int:
    """Make retriable notifications pending again, with a retry count of 0. Returns their number.

    Deadlines stay as they are: a notification past its deadline expires instead of being sent.
    """
    chosen = retriable(notifications.using(outbox_database())).order_by("pk")
    count, rest = 0, chosen
    while keys := list(rest.values_list("pk", flat=True)[:RETRIED_AT_ONCE]):
        count += retry_on_conflict(partial(_retry, keys))
        rest = chosen.filter(pk__gt=keys[-1])
    return count


def _retry(keys: list[Any]) -> int:
    database = outbox_database()
    now = timezone.now()
    failed = get_notification_model().objects.using(database).filter(pk__in=keys, status=NotificationStatus.FAILED)
    with transaction.atomic(using=database):
        batches = list(failed.order_by().values_list("batch", flat=True).distinct())
        days = {day_of(created_at) for created_at in failed.values_list("created_at", flat=True)}
        changed = failed.update(
            status=NotificationStatus.PENDING,
            next_attempt_at=now,
            retry_count=0,
            claims=0,
            lease_token=None,
            failure_reason="",
            attempt_log=attempt_log.with_line(attempt_log.line(Step.RETRY, at=now)),
        )
        # count their days again, until none of their rows is pending
        OutboxDay.objects.using(database).filter(day__in=days).update(changed_at=timezone.now())
        for batch in batches:
            wake_on_commit(batch, using=database)
    return int(changed)

"""What is cleaned up hourly: expired subscriptions are deactivated, old rows and keys pruned."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import retry_on_conflict
from django_webpush_kit.models import IdempotencyKey, get_notification_model, get_subscription_model
from django_webpush_kit.states import NotificationStatus
from django_webpush_kit.subscriptions.deactivation import EXPIRED, deactivate_subscriptions

DELETE_SIZE = 500

UNFINISHED = (NotificationStatus.PENDING, NotificationStatus.SENDING)


def clean_up() -> dict[str, int]:
    """Deactivate and prune; returns how many of each: expired, subscriptions, notifications, idempotency_keys."""
    now = timezone.now()
    retention = now - timedelta(days=kit_settings.RETENTION_DAYS)
    subscriptions = get_subscription_model().objects
    notifications = get_notification_model().objects
    return {
        "expired": deactivate_subscriptions(subscriptions.expired(now), EXPIRED),
        "notifications": _prune(notifications.filter(created_at__lt=retention).exclude(status__in=UNFINISHED)),
        "subscriptions": _prune(subscriptions.filter(is_active=False, deactivated_at__lt=retention)),
        "idempotency_keys": _prune(
            IdempotencyKey.objects.filter(created_at__lt=now - timedelta(days=kit_settings.IDEMPOTENCY_DAYS))
        ),
    }


def _prune(rows: QuerySet[Any]) -> int:
    """Delete in small transactions, so that no lock is held long and nothing is read into memory at once."""
    count = 0
    while keys := list(rows.values_list("pk", flat=True)[:DELETE_SIZE]):
        retry_on_conflict(rows.model._default_manager.filter(pk__in=keys).delete)
        count += len(keys)
    return count

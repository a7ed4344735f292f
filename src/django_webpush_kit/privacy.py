"""What is kept about a user, to hand out and to delete.

Both go by a row's `user`, the recipient at the time it was written, and by who owns a subscription now.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time
from typing import Any

from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from django_webpush_kit.database import outbox_database, retry_on_conflict
from django_webpush_kit.models import (
    PushBroadcast,
    get_analytics_model,
    get_notification_model,
    get_subscription_model,
)

NOT_EXPORTED = frozenset(
    # keys to the browser, and what says nothing about the person
    ("auth_key", "claims", "endpoint_hash", "lane", "lease_token", "p256dh_key", "token_version", "user")
)


def erase_user(user: Any) -> dict[str, int]:
    """Delete a user's subscriptions, every notification addressed to them or their browsers, and what was reported.

    Returns how many of each were deleted: `{"subscriptions", "notifications", "events"}`. What is being sent at this
    moment still arrives. The user itself is left alone, broadcasts they started lose their name.
    """
    subscriptions = get_subscription_model().objects.filter(user=user)
    notifications = get_notification_model().objects.filter(Q(user=user) | Q(subscription__user=user))
    events = get_analytics_model().objects.filter(Q(notification__user=user) | Q(notification__subscription__user=user))

    def statements() -> dict[str, int]:
        with transaction.atomic(using=outbox_database()):
            PushBroadcast.objects.filter(created_by=user).update(created_by=None)
            return {
                "events": _delete(events),
                "notifications": _delete(notifications),
                "subscriptions": _delete(subscriptions),
            }

    return retry_on_conflict(statements)


def export_user(user: Any) -> dict[str, Any]:
    """What is kept about a user, as plain JSON values.

    `{"user", "exported_at", "subscriptions": [...], "notifications": [{..., "events": [...]}]}`; the entries have the
    models' field names, those of a host's own models included. The keys of subscriptions are left out.
    """
    notifications = get_notification_model().objects.filter(user=user).order_by("created_at", "pk")
    events: dict[Any, list[dict[str, Any]]] = {}
    for event in get_analytics_model().objects.filter(notification__in=notifications).order_by("timestamp", "pk"):
        events.setdefault(event.notification_id, []).append(_fields(event))
    return {
        "user": user.get_username(),
        "exported_at": timezone.now().isoformat(),
        "subscriptions": _all(get_subscription_model().objects.filter(user=user).order_by("pk")),
        "notifications": [{**_fields(row), "events": events.get(row.pk, [])} for row in notifications],
    }


def _delete(rows: models.QuerySet[Any]) -> int:
    """Delete, and count these rows alone: the rows that go with them are another model's."""
    keys = list(rows.values_list("pk", flat=True))
    rows.model._default_manager.filter(pk__in=keys).delete()
    return len(keys)


def _all(rows: Iterable[models.Model]) -> list[dict[str, Any]]:
    return [_fields(row) for row in rows]


def _fields(row: models.Model) -> dict[str, Any]:
    return {
        field.name: _plain(field.value_from_object(row))
        for field in row._meta.concrete_fields
        if field.name not in NOT_EXPORTED
    }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool | list | dict):
        return value
    return value.isoformat() if isinstance(value, datetime | date | time) else str(value)

"""Deactivate subscriptions: rows are kept with a reason and a date until they are pruned.

However a subscription ends (unsubscribe, logout, admin, 404 and 410, expiry), its pending notifications stay pending.
A worker checks the subscription when a notification is due and suppresses it then. So a browser that subscribes again
in time still gets scheduled notifications, and `cancel()` still works. If the owner changes, pending notifications are
cancelled at once, because they are not for the new owner.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any

from django.db.models import F, QuerySet
from django.utils import timezone

from django_webpush_kit.database import outbox_database, retry_on_conflict, rows_of
from django_webpush_kit.models import get_notification_model, get_subscription_model
from django_webpush_kit.signals import emit, subscription_deactivated

EXPIRED = "its expiration time has passed"

OWNER_CHANGED = "The subscription belongs to another user now"
"""Reason of cancelled notifications for the previous owner."""

GROUP_SIZE = 500
"""Subscriptions deactivated per UPDATE. This limits locks and query parameters."""


def deactivate_subscriptions(subscriptions: QuerySet[Any], reason: str) -> int:
    """Deactivate active subscriptions, invalidate their tokens and send `subscription_deactivated`. Returns the number.

    Subscriptions that no longer match the queryset when they are written are not changed.
    """
    subscriptions = subscriptions.using(outbox_database())
    keys = list(subscriptions.filter(is_active=True).values_list("pk", flat=True))
    count = 0
    for start in range(0, len(keys), GROUP_SIZE):
        group, moment = keys[start : start + GROUP_SIZE], timezone.now()
        changed = retry_on_conflict(partial(mark_inactive, subscriptions.filter(pk__in=group), reason, moment))
        if changed:
            announce_deactivation(group, reason, moment)
        count += changed
    return count


def mark_inactive(subscriptions: QuerySet[Any], reason: str, moment: datetime) -> int:
    """Deactivate active subscriptions without sending a signal. Returns their number."""
    return subscriptions.filter(is_active=True).update(
        is_active=False,
        deactivated_at=moment,
        deactivation_reason=reason[:100],
        token_version=F("token_version") + 1,
        updated_at=moment,
    )


def announce_deactivation(keys: Iterable[Any], reason: str, moment: datetime) -> None:
    """Send `subscription_deactivated` for the subscriptions that were deactivated at `moment`."""
    model = get_subscription_model()
    if subscription_deactivated.has_listeners(model):
        for subscription in rows_of(model).filter(pk__in=keys, is_active=False, deactivated_at=moment):
            emit(subscription_deactivated, model, subscription=subscription, reason=reason)


def cancel_for_former_owner(subscription: Any) -> None:
    """Cancel the pending notifications of a subscription that moves to another user."""
    rows_of(get_notification_model()).filter(subscription=subscription.pk).cancel(OWNER_CHANGED)

"""Soft deactivation: a subscription that ends is kept, with reason and date, until it is pruned."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet
from django.utils import timezone

from django_webpush_kit.database import retry_on_conflict
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.signals import emit, subscription_deactivated

EXPIRED = "its expiration time has passed"

OWNER_CHANGED = "The subscription belongs to another user now"
"""Why a notification for the owner before is cancelled."""


def deactivate_subscriptions(subscriptions: QuerySet[Any], reason: str) -> int:
    """Deactivate those that are active, void their tokens, and tell `subscription_deactivated`; returns how many."""
    model = get_subscription_model()
    active = subscriptions.filter(is_active=True)
    keys = list(active.values_list("pk", flat=True))
    now = timezone.now()
    changed = retry_on_conflict(
        lambda: model.objects.filter(pk__in=keys, is_active=True).update(
            is_active=False,
            deactivated_at=now,
            deactivation_reason=reason[:100],
            token_version=F("token_version") + 1,
            updated_at=now,
        )
    )
    if changed and subscription_deactivated.has_listeners(model):
        for subscription in model.objects.filter(pk__in=keys, is_active=False):
            emit(subscription_deactivated, model, subscription=subscription, reason=reason)
    return changed

"""A user's browsers, named without endpoints or keys, and their removal by the user."""

from __future__ import annotations

from typing import Any

from django_webpush_kit import services
from django_webpush_kit.database import rows_of
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.rollups.browsers import browser_name
from django_webpush_kit.tokens import primary_key

MAX_LISTED = 100


def active_browsers(user: Any) -> list[Any]:
    """Return the active subscriptions of a user, the newest first, at most MAX_LISTED."""
    rows = rows_of(get_subscription_model()).active().for_user(user)
    return list(rows.order_by("-created_at", "-pk")[:MAX_LISTED])


def describe_browser(subscription: Any) -> dict[str, Any]:
    """Return `{"id", "browser", "created_at"}`: the primary key, the browser's family or "", and an aware datetime."""
    return {
        "id": subscription.pk,
        "browser": browser_name(subscription.user_agent),
        "created_at": subscription.created_at,
    }


def remove_browser(user: Any, key: object) -> bool:
    """End a subscription of the user, active or not. Returns False if no subscription of theirs has this key."""
    model = get_subscription_model()
    pk = primary_key(model, key)
    subscription = None if pk is None else rows_of(model).for_user(user).filter(pk=pk).first()
    if subscription is None:
        return False
    services.unsubscribe(subscription)
    return True

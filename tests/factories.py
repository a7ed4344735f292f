"""Rows for tests that start in the middle: what has become of messages. Subscriptions come from conftest's fixtures."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.utils import timezone

from django_webpush_kit.models import get_analytics_model, get_notification_model, get_template_model


def make_notification(subscription: Any, status: str = "sent", *, days_ago: float = 0, **fields: Any) -> Any:
    """An outbox row in the given state, as it would stand after having been created `days_ago`."""
    created = timezone.now() - timedelta(days=days_ago)
    given: dict[str, Any] = {
        "batch": uuid.uuid4(),
        "title": "Hello",
        "user_id": subscription.user_id,
        "created_at": created,
        "next_attempt_at": created,
        "sent_at": created if status == "sent" else None,
        "lease_token": uuid.uuid4() if status == "sending" else None,
    }
    return get_notification_model().objects.create(subscription=subscription, status=status, **{**given, **fields})


def make_event(notification: Any, action_type: str, action_id: str = "") -> Any:
    return get_analytics_model().objects.create(notification=notification, action_type=action_type, action_id=action_id)


def make_template(type: str = "order_shipped", **fields: Any) -> Any:  # noqa: A002  # the field's own name
    given = {"title_template": "Order {{ number }} is on its way"}
    return get_template_model().objects.create(type=type, **{**given, **fields})

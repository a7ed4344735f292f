"""Rows for tests that start in the middle: subscribers, and what has become of messages to them."""

from __future__ import annotations

import uuid
from datetime import timedelta
from itertools import count
from typing import Any

from django.contrib.auth import get_user_model
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.models import get_analytics_model, get_notification_model, get_template_model
from django_webpush_kit.testing.fake_browser import new_keys
from tests.randomness import per_test

_numbers = count(1)


def make_user(username: str = "", **fields: Any) -> Any:
    """A saved user. Without a name it is "user1", "user2" and so on."""
    return get_user_model().objects.create_user(username=username or f"user{next(_numbers)}", **fields)


_SUBSCRIBE_ARGUMENTS = ("preferences", "user_agent", "language", "timezone", "expiration_time", "ip_address")


def make_subscription(user: Any = None, **fields: Any) -> Any:
    """A subscription as the HTTP API stores it: `make_subscription(user, language="de")`, with its own keys.

    Other keyword arguments than those of `services.subscribe` are fields of the row.
    """
    endpoint = f"https://updates.push.services.mozilla.com/wpush/v2/{per_test.name()}"
    arguments: dict[str, Any] = {"endpoint": endpoint, **new_keys()}
    arguments |= {name: fields.pop(name) for name in (*arguments, *_SUBSCRIBE_ARGUMENTS) if name in fields}
    row = services.subscribe(user=user, **arguments)
    if fields:
        # not save(), which sets created_at and updated_at itself
        type(row).objects.filter(pk=row.pk).update(**fields)
        row.refresh_from_db()
    return row


def make_notification(subscription: Any, status: str = "sent", *, days_ago: float = 0, **fields: Any) -> Any:
    """An outbox row in the given state, as it would stand after having been created `days_ago`."""
    notification = new_notification(subscription, status, days_ago=days_ago, **fields)
    notification.save()
    return notification


def new_notification(subscription: Any, status: str = "sent", *, days_ago: float = 0, **fields: Any) -> Any:
    """The same, not saved."""
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
    return get_notification_model()(subscription=subscription, status=status, **{**given, **fields})


def make_event(notification: Any, action_type: str, action_id: str = "") -> Any:
    return get_analytics_model().objects.create(notification=notification, action_type=action_type, action_id=action_id)


def make_template(type: str = "order_shipped", **fields: Any) -> Any:  # noqa: A002  # the field's own name
    given = {"title_template": "Order {{ number }} is on its way"}
    return get_template_model().objects.create(type=type, **{**given, **fields})

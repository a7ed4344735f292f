"""Querysets of the models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone


class PushSubscriptionQuerySet(models.QuerySet[Any]):
    """Queryset of push subscriptions."""

    def active(self) -> PushSubscriptionQuerySet:
        """Subscriptions that can receive messages: active and not past their expiration time."""
        return self.filter(Q(expiration_time=None) | Q(expiration_time__gt=timezone.now()), is_active=True)

    def expired(self, now: datetime) -> PushSubscriptionQuerySet:
        """Active subscriptions past their expiration time."""
        return self.filter(is_active=True, expiration_time__lte=now)

    def for_user(self, user: Any) -> PushSubscriptionQuerySet:
        """Subscriptions that belong to `user` (an instance or a primary key)."""
        return self.filter(user=user)


class NotificationTemplateQuerySet(models.QuerySet[Any]):
    """Queryset of notification templates."""

    def get_by_natural_key(self, type: str, language: str) -> Any:  # noqa: A002  # the field's own name
        """Return the template that a fixture without primary keys refers to."""
        return self.get(type=type, language=language)


class PushNotificationQuerySet(models.QuerySet[Any]):
    """Queryset of outbox rows."""

    def pending(self) -> PushNotificationQuerySet:
        """Rows that have not been sent yet."""
        return self.filter(status="pending")

    def due(self, now: datetime | None = None) -> PushNotificationQuerySet:
        """Pending rows whose due time has come."""
        return self.pending().filter(next_attempt_at__lte=now or timezone.now())

    def for_user(self, user: Any) -> PushNotificationQuerySet:
        """Rows addressed to `user`, even if the subscription has moved to another user."""
        return self.filter(user=user)

    def cancel(self, reason: str) -> int:
        """Cancel the rows that are still pending and return their number."""
        return self.pending().update(status="cancelled", failure_reason=reason)

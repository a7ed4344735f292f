"""Query sets of the models: the questions the rest of the library asks, by name."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone


class PushSubscriptionQuerySet(models.QuerySet[Any]):
    """Subscriptions of browsers."""

    def active(self) -> PushSubscriptionQuerySet:
        """Those that may be sent to: not deactivated and not past their expiration time."""
        return self.filter(Q(expiration_time=None) | Q(expiration_time__gt=timezone.now()), is_active=True)

    def expired(self, now: datetime) -> PushSubscriptionQuerySet:
        """Those still marked active whose expiration time has passed."""
        return self.filter(is_active=True, expiration_time__lte=now)

    def for_user(self, user: Any) -> PushSubscriptionQuerySet:
        """Those that belong to `user` (an instance or a primary key)."""
        return self.filter(user=user)


class NotificationTemplateQuerySet(models.QuerySet[Any]):
    """Notification templates."""

    def get_by_natural_key(self, type: str, language: str) -> Any:  # noqa: A002  # the field's own name
        """The one that a fixture without primary keys means."""
        return self.get(type=type, language=language)


class PushNotificationQuerySet(models.QuerySet[Any]):
    """Rows of the outbox."""

    def pending(self) -> PushNotificationQuerySet:
        """Rows that wait to be sent."""
        return self.filter(status="pending")

    def due(self, now: datetime | None = None) -> PushNotificationQuerySet:
        """Rows that should be sent by now."""
        return self.pending().filter(next_attempt_at__lte=now or timezone.now())

    def for_user(self, user: Any) -> PushNotificationQuerySet:
        """Rows addressed to `user`, whoever owns the subscription now."""
        return self.filter(user=user)

    def cancel(self, reason: str) -> int:
        """Cancel the rows that are still pending; returns how many there were."""
        return self.pending().update(status="cancelled", failure_reason=reason)

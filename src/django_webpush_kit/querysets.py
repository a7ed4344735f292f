"""Querysets and managers of the models."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact
from django.utils import timezone

from django_webpush_kit import attempt_log
from django_webpush_kit.attempt_log import Step
from django_webpush_kit.readable_rows import ReadableQuerySet

if TYPE_CHECKING:
    from typing_extensions import Self

Row = TypeVar("Row", bound=models.Model)


def without_index(field: str, value: Any) -> Exact[Any]:
    """Return the condition that a column has a value, in a form for which SQLite and MariaDB use no index of it.

    For queries that find their rows in another way. With the index, SQLite would read all rows with this value.
    """
    return Exact(Coalesce(F(field), Value(None)), value)


class PushSubscriptionQuerySet(ReadableQuerySet[Row]):
    """Queryset of push subscriptions."""

    def active(self) -> Self:
        """Subscriptions that can receive messages: active and not past their expiration time."""
        return self.filter(Q(expiration_time=None) | Q(expiration_time__gt=timezone.now()), is_active=True)

    def expired(self, now: datetime) -> Self:
        """Active subscriptions past their expiration time."""
        return self.filter(is_active=True, expiration_time__lte=now)

    def for_user(self, user: Any) -> Self:
        """Subscriptions that belong to `user` (an instance or a primary key)."""
        return self.filter(user=user)


class NotificationTemplateQuerySet(ReadableQuerySet[Row]):
    """Queryset of notification templates."""

    def get_by_natural_key(self, type: str, language: str) -> Row:  # noqa: A002  # the field's own name
        """Return the template that a fixture without primary keys refers to."""
        return self.get(type=type, language=language)


class PushNotificationQuerySet(ReadableQuerySet[Row]):
    """Queryset of outbox rows."""

    def pending(self) -> Self:
        """Rows that have not been sent yet."""
        return self.filter(status="pending")

    def due(self, now: datetime | None = None) -> Self:
        """Pending rows whose due time has come."""
        return self.pending().filter(next_attempt_at__lte=now or timezone.now())

    def for_user(self, user: Any) -> Self:
        """Rows addressed to `user`, even if the subscription has moved to another user."""
        return self.filter(user=user)

    def cancel(self, reason: str) -> int:
        """Cancel the rows that are still pending and return their number."""
        step = attempt_log.line(Step.CANCEL, at=timezone.now(), reason=reason)
        return self.pending().update(status="cancelled", failure_reason=reason, attempt_log=attempt_log.with_line(step))


if TYPE_CHECKING:
    # Type checkers without a Django plugin do not know the methods that `from_queryset` adds to a manager.

    class PushSubscriptionManager(PushSubscriptionQuerySet[Row], models.Manager[Row]):  # type: ignore[misc]  # as from_queryset
        """Manager of push subscriptions."""

    class NotificationTemplateManager(NotificationTemplateQuerySet[Row], models.Manager[Row]):  # type: ignore[misc]  # as from_queryset
        """Manager of notification templates."""

    class PushNotificationManager(PushNotificationQuerySet[Row], models.Manager[Row]):  # type: ignore[misc]  # as from_queryset
        """Manager of outbox rows."""

else:
    PushSubscriptionManager = models.Manager.from_queryset(PushSubscriptionQuerySet)
    NotificationTemplateManager = models.Manager.from_queryset(NotificationTemplateQuerySet)
    PushNotificationManager = models.Manager.from_queryset(PushNotificationQuerySet)

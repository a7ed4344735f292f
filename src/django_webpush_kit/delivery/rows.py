"""What a worker reads of the rows it has claimed: plain values, no model instances."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist

from django_webpush_kit.base_models import Lane, NotificationStatus
from django_webpush_kit.delivery.retry import deadline
from django_webpush_kit.models import get_notification_model


class Lease(NamedTuple):
    """The right to send a set of rows until `ends_at`."""

    token: UUID
    ends_at: datetime


class Row(NamedTuple):
    """A claimed outbox row with its subscription."""

    pk: Any
    title: str
    body: str
    data: dict[str, Any]
    language: str
    options: dict[str, Any]
    type: str
    topic: str
    retry_count: int
    max_retries: int
    created_at: datetime
    scheduled_for: datetime | None
    expires_at: datetime | None
    response_status: int | None
    batch: UUID
    user_id: Any
    subscription_id: Any
    endpoint: str
    p256dh: str
    auth: str
    is_active: bool
    deactivation_reason: str
    expiration_time: datetime | None
    owner_id: Any
    preferences: dict[str, Any]
    timezone: str
    push_service: str
    vapid_key_id: str
    subscribed_at: datetime
    user_is_active: bool | None

    @property
    def due(self) -> datetime:
        """When the row was first due."""
        return self.created_at if self.scheduled_for is None else max(self.scheduled_for, self.created_at)

    @property
    def deadline(self) -> datetime | None:
        """After this moment the row is not sent any more; None: it has one attempt, whenever that is."""
        return deadline(self.due, self.options, self.expires_at)


_COLUMNS = (
    "pk",
    "title",
    "body",
    "data",
    "language",
    "options",
    "type",
    "topic",
    "retry_count",
    "max_retries",
    "created_at",
    "scheduled_for",
    "expires_at",
    "response_status",
    "batch",
    "user_id",
    "subscription_id",
    "subscription__endpoint",
    "subscription__p256dh_key",
    "subscription__auth_key",
    "subscription__is_active",
    "subscription__deactivation_reason",
    "subscription__expiration_time",
    "subscription__user_id",
    "subscription__preferences",
    "subscription__timezone",
    "subscription__push_service",
    "subscription__vapid_key_id",
    "subscription__created_at",
)


def read_rows(lease: Lease) -> list[Row]:
    """The rows of a lease, the most urgent first; found by the index of the outbox, as all share the lease's end."""
    claimed = get_notification_model().objects.filter(
        status=NotificationStatus.SENDING, lane__in=Lane.values, next_attempt_at=lease.ends_at, lease_token=lease.token
    )
    columns = claimed.order_by("lane", "pk").values_list(*_COLUMNS, *_user_column())
    padding = () if _user_column() else (True,)
    return [Row(*values, *padding) for values in columns]


@lru_cache(maxsize=1)
def _user_column() -> tuple[str, ...]:
    try:
        get_user_model()._meta.get_field("is_active")
    except FieldDoesNotExist:
        return ()
    return ("user__is_active",)

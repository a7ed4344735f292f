"""What a worker reads of the rows it has claimed: plain values, no model instances."""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db.models import TextField
from django.db.models.functions import Cast

from django_webpush_kit.base_models import Lane, NotificationStatus
from django_webpush_kit.delivery.retry import deadline
from django_webpush_kit.models import get_notification_model


class Lease(NamedTuple):
    """The right to send a set of rows until `ends_at`."""

    token: UUID
    ends_at: datetime


class Row(NamedTuple):
    """A claimed outbox row with its subscription. Rows may share their JSON values: these are only read."""

    data: dict[str, Any]
    options: dict[str, Any]
    preferences: dict[str, Any]
    pk: Any
    title: str
    body: str
    language: str
    type: str
    topic: str
    retry_count: int
    max_retries: int
    created_at: datetime
    scheduled_for: datetime | None
    expires_at: datetime | None
    response_status: int | None
    user_id: Any
    subscription_id: Any
    endpoint: str
    p256dh: str
    auth: str
    is_active: bool
    deactivation_reason: str
    expiration_time: datetime | None
    owner_id: Any
    timezone: str
    push_service: str
    vapid_key_id: str
    user_is_active: bool | None

    @property
    def due(self) -> datetime:
        """When the row was first due."""
        return self.created_at if self.scheduled_for is None else max(self.scheduled_for, self.created_at)

    @property
    def deadline(self) -> datetime | None:
        """After this moment the row is not sent any more; None: it has one attempt, whenever that is."""
        return deadline(self.due, self.options, self.expires_at)


_JSON_COLUMNS = ("data", "options", "subscription__preferences")

_COLUMNS = (
    "pk",
    "title",
    "body",
    "language",
    "type",
    "topic",
    "retry_count",
    "max_retries",
    "created_at",
    "scheduled_for",
    "expires_at",
    "response_status",
    "user_id",
    "subscription_id",
    "subscription__endpoint",
    "subscription__p256dh_key",
    "subscription__auth_key",
    "subscription__is_active",
    "subscription__deactivation_reason",
    "subscription__expiration_time",
    "subscription__user_id",
    "subscription__timezone",
    "subscription__push_service",
    "subscription__vapid_key_id",
)

_TEXTS_KEPT = 256


def read_rows(lease: Lease) -> list[Row]:
    """The rows of a lease, the most urgent first; found by the index of the outbox, as all share the lease's end."""
    claimed = get_notification_model().objects.filter(
        status=NotificationStatus.SENDING, lane__in=Lane.values, next_attempt_at=lease.ends_at, lease_token=lease.token
    )
    texts = (Cast(name, TextField()) for name in _JSON_COLUMNS)
    columns = claimed.order_by("lane", "pk").values_list(*texts, *_COLUMNS, *_user_column())
    padding = () if _user_column() else (True,)
    # The rows of one call mostly hold the same JSON: each text is read once.
    read = lru_cache(maxsize=_TEXTS_KEPT)(json.loads)
    return [
        Row(read(data), read(options), read(preferences), *values, *padding)
        for data, options, preferences, *values in columns
    ]


@lru_cache(maxsize=1)
def _user_column() -> tuple[str, ...]:
    try:
        get_user_model()._meta.get_field("is_active")
    except FieldDoesNotExist:
        return ()
    return ("user__is_active",)

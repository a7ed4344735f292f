"""What browsers report about notifications: delivered, clicked, dismissed, a button clicked.

The signed token in each payload is the whole credential; cookies play no part. A repeated report is not a second event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import outbox_database, retry_on_conflict
from django_webpush_kit.models import get_analytics_model, get_notification_model
from django_webpush_kit.protocol.endpoints import check_click_url
from django_webpush_kit.signals import emit, event_recorded
from django_webpush_kit.states import ActionType
from django_webpush_kit.tokens import read_notification_token

MAX_PER_NOTIFICATION = 16
"""A token's bearer may make up button ids, but not fill the table with them; browsers show four buttons at most."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `happened_at` is the browser's word for when, which its clock may have wrong."""

    notification_id: Any
    batch: UUID
    action: str
    action_id: str = ""
    happened_at: datetime | None = None

    @property
    def key(self) -> tuple[Any, str, str]:
        """What makes two reports about a notification the same event."""
        return self.notification_id, self.action, self.action_id


def notification_of(token: str) -> tuple[Any, UUID] | None:
    """The primary key and the batch of the notification a token names; None for a forged, damaged or old token."""
    identity = read_notification_token(token, max_age=timedelta(days=kit_settings.EVENT_TOKEN_DAYS))
    if identity is None:
        return None
    try:
        return get_notification_model()._meta.pk.to_python(identity.key), identity.batch
    except ValidationError:
        return None  # signed before the model was swapped for one with other keys


def find_notification(token: str) -> Any:
    """The notification a token names; None when there is none, or none any more."""
    named = notification_of(token)
    if named is None:
        return None
    key, batch = named
    return get_notification_model().objects.filter(pk=key, batch=batch).first()


def record(events: Iterable[Event]) -> int:
    """Store what is new about notifications that still exist; returns how many events that were."""
    wanted = {(*event.key, event.batch): event for event in sorted(events, key=lambda event: str(event.key))}
    created = retry_on_conflict(lambda: _store(wanted.values())) if wanted else []
    for analytics in created:
        emit(
            event_recorded,
            type(analytics),
            notification=analytics.notification,
            event=analytics.action_type,
            analytics=analytics,
        )
    return len(created)


def record_click(notification: Any, action: str) -> None:
    """Record that a link was followed; `action` is the button's id, or ""."""
    kind = ActionType.ACTION_CLICKED if action else ActionType.CLICKED
    record([Event(notification.pk, notification.batch, kind, action)])


def click_target(notification: Any, action: str) -> str:
    """The stored URL that a click opens, or that the button `action` opens; "" when there is none that may be."""
    options = notification.options
    buttons = {button.get("action"): button.get("url") for button in options.get("actions") or ()}
    target = buttons.get(action) or options.get("url") or ""
    try:
        return check_click_url(target)
    except ValueError:
        return ""  # written past the checks of send()


def has_button(notification: Any, action: str) -> bool:
    """Whether the notification has a button with this id."""
    return any(button.get("action") == action for button in notification.options.get("actions") or ())


def _store(events: Collection[Event]) -> list[Any]:
    model = get_analytics_model()
    keys = {event.notification_id for event in events}
    with transaction.atomic(using=outbox_database()):
        notifications = get_notification_model().objects.in_bulk(keys)
        known = set(
            model.objects.filter(notification__in=keys).values_list("notification_id", "action_type", "action_id")
        )
        counts = Counter(notification_id for notification_id, _action, _action_id in known)
        created = []
        for event in events:
            notification = notifications.get(event.notification_id)
            if notification is None or notification.batch != event.batch:
                continue  # deleted, or a notification of another database
            if event.key in known or counts[notification.pk] >= MAX_PER_NOTIFICATION:
                continue
            counts[notification.pk] += 1
            if (row := _insert(event, notification)) is not None:
                created.append(row)
    return created


def _insert(event: Event, notification: Any) -> Any:
    data = {} if event.happened_at is None else {"happened_at": event.happened_at.isoformat()}
    try:
        with transaction.atomic(using=outbox_database()):
            return get_analytics_model().objects.create(
                notification=notification, action_type=event.action, action_id=event.action_id, action_data=data
            )
    except IntegrityError:
        return None  # the same report came twice at once

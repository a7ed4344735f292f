"""What browsers report about notifications: delivered, clicked, dismissed, a button clicked.

The signed token in each payload is the whole credential; cookies play no part. A repeated report is not a second event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connections, transaction
from django.utils.encoding import iri_to_uri

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import atomic_with_retry, outbox_database, rows_of
from django_webpush_kit.models import get_analytics_model, get_notification_model
from django_webpush_kit.protocol.endpoints import check_click_url
from django_webpush_kit.signals import emit, event_recorded
from django_webpush_kit.states import ActionType
from django_webpush_kit.tokens import primary_key, read_notification_token

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
    key = None if identity is None else primary_key(get_notification_model(), identity.key)
    return None if identity is None or key is None else (key, identity.batch)


def find_notification(token: str) -> Any:
    """The notification a token names; None when there is none, or none any more."""
    named = notification_of(token)
    if named is None:
        return None
    key, batch = named
    return rows_of(get_notification_model()).filter(pk=key, batch=batch).first()


def record(events: Iterable[Event]) -> int:
    """Store what is new about notifications that still exist; returns how many events that were."""
    wanted = {(*event.key, event.batch): event for event in sorted(events, key=lambda event: str(event.key))}
    created = _store(wanted.values()) if wanted else []
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
    """The stored URL that a click opens, or that the button `action` opens, as a `Location` header takes it.

    "" when there is none that may be opened; stored values of any kind are read without an error.
    """
    target = _buttons(notification).get(action) or _options(notification).get("url")
    try:
        return iri_to_uri(check_click_url(target)) if isinstance(target, str) else ""
    except ValueError:
        return ""  # written past the checks of send()


def has_button(notification: Any, action: str) -> bool:
    """Whether the notification has a button with this id."""
    return action in _buttons(notification)


def _options(notification: Any) -> Mapping[str, Any]:
    options = notification.options
    return options if isinstance(options, Mapping) else {}


def _buttons(notification: Any) -> dict[str, Any]:
    """The URL of each button by its id, None where it has none of its own."""
    actions = _options(notification).get("actions")
    buttons = [button for button in actions if isinstance(button, Mapping)] if isinstance(actions, list) else []
    return {button["action"]: button.get("url") for button in buttons if isinstance(button.get("action"), str)}


@atomic_with_retry
def _store(events: Collection[Event]) -> list[Any]:
    """Insert events, each once, and at most `MAX_PER_NOTIFICATION` of a notification.

    The notifications are locked, so that parallel reports are counted one after the other. SQLite, which has no row
    locks, lets only one transaction at a time read and then write.
    """
    keys = {event.notification_id for event in events}
    notifications = _locked_notifications(keys)
    stored = rows_of(get_analytics_model()).filter(notification__in=keys)
    known = set(stored.values_list("notification_id", "action_type", "action_id"))
    counts = Counter(notification_id for notification_id, _action, _action_id in known)
    created = []
    for event in events:
        notification = notifications.get(event.notification_id)
        if notification is None or notification.batch != event.batch:
            continue  # deleted, or a notification of another database
        if event.key in known or counts[notification.pk] >= MAX_PER_NOTIFICATION:
            continue
        if (row := _insert(event, notification)) is not None:
            counts[notification.pk] += 1
            created.append(row)
    return created


def _locked_notifications(keys: Collection[Any]) -> dict[Any, Any]:
    features = connections[outbox_database()].features
    rows = rows_of(get_notification_model()).filter(pk__in=keys).order_by("pk")
    locked = rows.select_for_update(no_key=features.has_select_for_no_key_update)
    return {notification.pk: notification for notification in locked}


def _insert(event: Event, notification: Any) -> Any:
    data = {} if event.happened_at is None else {"happened_at": event.happened_at.isoformat()}
    try:
        with transaction.atomic(using=outbox_database()):
            return rows_of(get_analytics_model()).create(
                notification=notification, action_type=event.action, action_id=event.action_id, action_data=data
            )
    except IntegrityError:
        return None  # stored past this function meanwhile

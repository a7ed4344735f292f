"""Record the events that browsers report: a notification was delivered, clicked or dismissed, or its button clicked.

The signed token in the payload is the only credential; cookies are ignored. Repeated reports count once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connections, transaction
from django.db.models import F, Func, TextField, Value
from django.utils.encoding import iri_to_uri

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import atomic_with_retry, is_code_outdated, outbox_database, rows_of
from django_webpush_kit.models import get_analytics_model, get_notification_model
from django_webpush_kit.protocol.endpoints import check_click_url
from django_webpush_kit.signals import emit, event_recorded
from django_webpush_kit.states import ActionType
from django_webpush_kit.tokens import primary_key, read_notification_token

MAX_PER_NOTIFICATION = 16
"""The maximum number of events stored for one notification, so that forged button ids cannot fill the table.

Browsers show at most four buttons.
"""

READ_COMMITTED = "read committed"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `happened_at` comes from the browser, whose clock may be wrong."""

    notification_id: Any
    batch: UUID
    action: str
    action_id: str = ""
    happened_at: datetime | None = None

    @property
    def key(self) -> tuple[Any, str, str]:
        """Reports with the same key are the same event."""
        return self.notification_id, self.action, self.action_id


def notification_of(token: str) -> tuple[Any, UUID] | None:
    """Return the primary key and batch of a token's notification, or None if the token is invalid or too old."""
    identity = read_notification_token(token, max_age=timedelta(days=kit_settings.EVENT_TOKEN_DAYS))
    key = None if identity is None else primary_key(get_notification_model(), identity.key)
    return None if identity is None or key is None else (key, identity.batch)


def find_notification(token: str) -> Any:
    """Return a token's notification, or None if the token is invalid or the row was deleted."""
    named = notification_of(token)
    if named is None:
        return None
    key, batch = named
    return rows_of(get_notification_model()).filter(pk=key, batch=batch).first()


def record(events: Iterable[Event]) -> int:
    """Store the events that are new, and return their number. Events of deleted notifications are skipped."""
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
    """Record a click on the notification, or on its button with the id `action`."""
    kind = ActionType.ACTION_CLICKED if action else ActionType.CLICKED
    record([Event(notification.pk, notification.batch, kind, action)])


def click_target(notification: Any, action: str) -> str:
    """Return the stored URL of a notification, or of its button with the id `action`, encoded for a `Location` header.

    Returns "" if there is no URL or it is not allowed. Invalid stored values raise no error.
    """
    target = _buttons(notification).get(action) or _options(notification).get("url")
    try:
        return iri_to_uri(check_click_url(target)) if isinstance(target, str) else ""
    except ValueError:
        return ""  # stored without the validation of send()


def has_button(notification: Any, action: str) -> bool:
    """Return whether the notification has a button with this id."""
    return action in _buttons(notification)


def _options(notification: Any) -> Mapping[str, Any]:
    options = notification.options
    return options if isinstance(options, Mapping) else {}


def _buttons(notification: Any) -> dict[str, Any]:
    """Return the URL of each button by its id, or None for a button without a URL."""
    actions = _options(notification).get("actions")
    buttons = [button for button in actions if isinstance(button, Mapping)] if isinstance(actions, list) else []
    return {button["action"]: button.get("url") for button in buttons if isinstance(button.get("action"), str)}


@atomic_with_retry
def _store(events: Collection[Event]) -> list[Any]:
    """Insert each event once, and at most `MAX_PER_NOTIFICATION` events per notification.

    The notifications are locked, so that concurrent reports cannot exceed the limit. SQLite has no row locks, but
    allows only one transaction at a time to read and then write. PostgreSQL at a stricter isolation level counts what
    was committed before it waited for the lock: there the notifications are also written, so that the database refuses
    transactions that waited, and they are retried.
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
            continue  # deleted, or from another database
        if event.key in known or counts[notification.pk] >= MAX_PER_NOTIFICATION:
            continue
        if (row := _insert(event, notification)) is not None:
            counts[notification.pk] += 1
            created.append(row)
    return created


def _locked_notifications(keys: Collection[Any]) -> dict[Any, Any]:
    connection = connections[outbox_database()]
    rows = rows_of(get_notification_model()).filter(pk__in=keys)
    locked = rows.order_by("pk").select_for_update(no_key=connection.features.has_select_for_no_key_update)
    if connection.vendor == "postgresql":
        setting = Func(Value("transaction_isolation"), function="current_setting", output_field=TextField())
        locked = locked.annotate(isolation_level=setting)
    found = {notification.pk: notification for notification in locked}
    if any(getattr(one, "isolation_level", READ_COMMITTED) != READ_COMMITTED for one in found.values()):
        rows.update(batch=F("batch"))
    return found


def _insert(event: Event, notification: Any) -> Any:
    data = {} if event.happened_at is None else {"happened_at": event.happened_at.isoformat()}
    try:
        with transaction.atomic(using=outbox_database()):
            return rows_of(get_analytics_model()).create(
                notification=notification, action_type=event.action, action_id=event.action_id, action_data=data
            )
    except IntegrityError as error:
        if is_code_outdated(error):
            raise  # the browser reports again later
        return None  # stored by other code in the meantime

"""Fill the tables: users, subscriptions, templates, broadcasts, notifications over 90 days, and their events.

A row's values follow from its number, so that every database gets the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import md5
from itertools import islice
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.utils import timezone

from benchmarks.statistics.databases import filling
from django_webpush_kit.models import (
    PushBroadcast,
    get_analytics_model,
    get_notification_model,
    get_subscription_model,
    get_template_model,
)

DAYS = 90
USERS = 100_000
SUBSCRIPTIONS = 200_000
TEMPLATES = 24
TYPES = 8

ROWS_AT_ONCE = 1000
"""Rows of one statement."""

PUSH_SERVICES = (
    ("fcm.googleapis.com", "Chrome"),
    ("updates.push.services.mozilla.com", "Firefox"),
    ("web.push.apple.com", "Safari"),
    ("notify.windows.com", "Edge"),
)
LANGUAGES = ("en", "de", "fr", "es", "pt-br")
TEMPLATE_LANGUAGES = ("", "de", "fr")

OUTCOMES: tuple[tuple[int, tuple[str, int | None, str]], ...] = (
    (93, ("sent", 201, "")),
    (97, ("failed", 410, "HTTP 410")),
    (99, ("suppressed", None, "Blocked by user preferences")),
    (100, ("expired", None, "")),
)
"""Status, answer and reason of the notifications whose last two digits are below a limit."""

EVENTS = (("delivered", "", 100), ("clicked", "", 70), ("action_clicked", "open", 75), ("dismissed", "", 80))
"""Events of the accepted notifications whose last two digits are below a limit."""

BATCH = get_notification_model()._meta.get_field("batch")

HALF_A_DAY = 43_200_000_000
"""In microseconds."""

PRIME = 2_654_435_761


def fill(notifications: int) -> None:
    """Write all rows, and let the database look at them."""
    now = timezone.now()
    numbers = range(1, notifications + 1)
    with filling():
        _insert(get_user_model(), (_user(i, now) for i in range(1, USERS + 1)))
        _insert(get_subscription_model(), (_subscription(i, now) for i in range(1, SUBSCRIPTIONS + 1)))
        get_template_model().objects.bulk_create(
            get_template_model()(
                type=f"type{i % TYPES}", language=TEMPLATE_LANGUAGES[i // TYPES], title_template="Hello"
            )
            for i in range(TEMPLATES)
        )
        PushBroadcast.objects.bulk_create(
            PushBroadcast(
                batch=_batch(f"b{i}"),
                type=f"type{i % TYPES}",
                status=PushBroadcast.Status.COMPLETED,
                created_at=now - timedelta(days=i, hours=12),
                finished_at=now - timedelta(days=i),
            )
            for i in range(DAYS)
        )
        _insert(get_notification_model(), (_notification(i, now) for i in numbers))
        _insert(get_analytics_model(), (event for i in numbers for event in _events(i, now)))


def _user(i: int, now: datetime) -> dict[str, Any]:
    return {
        "username": f"user{i}",
        "email": f"user{i}@example.com",
        "password": "!",
        "first_name": "",
        "last_name": "",
        "is_superuser": False,
        "is_staff": False,
        "is_active": True,
        "date_joined": _moment(now),
    }


def _subscription(i: int, now: datetime) -> dict[str, Any]:
    """Every twentieth has ended, half of these by its user."""
    at, has_ended = _moment(now - timedelta(days=i % DAYS)), i % 20 == 0
    push_service, browser = PUSH_SERVICES[i % len(PUSH_SERVICES)]
    return {
        "user": 1 + (i - 1) % USERS,
        "endpoint": f"https://push.example.com/{i}",
        "endpoint_hash": _hash(str(i)) + _hash(str(i + 1)),
        "p256dh_key": "key",
        "auth_key": "auth",
        "preferences": "{}",
        "is_active": not has_ended,
        "deactivated_at": at if has_ended else None,
        "deactivation_reason": "unsubscribed" if i % 40 == 0 else "",
        "push_service": push_service,
        "vapid_key_id": "",
        "language": LANGUAGES[i % len(LANGUAGES)],
        "timezone": "",
        "token_version": 0,
        "user_agent": browser,
        "created_at": at,
        "updated_at": _moment(now),
    }


def _notification(i: int, now: datetime) -> dict[str, Any]:
    """Every third belongs to the broadcast of its day."""
    at = _created(i, now)
    status, response, reason = next(outcome for limit, outcome in OUTCOMES if i % 100 < limit)
    return {
        "subscription": 1 + i * 7919 % SUBSCRIPTIONS,
        "template": 1 + i % TEMPLATES,
        "user": 1 + i * 7919 % SUBSCRIPTIONS % USERS,
        "batch": BATCH.get_db_prep_value(_batch(f"b{i % DAYS}" if i % 3 == 0 else str(i)), connection),
        "type": f"type{i % TYPES}",
        "language": TEMPLATE_LANGUAGES[i % len(TEMPLATE_LANGUAGES)],
        "title": "A title of usual length",
        "body": "A body that is a little longer than the title",
        "data": "{}",
        "options": "{}",
        "topic": "",
        "status": status,
        "lane": 1,
        "next_attempt_at": _moment(at),
        "retry_count": 0,
        "max_retries": 3,
        "claims": 0,
        "created_at": _moment(at),
        "sent_at": _moment(at + timedelta(seconds=1)) if status == "sent" else None,
        "response_status": response,
        "failure_reason": reason,
        "attempt_log": "",
    }


def _events(i: int, now: datetime) -> Iterator[dict[str, Any]]:
    """Most come soon after the notification was sent, and all within an hour."""
    if i % 100 < OUTCOMES[0][0]:
        at = _created(i, now) + timedelta(seconds=1)
        for number, (action, button, share) in enumerate(EVENTS):
            if i % 100 < share:
                part = (i + number) * PRIME % 65_521 / 65_521
                yield {
                    "notification": i,
                    "action_type": action,
                    "action_id": button,
                    "action_data": "{}",
                    "timestamp": _moment(at + timedelta(hours=part * part)),
                }


def _created(i: int, now: datetime) -> datetime:
    """Consecutive rows belong to different days, so that those of one day are on as many pages of the disk."""
    return now - timedelta(days=i % DAYS, microseconds=i * PRIME % HALF_A_DAY)


def _moment(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


def _batch(text: str) -> UUID:
    return UUID(_hash(text), version=4)


def _hash(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def _insert(model: Any, rows: Iterator[dict[str, Any]]) -> None:
    """Write rows of values by field, which contain no quotes. Drivers take longer to bind parameters."""
    quote = connection.ops.quote_name
    with transaction.atomic(), connection.cursor() as cursor:
        while part := list(islice(rows, ROWS_AT_ONCE)):
            columns = ", ".join(quote(model._meta.get_field(name).column) for name in part[0])
            values = ", ".join(f"({', '.join(map(_literal, row.values()))})" for row in part)
            cursor.execute(f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES {values}")


def _literal(value: Any) -> str:
    """Return a value as SQL. Every database reads numbers in quotes, too, and 1 and 0 for true and false."""
    return "NULL" if value is None else f"'{int(value) if isinstance(value, bool) else value}'"

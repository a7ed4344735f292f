"""GDPR helpers: export and erase everything stored about a user.

A row belongs to a user if the user was its recipient when it was written, or owns its subscription now.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import IntegrityError, connections, models, router, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from django_webpush_kit.database import outbox_database, retry_on_conflict
from django_webpush_kit.models import (
    PushBroadcast,
    get_analytics_model,
    get_notification_model,
    get_subscription_model,
)
from django_webpush_kit.readable_rows import ReadableQuerySet, read_moments

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

CHUNK_SIZE = 500
"""Rows per statement. Databases limit the number of parameters."""

KEYS_AT_ONCE = 50_000
"""Primary keys read by one statement. Each such statement goes through all rows of the user."""

ERASE_ATTEMPTS = 5
"""Attempts to erase a user while notifications to the same user are being written."""

ERASED = "(erased)"

NOT_EXPORTED = frozenset(
    # secrets of the browser, and columns that contain no personal data
    ("auth_key", "claims", "endpoint_hash", "lane", "lease_token", "p256dh_key", "token_version", "user")
)

EXPORTED_OF_BROADCASTS = ("type", "audience", "context", "options", "status", "scheduled_for", "created_at")


def erase_user(user: AbstractBaseUser) -> dict[str, int]:
    """Delete a user's subscriptions, every notification addressed to them or their browsers, and its events.

    Returns the numbers of deleted rows: `{"subscriptions", "notifications", "events"}`. Runs in one transaction. A
    message that is being sent still arrives. The user row is kept. Broadcasts started by the user lose their reference
    to the user, and the admin's log loses the titles of deleted rows.
    """
    for _attempt in range(ERASE_ATTEMPTS - 1):
        try:
            return retry_on_conflict(lambda: _erase(user))
        except IntegrityError:  # at commit: a notification was written after its subscription had been deleted
            if connections[outbox_database()].in_atomic_block:
                raise
    return retry_on_conflict(lambda: _erase(user))


def export_user(user: AbstractBaseUser) -> dict[str, Any]:
    """Return everything stored about a user, as plain JSON values.

    `{"user", "exported_at", "subscriptions": [...], "broadcasts": [...], "notifications": [{..., "events": [...]}]}`.
    Entries use the field names of the models, including fields of your own models. `broadcasts` lists the broadcasts
    that the user started. The keys of subscriptions are not exported.
    """
    return {**exported_head(user), "notifications": list(exported_notifications(user))}


def export_json(user: AbstractBaseUser) -> Iterator[str]:
    """Yield the export as pieces of JSON text. Memory use does not grow with the number of notifications."""
    head = json.dumps(exported_head(user), indent=2, ensure_ascii=False)
    yield head.removesuffix("\n}") + ',\n  "notifications": ['
    separator = "\n    "
    for row in exported_notifications(user):
        yield separator + json.dumps(row, ensure_ascii=False)
        separator = ",\n    "
    yield "\n  ]\n}\n"


def count_exported(user: Any) -> int:
    """Return the number of notifications in the export."""
    return get_notification_model().objects.using(outbox_database()).filter(user=user).count()


def _erase(user: Any) -> dict[str, int]:
    database = outbox_database()
    notifications = get_notification_model()
    deleted: Counter[str] = Counter()
    with transaction.atomic(using=database):
        PushBroadcast.objects.using(database).filter(created_by=user).update(created_by=None)
        # lock the subscriptions first, to wait for transactions that are writing notifications to them
        owned = get_subscription_model().objects.using(database).filter(user=user).order_by("pk")
        subscriptions = list(owned.select_for_update().values_list("pk", flat=True))
        # two queries that each use an index; an OR across both tables would scan the whole outbox
        addressed = notifications.objects.using(database).filter(user=user)
        deleted += _delete(addressed)
        for keys in _chunks(subscriptions):
            deleted += _delete(notifications.objects.using(database).filter(subscription__in=keys))
            deleted += _delete(get_subscription_model().objects.using(database).filter(pk__in=keys))
    return {
        "events": deleted[get_analytics_model()._meta.label],
        "notifications": deleted[notifications._meta.label],
        "subscriptions": deleted[get_subscription_model()._meta.label],
    }


def _delete(rows: QuerySet[Any]) -> Counter[str]:
    """Delete rows in chunks. Returns the number of deleted rows by model label, cascades included."""
    deleted: Counter[str] = Counter()
    logged = _logged_keys(rows.model)
    while found := list(rows.values_list("pk", flat=True)[:KEYS_AT_ONCE]):
        for keys in _chunks(found):
            _blank_log(rows.model, logged.intersection(map(str, keys)))
            _count, by_model = ReadableQuerySet(rows.model, using=rows.db).filter(pk__in=keys).delete()
            deleted.update(by_model)
    return deleted


def _log_entries(model: type[models.Model]) -> QuerySet[Any] | None:
    """Return the admin's log entries for a model, or None if the admin is not installed."""
    if not apps.is_installed("django.contrib.admin"):
        return None
    from django.contrib.admin.models import LogEntry  # an optional app
    from django.contrib.contenttypes.models import ContentType

    database = router.db_for_write(LogEntry)
    content_type = ContentType.objects.db_manager(database).get_for_model(model)
    entries: QuerySet[Any] = LogEntry.objects.using(database).filter(content_type=content_type)
    return entries


def _logged_keys(model: type[models.Model]) -> set[str]:
    entries = _log_entries(model)
    return set() if entries is None else set(entries.exclude(object_repr=ERASED).values_list("object_id", flat=True))


def _blank_log(model: type[models.Model], keys: Iterable[str]) -> None:
    """Remove titles from the admin's log, where each entry stores the text of its object."""
    entries = _log_entries(model) if keys else None
    if entries is not None:
        entries.filter(object_id__in=list(keys)).update(object_repr=ERASED, change_message="")


def exported_head(user: Any) -> dict[str, Any]:
    """Return the export without the notifications."""
    database = outbox_database()
    started = PushBroadcast.objects.using(database).filter(created_by=user).order_by("pk")
    return {
        "user": user.get_username(),
        "exported_at": timezone.now().isoformat(),
        "subscriptions": [
            _fields(row) for row in get_subscription_model().objects.using(database).filter(user=user).order_by("pk")
        ],
        "broadcasts": [{name: _plain(getattr(row, name)) for name in EXPORTED_OF_BROADCASTS} for row in started],
    }


def exported_notifications(user: Any) -> Iterator[dict[str, Any]]:
    """Yield notifications with their events, in the order of creation. Rows are read in pages."""
    database = outbox_database()
    model = get_notification_model()
    for keys in _keys_in_order(model.objects.using(database).filter(user=user)):
        events: dict[Any, list[dict[str, Any]]] = {}
        reported = get_analytics_model().objects.using(database).filter(notification__in=keys)
        for event in reported.order_by("timestamp", "pk"):
            events.setdefault(event.notification_id, []).append(_fields(event))
        page = model.objects.using(database).in_bulk(keys)
        for row in (page[key] for key in keys if key in page):
            yield {**_fields(row), "events": events.get(row.pk, [])}


def _keys_in_order(rows: QuerySet[Any]) -> Iterator[list[Any]]:
    """Yield the primary keys of the rows in the order of creation, in chunks."""
    rest = rows.order_by("created_at", "pk")
    while found := read_moments(rest[:KEYS_AT_ONCE], "created_at"):
        yield from _chunks([key for key, _created_at in found])
        placed = [(key, created_at) for key, created_at in found if created_at is not None]
        if len(found) < KEYS_AT_ONCE or not placed:
            return
        key, created_at = placed[-1]
        after = Q(created_at__gt=created_at) | Q(created_at=created_at, pk__gt=key)
        rest = rows.filter(after, created_at__gte=created_at).order_by("created_at", "pk")


def _chunks(keys: list[Any]) -> Iterator[list[Any]]:
    return (keys[start : start + CHUNK_SIZE] for start in range(0, len(keys), CHUNK_SIZE))


def _fields(row: models.Model) -> dict[str, Any]:
    return {
        field.name: _plain(field.value_from_object(row))
        for field in row._meta.concrete_fields
        if field.name not in NOT_EXPORTED
    }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool | list | dict):
        return value
    return value.isoformat() if isinstance(value, datetime | date | time) else str(value)

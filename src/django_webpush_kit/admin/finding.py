"""Search in large lists: decide whether a text is an id, a batch, an endpoint, a user, or part of a title."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import Q

from django_webpush_kit.admin.contained import key_of
from django_webpush_kit.admin.large_tables import NOTHING, Search
from django_webpush_kit.admin.list_filters import by_key
from django_webpush_kit.models import get_notification_model, get_subscription_model
from django_webpush_kit.protocol.endpoints import endpoint_hash
from django_webpush_kit.tokens import NotificationIdentity

MAX_FOUND = 100
"""Maximum number of users or notifications that match one search text."""

TITLE = "title:"
USER = "user:"

LAST_CHARACTER = "\U0010ffff"


def find_notifications(text: str) -> Search:
    """Return the notifications that match a search text.

    The text may be a batch, an id (alone, or as in payloads), an endpoint, a user's name or its beginning, an e-mail
    address, or else part of the title. The prefixes "title:" and "user:" choose one meaning.
    """
    if text.startswith(TITLE):
        return _by_title(text.removeprefix(TITLE).strip())
    if text.startswith(USER):
        return _notifications_to(find_users(text.removeprefix(USER).strip()))
    for find in (_notification_by_id, _notifications_of_batch, _notifications_of_endpoint, _notifications_of_users):
        if (search := find(text)) is not None:
            return search
    return _by_title(text)


def find_subscriptions(text: str) -> Search:
    """Return the subscriptions that match a search text: an id, an endpoint, or a user."""
    text = text.removeprefix(USER).strip()
    if (key := _existing_key(get_subscription_model(), text)) is not None:
        return Search(Q(pk=key))
    if _is_url(text):
        return Search(Q(endpoint_hash=endpoint_hash(text)))
    users = find_users(text)
    return Search(Q(user__in=users)) if users else NOTHING


def find_events(text: str) -> Search:
    """Return the events that match a search text: the id or the batch of their notification."""
    by_id = _notification_by_id(text)
    search = by_id or _notifications_of_batch(text)
    if search is None:
        return NOTHING
    keys = get_notification_model().objects.filter(search.condition).values_list("pk", flat=True)[:MAX_FOUND]
    return Search(Q(notification__in=list(keys)))


def find_users(text: str) -> list[Any]:
    """Return the primary keys of the users with this name or e-mail address, or whose name starts with it."""
    model: Any = get_user_model()
    users, name = model._base_manager.all(), model.USERNAME_FIELD
    email = getattr(model, "EMAIL_FIELD", "") if "@" in text else ""
    attempts = [Q(**{name: text}), *([Q(**{email: text})] if email else []), prefix(name, text, users.db)]
    for condition in attempts:
        if text and (keys := list(users.filter(condition).order_by(name).values_list("pk", flat=True)[:MAX_FOUND])):
            return keys
    return []


def prefix(field: str, text: str, database: str) -> Q:
    """Return the condition that a column starts with a text, in a form for which the database uses an index."""
    conditions = {
        "sqlite": Q(**{f"{field}__gte": text, f"{field}__lt": f"{text}{LAST_CHARACTER}"}),
        "mysql": Q(**{f"{field}__istartswith": text}),
    }
    return conditions.get(connections[database].vendor, Q(**{f"{field}__startswith": text}))


def _by_title(text: str) -> Search:
    return Search(Q(title__icontains=text), is_indexed=False) if text else NOTHING


def _notifications_of_users(text: str) -> Search | None:
    users = find_users(text)
    return _notifications_to(users) if users else None


def _notifications_to(users: list[Any]) -> Search:
    return Search(by_key(get_notification_model().objects.all(), Q(user__in=users)))


def _notification_by_id(text: str) -> Search | None:
    model = get_notification_model()
    identity = NotificationIdentity.parse(text)
    if identity is not None and (key := key_of(model._meta.pk, identity.key)) is not None:
        return Search(Q(pk=key, batch=identity.batch))
    key = _existing_key(model, text)
    return None if key is None else Search(Q(pk=key))


def _notifications_of_batch(text: str) -> Search | None:
    try:
        return Search(by_key(get_notification_model().objects.all(), Q(batch=UUID(text))))
    except ValueError:
        return None


def _notifications_of_endpoint(text: str) -> Search | None:
    if not _is_url(text):
        return None
    subscriptions = get_subscription_model().objects.filter(endpoint_hash=endpoint_hash(text))
    condition = Q(subscription__in=list(subscriptions.values_list("pk", flat=True)))
    return Search(by_key(get_notification_model().objects.all(), condition))


def _is_url(text: str) -> bool:
    return text.startswith(("https://", "http://"))


def _existing_key(model: Any, text: str) -> Any:
    """Return the text as a primary key of a row that exists, or None."""
    key = key_of(model._meta.pk, text.removeprefix("#"))
    return key if key is not None and model.objects.filter(pk=key).exists() else None

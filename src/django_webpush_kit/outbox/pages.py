"""Read subscriptions in pages by keyset. A subscription that cannot be read is isolated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import Error, connections
from django.db.models import QuerySet

from django_webpush_kit.database import is_refusal, outbox_database
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.subscriptions.active_users import with_active_users

PAGE_SIZE = 500

_NOT_READ = (
    "endpoint",
    "endpoint_hash",
    "p256dh_key",
    "auth_key",
    "expiration_time",
    "deactivated_at",
    "deactivation_reason",
    "user_agent",
    "ip_address",
    "created_at",
    "updated_at",
)
"""Columns deferred when enqueueing; skipping them makes reading subscriptions about a third faster."""


@dataclass(slots=True)
class Part:
    """Subscriptions up to the primary key `end`, or the exception of the one with that key if it cannot be read.

    `gone` is how many were deleted after they were read.
    """

    subscriptions: list[Any]
    end: Any
    failures: list[Exception] = field(default_factory=list)
    gone: int = 0

    @property
    def size(self) -> int:
        """The number of subscriptions that were read, or could not be read."""
        return len(self.subscriptions) + len(self.failures) + self.gone


def parts(members: QuerySet[Any], *, size: int = PAGE_SIZE) -> Iterator[Part]:
    """Yield a queryset of subscriptions in primary key order."""
    after = None
    while part := read_part(members, after=after, size=size):
        after = part.end
        yield part


def read_part(members: QuerySet[Any], *, after: Any, size: int) -> Part | None:
    """Return the next `size` subscriptions after the primary key `after`, or None if there are no more.

    If a subscription cannot be read, the part ends before it or contains only it.
    """
    try:
        page = keyset_page(members, after=after, size=size)
    except Exception as error:
        if not is_contained(error):
            raise
        return _readable(members, after, _keys(members, after, size), error)
    return Part(page, page[-1].pk) if page else None


def keyset_page(queryset: QuerySet[Any], *, after: Any = None, until: Any = None, size: int) -> list[Any]:
    """Return the first `size` subscriptions in primary key order, after `after` and up to `until`."""
    page = list(_between(queryset, after, until).order_by("pk").defer(*_NOT_READ)[:size])
    # a queryset with joins repeats rows; in primary key order duplicates are adjacent
    return [row for number, row in enumerate(page) if number == 0 or row.pk != page[number - 1].pk]


def active_subscriptions(*, with_users: bool = False) -> QuerySet[Any]:
    """Return the subscriptions that can receive messages, in the database of the outbox."""
    active = with_active_users(get_subscription_model().objects.using(outbox_database()).active())
    return active.select_related("user") if with_users else active


def is_contained(error: Exception) -> bool:
    """Return whether one subscription may cause the error: unreadable stored data or a failing expression.

    PostgreSQL refuses further statements in a transaction in which it has raised an error.
    """
    if not isinstance(error, Error):
        return True
    connection = connections[outbox_database()]
    return is_refusal(error) and not (connection.vendor == "postgresql" and connection.in_atomic_block)


def _keys(members: QuerySet[Any], after: Any, size: int) -> list[Any]:
    """Return the primary keys of the next subscriptions, or of all active ones if the queryset itself fails.

    In a transaction such a queryset is the caller's mistake.
    """
    try:
        return list(_between(members, after).order_by("pk").values_list("pk", flat=True)[:size])
    except Exception as error:
        if not is_contained(error) or connections[outbox_database()].in_atomic_block:
            raise
    return list(_between(active_subscriptions(), after).order_by("pk").values_list("pk", flat=True)[:size])


def _readable(members: QuerySet[Any], after: Any, keys: Sequence[Any], error: Exception) -> Part:
    """Halve the keys until the queryset can be read for them, and return that part."""
    while len(keys) > 1:
        keys = keys[: len(keys) // 2]
        try:
            return Part(keyset_page(members, after=after, until=keys[-1], size=len(keys)), keys[-1])
        except Exception as smaller:
            if not is_contained(smaller):
                raise
            error = smaller
    if not keys:
        raise error
    return Part([], keys[0], [error])


def _between(queryset: QuerySet[Any], after: Any, until: Any = None) -> QuerySet[Any]:
    if after is not None:
        queryset = queryset.filter(pk__gt=after)
    return queryset if until is None else queryset.filter(pk__lte=until)

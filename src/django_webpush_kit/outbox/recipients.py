"""Resolve `to` (users, subscriptions, iterables and querysets of either) to pages of active subscriptions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from django_webpush_kit.database import outbox_database
from django_webpush_kit.exceptions import InvalidRecipient
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


@dataclass(frozen=True, slots=True)
class Reach:
    """The number of recipients of a call, and how many of them have no active subscription."""

    recipients: int = 0
    unreachable: int = 0


class Recipients(ABC):
    """The recipients of one call. Read all `pages` before you call `reach`."""

    @abstractmethod
    def pages(self, *, with_users: bool = False) -> Iterator[list[Any]]:
        """Yield the active subscriptions in pages, each subscription once.

        `with_users` also fetches the user of each subscription.
        """

    @abstractmethod
    def reach(self) -> Reach:
        """Count the recipients, and those without an active subscription."""


def find_recipients(to: Any) -> Recipients:
    """Return the recipients for `to`. Raises `InvalidRecipient` if it is not a valid recipient.

    Querysets are read by keyset (primary key greater than the last one), so memory does not grow with the number of
    recipients and no server-side cursor is needed. If a queryset is sliced, combined, distinct on fields or in another
    database, its primary keys are held in memory.
    """
    if isinstance(to, QuerySet):
        return _queryset_recipients(to)
    if _is_recipient(to):
        return _Named([to])
    if isinstance(to, str | bytes | dict):
        raise _invalid(to)
    try:
        return _Named(iter(to))
    except TypeError:  # a lazy anonymous user claims to be iterable
        raise _invalid(to) from None


def keyset_pages(queryset: QuerySet[Any], *, after: Any = None, size: int = PAGE_SIZE) -> Iterator[list[Any]]:
    """Yield pages of a queryset of subscriptions in primary key order, starting after `after`."""
    while page := keyset_page(queryset, after=after, size=size):
        after = page[-1].pk
        yield page


def keyset_page(queryset: QuerySet[Any], *, after: Any = None, until: Any = None, size: int) -> list[Any]:
    """Return the first `size` subscriptions in primary key order, after `after` and up to `until`."""
    queryset = queryset.order_by("pk").defer(*_NOT_READ)
    if after is not None:
        queryset = queryset.filter(pk__gt=after)
    if until is not None:
        queryset = queryset.filter(pk__lte=until)
    page = list(queryset[:size])
    # a queryset with joins repeats rows; in primary key order duplicates are adjacent
    return [row for number, row in enumerate(page) if number == 0 or row.pk != page[number - 1].pk]


def active_subscriptions(*, with_users: bool = False) -> QuerySet[Any]:
    """Return the subscriptions that can receive messages, in the database of the outbox."""
    active = with_active_users(get_subscription_model().objects.using(outbox_database()).active())
    return active.select_related("user") if with_users else active


class _Named(Recipients):
    """An iterable of users and subscriptions. It may contain duplicates, or a user and their own subscription."""

    def __init__(self, several: Iterable[Any]) -> None:
        self._several = iter(several)
        self._users: set[Any] = set()
        self._subscriptions: set[Any] = set()
        self._found: set[Any] = set()
        self._reached_users: set[Any] = set()

    def pages(self, *, with_users: bool = False) -> Iterator[list[Any]]:
        active = active_subscriptions(with_users=with_users)
        while part := list(islice(self._several, PAGE_SIZE)):
            for page in keyset_pages(self._note(active, part)):
                fresh = [subscription for subscription in page if subscription.pk not in self._found]
                self._found.update(subscription.pk for subscription in fresh)
                self._reached_users.update(subscription.user_id for subscription in fresh)
                if fresh:
                    yield fresh

    def reach(self) -> Reach:
        missing = len(self._users - self._reached_users) + len(self._subscriptions - self._found)
        return Reach(len(self._users) + len(self._subscriptions), missing)

    def _note(self, active: QuerySet[Any], part: list[Any]) -> QuerySet[Any]:
        """Count the recipients of one part and return their subscriptions."""
        for recipient in part:
            if not _is_recipient(recipient):
                raise _invalid(recipient)
        subscription_model = get_subscription_model()
        subscriptions = [one.pk for one in part if isinstance(one, subscription_model)]
        users = [one.pk for one in part if not isinstance(one, subscription_model)]
        self._subscriptions.update(subscriptions)
        self._users.update(users)
        return active.filter(Q(pk__in=subscriptions) | Q(user__in=users))


class _Queried(Recipients):
    """A queryset in the database of the outbox."""

    def __init__(self, to: QuerySet[Any]) -> None:
        self._to = to
        self._found = 0

    def pages(self, *, with_users: bool = False) -> Iterator[list[Any]]:
        for page in keyset_pages(belonging_to(active_subscriptions(with_users=with_users), self._to)):
            self._found += len(page)
            yield page

    def reach(self) -> Reach:
        keys = self._to.order_by().values("pk").distinct()
        recipients = keys.count()
        if _column_of(self._to) == "pk":
            return Reach(recipients, max(recipients - self._found, 0))
        has_subscription = Exists(active_subscriptions().filter(user=OuterRef("pk")))
        return Reach(recipients, keys.filter(~has_subscription).count())


class _Keyed(Recipients):
    """A queryset whose primary keys are read first: it cannot be filtered, or is in another database."""

    def __init__(self, to: QuerySet[Any]) -> None:
        self._column = _column_of(to)
        self._keys = list(dict.fromkeys(to.values_list("pk", flat=True)))
        self._reached: set[Any] = set()

    def pages(self, *, with_users: bool = False) -> Iterator[list[Any]]:
        active = active_subscriptions(with_users=with_users)
        for start in range(0, len(self._keys), PAGE_SIZE):
            for page in keyset_pages(active.filter(**{f"{self._column}__in": self._keys[start : start + PAGE_SIZE]})):
                self._reached.update(getattr(subscription, self._column) for subscription in page)
                yield page

    def reach(self) -> Reach:
        return Reach(len(self._keys), len(self._keys) - len(self._reached))


def _queryset_recipients(to: QuerySet[Any]) -> Recipients:
    if not issubclass(to.model, (get_user_model(), get_subscription_model())):
        raise _invalid(to)
    to = on_primary(to)
    return _Queried(to) if _can_be_filtered(to) and to.db == outbox_database() else _Keyed(to)


def on_primary(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """Return the queryset in its explicit database, or in the one for writes, because a replica may lag."""
    named = queryset._db  # type: ignore[attr-defined]  # noqa: SLF001  # `db` would ask the router about reading
    return queryset.using(named or router.db_for_write(queryset.model))


def belonging_to(subscriptions: QuerySet[Any], to: QuerySet[Any]) -> QuerySet[Any]:
    """Return the subscriptions that belong to a queryset of users or of subscriptions.

    EXISTS tests each subscription of a page. IN is used only if necessary, because it may scan all of `to` per page.
    """
    to = on_primary(to)
    keys = to.order_by().values("pk")
    if _can_be_filtered(to):
        return subscriptions.filter(Exists(keys.filter(pk=OuterRef(_column_of(to)))))
    return subscriptions.filter(**{f"{_column_of(to)}__in": keys})


def _column_of(to: QuerySet[Any]) -> str:
    """Return the column of a subscription that holds the primary keys of the queryset."""
    return "pk" if issubclass(to.model, get_subscription_model()) else "user_id"


def _can_be_filtered(to: QuerySet[Any]) -> bool:
    return not (to.query.is_sliced or to.query.combinator or to.query.distinct_fields)


def _is_recipient(value: Any) -> bool:
    """Return whether `value` is a saved user or subscription. A lazy `request.user` counts unless it is anonymous."""
    return isinstance(value, (get_user_model(), get_subscription_model())) and not _is_unsaved(value)


def _is_unsaved(value: Any) -> bool:
    """Return whether an instance is unsaved. A UUID primary key is set even before saving."""
    return bool(value.pk is None or value._state.adding)  # noqa: SLF001  # Django documents `_state.adding`


def _invalid(value: Any) -> InvalidRecipient:
    found = value.__class__.__name__  # works for a lazy `request.user`, too
    if isinstance(value, Model):
        found = f"an unsaved {found}" if _is_unsaved(value) else f"a {found} object"
    elif isinstance(value, QuerySet):
        found = f"a queryset of {value.model.__name__}"
    return InvalidRecipient(
        f"`to` must be a saved user, a subscription, or an iterable or queryset of either, not {found}."
    )

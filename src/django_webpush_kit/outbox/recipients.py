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

from django_webpush_kit.database import outbox_database, rows_of
from django_webpush_kit.exceptions import InvalidRecipient
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.outbox.pages import PAGE_SIZE, active_subscriptions, parts


@dataclass(frozen=True, slots=True)
class Reach:
    """The number of recipients of a call, and how many of them have no active subscription."""

    recipients: int = 0
    unreachable: int = 0


class Recipients(ABC):
    """The recipients of one call. Read all `pages` before you call `reach`.

    `failures` are the exceptions of subscriptions that cannot be read. Pages do not contain these.
    """

    def __init__(self) -> None:
        self.failures: list[Exception] = []

    @abstractmethod
    def pages(self, *, with_users: bool = False) -> Iterator[list[Any]]:
        """Yield the active subscriptions in pages, each subscription once.

        `with_users` also fetches the user of each subscription.
        """

    @abstractmethod
    def reach(self) -> Reach:
        """Count the recipients, and those without an active subscription."""

    @abstractmethod
    def _note(self, page: list[Any]) -> list[Any]:
        """Count these subscriptions. Returns those that were not counted before."""

    def _pages_of(self, subscriptions: QuerySet[Any]) -> Iterator[list[Any]]:
        for part in parts(subscriptions):
            self.failures += part.failures
            if part.failures:
                self._note([_unread(part.end)])
            elif fresh := self._note(part.subscriptions):
                yield fresh


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


class _Named(Recipients):
    """An iterable of users and subscriptions. It may contain duplicates, or a user and their own subscription."""

    def __init__(self, several: Iterable[Any]) -> None:
        super().__init__()
        self._several = iter(several)
        self._users: set[Any] = set()
        self._subscriptions: set[Any] = set()
        self._found: set[Any] = set()
        self._reached_users: set[Any] = set()

    def pages(self, *, with_users: bool = False) -> Iterator[list[Any]]:
        active = active_subscriptions(with_users=with_users)
        while some := list(islice(self._several, PAGE_SIZE)):
            yield from self._pages_of(self._subscriptions_of(active, some))

    def reach(self) -> Reach:
        missing = len(self._users - self._reached_users) + len(self._subscriptions - self._found)
        return Reach(len(self._users) + len(self._subscriptions), missing)

    def _note(self, page: list[Any]) -> list[Any]:
        fresh = [subscription for subscription in page if subscription.pk not in self._found]
        self._found.update(subscription.pk for subscription in fresh)
        self._reached_users.update(subscription.user_id for subscription in fresh)
        return fresh

    def _subscriptions_of(self, active: QuerySet[Any], some: list[Any]) -> QuerySet[Any]:
        """Count some of the recipients and return their subscriptions."""
        for recipient in some:
            if not _is_recipient(recipient):
                raise _invalid(recipient)
        subscription_model = get_subscription_model()
        subscriptions = [one.pk for one in some if isinstance(one, subscription_model)]
        users = [one.pk for one in some if not isinstance(one, subscription_model)]
        self._subscriptions.update(subscriptions)
        self._users.update(users)
        return active.filter(Q(pk__in=subscriptions) | Q(user__in=users))


class _Queried(Recipients):
    """A queryset in the database of the outbox."""

    def __init__(self, to: QuerySet[Any]) -> None:
        super().__init__()
        self._to = to
        self._found = 0

    def pages(self, *, with_users: bool = False) -> Iterator[list[Any]]:
        yield from self._pages_of(belonging_to(active_subscriptions(with_users=with_users), self._to))

    def reach(self) -> Reach:
        keys = self._to.order_by().values("pk").distinct()
        recipients = keys.count()
        if _column_of(self._to) == "pk":
            return Reach(recipients, max(recipients - self._found, 0))
        has_subscription = Exists(active_subscriptions().filter(user=OuterRef("pk")))
        return Reach(recipients, keys.filter(~has_subscription).count())

    def _note(self, page: list[Any]) -> list[Any]:
        self._found += len(page)
        return page


class _Keyed(Recipients):
    """A queryset whose primary keys are read first: it cannot be filtered, or is in another database."""

    def __init__(self, to: QuerySet[Any]) -> None:
        super().__init__()
        self._column = _column_of(to)
        self._keys = list(dict.fromkeys(to.values_list("pk", flat=True)))
        self._reached: set[Any] = set()

    def pages(self, *, with_users: bool = False) -> Iterator[list[Any]]:
        active = active_subscriptions(with_users=with_users)
        for start in range(0, len(self._keys), PAGE_SIZE):
            keys = self._keys[start : start + PAGE_SIZE]
            yield from self._pages_of(active.filter(**{f"{self._column}__in": keys}))

    def reach(self) -> Reach:
        return Reach(len(self._keys), len(self._keys) - len(self._reached))

    def _note(self, page: list[Any]) -> list[Any]:
        self._reached.update(getattr(subscription, self._column) for subscription in page)
        return page


def _unread(key: Any) -> Any:
    """Return the subscription with only its primary key and its user."""
    model: Any = get_subscription_model()
    found = rows_of(model).filter(pk=key).values_list("user_id", flat=True)
    return model(pk=key, user_id=found.first())


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

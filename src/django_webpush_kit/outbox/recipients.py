"""Who is meant by `to`: users, subscriptions, iterables and querysets of either, as pages of active subscriptions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from django_webpush_kit.database import outbox_database
from django_webpush_kit.exceptions import InvalidRecipient
from django_webpush_kit.models import get_subscription_model

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
"""What writing the outbox does not need to know of a subscription: a third of the time of reading it."""


def subscription_pages(to: Any, *, with_users: bool = False) -> Iterator[list[Any]]:
    """Yield the active subscriptions meant by `to` in pages, each subscription once.

    Querysets are read by keyset (primary key greater than the last one), so memory does not grow with recipients and
    no server-side cursor is needed. Of one that is sliced, combined, or distinct on fields, only the primary keys are
    held. `with_users` fetches each subscription's user along with it.
    """
    active = get_subscription_model().objects.using(outbox_database()).active()
    if with_users:
        active = active.select_related("user")
    if isinstance(to, QuerySet):
        yield from _queryset_pages(to, active)
    elif _is_recipient(to):
        yield from keyset_pages(_matching(active, [to]))
    elif isinstance(to, str | bytes | dict):
        raise _invalid(to)
    else:
        try:
            several = iter(to)
        except TypeError:  # a lazy anonymous user claims to be iterable
            raise _invalid(to) from None
        yield from _iterable_pages(several, active)


def keyset_pages(queryset: QuerySet[Any], *, after: Any = None, size: int = PAGE_SIZE) -> Iterator[list[Any]]:
    """Pages of a queryset of subscriptions in primary key order, starting behind `after`."""
    queryset = queryset.order_by("pk").defer(*_NOT_READ)
    while True:
        page = list((queryset if after is None else queryset.filter(pk__gt=after))[:size])
        if not page:
            return
        after = page[-1].pk
        # a queryset with joins repeats rows; in primary key order the repeats are neighbours
        yield [row for number, row in enumerate(page) if number == 0 or row.pk != page[number - 1].pk]


def _queryset_pages(to: QuerySet[Any], active: QuerySet[Any]) -> Iterator[list[Any]]:
    if not issubclass(to.model, (get_user_model(), get_subscription_model())):
        raise _invalid(to)
    if _can_be_filtered(to) and to.db == active.db:
        yield from keyset_pages(belonging_to(active, to))
        return
    keys = list(dict.fromkeys(to.values_list("pk", flat=True)))
    for start in range(0, len(keys), PAGE_SIZE):
        yield from keyset_pages(active.filter(**{f"{_column_of(to)}__in": keys[start : start + PAGE_SIZE]}))


def belonging_to(subscriptions: QuerySet[Any], to: QuerySet[Any]) -> QuerySet[Any]:
    """Those of the subscriptions that a queryset of users or of subscriptions means.

    EXISTS, where that is possible, asks for each subscription of a page; an IN may go through all of `to` for a page.
    """
    keys = to.order_by().values("pk")
    if _can_be_filtered(to):
        return subscriptions.filter(Exists(keys.filter(pk=OuterRef(_column_of(to)))))
    return subscriptions.filter(**{f"{_column_of(to)}__in": keys})


def _column_of(to: QuerySet[Any]) -> str:
    """The column of a subscription that holds the keys of such a queryset."""
    return "pk" if issubclass(to.model, get_subscription_model()) else "user_id"


def _can_be_filtered(to: QuerySet[Any]) -> bool:
    return not (to.query.is_sliced or to.query.combinator or to.query.distinct_fields)


def _iterable_pages(several: Iterator[Any], active: QuerySet[Any]) -> Iterator[list[Any]]:
    """A user may stand beside their own subscription, or twice: what was yielded is remembered, by primary key."""
    seen: set[Any] = set()
    while part := list(islice(several, PAGE_SIZE)):
        for recipient in part:
            if not _is_recipient(recipient):
                raise _invalid(recipient)
        for page in keyset_pages(_matching(active, part)):
            fresh = [subscription for subscription in page if subscription.pk not in seen]
            seen.update(subscription.pk for subscription in fresh)
            if fresh:
                yield fresh


def _matching(active: QuerySet[Any], recipients: list[Any]) -> QuerySet[Any]:
    subscription_model = get_subscription_model()
    subscriptions = [one.pk for one in recipients if isinstance(one, subscription_model)]
    users = [one.pk for one in recipients if not isinstance(one, subscription_model)]
    return active.filter(Q(pk__in=subscriptions) | Q(user__in=users))


def _is_recipient(value: Any) -> bool:
    """Whether `value` is a saved user or subscription; lazy `request.user` counts, an anonymous one does not."""
    return isinstance(value, (get_user_model(), get_subscription_model())) and not _is_unsaved(value)


def _is_unsaved(value: Any) -> bool:
    """A primary key alone does not tell: a UUID has one before it is saved."""
    return bool(value.pk is None or value._state.adding)  # noqa: SLF001  # Django documents `_state.adding`


def _invalid(value: Any) -> InvalidRecipient:
    found = value.__class__.__name__  # of a lazy `request.user` that is the user's class
    if isinstance(value, Model):
        found = f"an unsaved {found}" if _is_unsaved(value) else f"a {found} object"
    elif isinstance(value, QuerySet):
        found = f"a queryset of {value.model.__name__}"
    return InvalidRecipient(
        f"`to` takes a saved user, a subscription, or an iterable or queryset of either, not {found}."
    )

"""Count outbox rows, their events and subscriptions by day, dimension and value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import OuterRef, Q, QuerySet, Subquery

from django_webpush_kit.database import rows_of
from django_webpush_kit.models import PushBroadcast, get_analytics_model
from django_webpush_kit.protocol.responses import GONE_STATUSES
from django_webpush_kit.readable_rows import UNREADABLE, read_values
from django_webpush_kit.rollups.browsers import browser_of
from django_webpush_kit.rollups.counts import (
    INDEX,
    MAX_VALUE_LENGTH,
    TOTAL,
    Counts,
    DayCounts,
    Dimension,
    Key,
    bucket_of,
)
from django_webpush_kit.rollups.days import day_of, hour_of
from django_webpush_kit.states import ENDED_UNSENT, UNSUBSCRIBED, ActionType, NotificationStatus

PAGE_SIZE = 2_000
"""Rows read at once."""

BECAUSE_OF = timedelta(hours=24)
"""A browser that unsubscribes this soon after a notification was accepted counts as unsubscribed because of it."""

_STATUS_COUNTERS = {
    NotificationStatus.SENT.value: INDEX["accepted"],
    NotificationStatus.FAILED.value: INDEX["failed"],
    NotificationStatus.EXPIRED.value: INDEX["expired"],
    NotificationStatus.SUPPRESSED.value: INDEX["suppressed"],
    NotificationStatus.CANCELLED.value: INDEX["cancelled"],
}

_EVENT_COUNTERS = {
    ActionType.DELIVERED.value: INDEX["shown"],
    ActionType.CLICKED.value: INDEX["body_clicked"],
    ActionType.ACTION_CLICKED.value: INDEX["button_clicked"],
    ActionType.DISMISSED.value: INDEX["dismissed"],
}

_CLICKS = {INDEX["body_clicked"], INDEX["button_clicked"]}

_REASONED = {status.value for status in ENDED_UNSENT}
"""Statuses of rows whose reason is counted."""


class Row(NamedTuple):
    """The columns of a notification that are read."""

    pk: Any
    created_at: datetime
    sent_at: datetime | None
    status: str
    response_status: int | None
    reason: str
    type: str
    language: str
    template_type: str | None
    template_language: str | None
    push_service: str
    user_agent: str
    deactivated_at: datetime | None
    deactivation_reason: str
    broadcast: int | None


class Events(NamedTuple):
    """The events of one notification."""

    counters: frozenset[int]
    shown_at: datetime | None


NO_EVENTS = Events(frozenset(), None)

_COLUMNS = (
    "sent_at",
    "status",
    "response_status",
    "failure_reason",
    "type",
    "language",
    "template__type",
    "template__language",
    "subscription__push_service",
    "subscription__user_agent",
    "subscription__deactivated_at",
    "subscription__deactivation_reason",
    "_broadcast",
)

Position = tuple[datetime, Any]
"""`created_at` and primary key of the last row that was read."""


class DayTally:
    """Adds up rows by day, dimension and value."""

    def __init__(self) -> None:
        self.days: defaultdict[date, DayCounts] = defaultdict(lambda: defaultdict(Counts))
        self.unfinished: defaultdict[date, int] = defaultdict(int)

    def add_page(self, rows: list[Row]) -> None:
        """Count notifications and their events."""
        events = _events_of([row.pk for row in rows])
        for row in rows:
            self._add(row, events.get(row.pk, NO_EVENTS))

    def _add(self, row: Row, events: Events) -> None:
        day = day_of(row.created_at)
        indexes = [INDEX["queued"], *events.counters]
        status = _STATUS_COUNTERS.get(row.status)
        if status is None:
            self.unfinished[day] += 1
        else:
            indexes.append(status)
        if row.status == NotificationStatus.FAILED and row.response_status in GONE_STATUSES:
            indexes.append(INDEX["gone"])
        elif _unsubscribed_because_of(row):
            indexes.append(INDEX["unsubscribed"])
        bucket = None
        if row.sent_at is not None and events.shown_at is not None:
            bucket = bucket_of((events.shown_at - row.sent_at).total_seconds())
        counts_of_day = self.days[day]
        for key in _keys(row):
            counts = counts_of_day[key]
            for index in indexes:
                counts.numbers[index] += 1
            if bucket is not None:
                counts.times[bucket] += 1

    def add_subscriptions(self, subscriptions: QuerySet[Any], moment: str) -> None:
        """Count subscriptions by the day of a column: `created_at` as gained, `deactivated_at` as lost."""
        index = INDEX["subscribers_gained" if moment == "created_at" else "subscribers_lost"]
        for page in _pages(subscriptions, moment, ("push_service", "language", "user_agent")):
            for _pk, at, push_service, language, user_agent in page:
                for key in (TOTAL, *_browser_keys(push_service, user_agent), _key(Dimension.LANGUAGE, language)):
                    self.days[day_of(at)][key].numbers[index] += 1

    def add_opt_out(self, at: datetime, type: str, push_service: str, user_agent: str) -> None:  # noqa: A002  # as in the row
        """Count an opt-out from a type that follows no notification."""
        keys = (TOTAL, _key(Dimension.TYPE, type), *_browser_keys(push_service, user_agent))
        for key in keys:
            self.days[day_of(at)][key].numbers[INDEX["opted_out"]] += 1

    def add_opt_out_after(self, row: Row) -> None:
        """Count an opt-out for the notification that it follows."""
        for key in _keys(row):
            self.days[day_of(row.created_at)][key].numbers[INDEX["opted_out"]] += 1


def pages(notifications: QuerySet[Any], after: Position | None = None) -> Iterator[list[Row]]:
    """Yield notifications in pages, by `created_at`, from the one after a position."""
    broadcasts = rows_of(PushBroadcast).filter(batch=OuterRef("batch")).order_by().values("pk")[:1]
    annotated = notifications.annotate(_broadcast=Subquery(broadcasts))
    for page in _pages(annotated, "created_at", _COLUMNS, after):
        yield [Row(*values) for values in page]


def position_of(page: list[Row]) -> Position:
    """Return the position of the last row of a page."""
    return page[-1].created_at, page[-1].pk


def _pages(
    rows: QuerySet[Any], moment: str, columns: tuple[str, ...], after: Position | None = None
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the primary key, the column `moment` and `columns` of rows, in this order, in pages.

    No query stays open between two pages. Rows with a moment that Python cannot express are left out.
    """
    ordered = rows.order_by(moment, "pk")
    while True:
        rest = ordered if after is None else ordered.filter(_after(moment, *after))
        try:
            page = list(rest.values_list("pk", moment, *columns)[:PAGE_SIZE])
            is_last = len(page) < PAGE_SIZE
        except UNREADABLE:
            keys = list(rest.values_list("pk", flat=True)[:PAGE_SIZE])
            page = read_values(ordered.filter(pk__in=keys), "pk", moment, *columns)
            is_last = len(keys) < PAGE_SIZE
        if page:
            after = (page[-1][1], page[-1][0])
            yield page
        if is_last or not page:
            return


def _after(moment: str, at: datetime, pk: Any) -> Q:
    later = Q(**{f"{moment}__gt": at}) | Q(**{moment: at, "pk__gt": pk})
    return Q(**{f"{moment}__gte": at}) & later  # an index serves the first condition


def _events_of(keys: list[Any]) -> dict[Any, Events]:
    counters: defaultdict[Any, set[int]] = defaultdict(set)
    shown: dict[Any, datetime] = {}
    rows = rows_of(get_analytics_model()).filter(notification__in=keys).order_by()
    for key, action, timestamp in read_values(rows, "notification_id", "action_type", "timestamp"):
        index = _EVENT_COUNTERS[action]
        counters[key].add(index)
        if index in _CLICKS:
            counters[key].add(INDEX["clicked"])
        elif action == ActionType.DELIVERED:
            shown[key] = min(timestamp, shown.get(key, timestamp))
    return {key: Events(frozenset(found), shown.get(key)) for key, found in counters.items()}


def _unsubscribed_because_of(row: Row) -> bool:
    if row.sent_at is None or row.deactivated_at is None or row.deactivation_reason != UNSUBSCRIBED:
        return False
    return row.sent_at <= row.deactivated_at < row.sent_at + BECAUSE_OF


def _keys(row: Row) -> Iterator[Key]:
    """Yield the key of each dimension in which a notification is counted."""
    yield TOTAL
    yield _key(Dimension.TYPE, row.type)
    yield from _browser_keys(row.push_service, row.user_agent)
    yield _key(Dimension.TEMPLATE, template_name(row.template_type or "", row.template_language or ""))
    yield _key(Dimension.LANGUAGE, row.language)
    if row.broadcast is not None:
        yield _key(Dimension.BROADCAST, str(row.broadcast))
    yield _key(Dimension.HOUR, f"{hour_of(row.sent_at or row.created_at):02}")
    if row.status in _REASONED:
        yield _key(Dimension.REASON, row.reason)


def template_name(type: str, language: str) -> str:  # noqa: A002  # the field's own name
    """Return the value of a template in its dimension: "news", or "news (de)"."""
    return f"{type} ({language})" if language else type


def _browser_keys(push_service: str, user_agent: str) -> Iterator[Key]:
    yield _key(Dimension.PUSH_SERVICE, push_service)
    yield _key(Dimension.BROWSER, browser_of(user_agent, push_service))


def _key(dimension: Dimension, value: str) -> Key:
    return dimension.value, value[:MAX_VALUE_LENGTH]

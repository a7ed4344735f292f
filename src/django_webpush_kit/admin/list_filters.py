"""Filters of large lists that an index serves. Their choices never come from a scan of the table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.timezone import get_current_timezone, localtime, make_aware, now
from django.utils.translation import gettext_lazy as _

from django_webpush_kit.admin.contained import key_of, local
from django_webpush_kit.admin.large_tables import BEFORE, Position, WindowEnd, shown_moment
from django_webpush_kit.querysets import without_index
from django_webpush_kit.readable_rows import EARLIEST, readable
from django_webpush_kit.states import Lane, NotificationStatus

MAX_YEARS = 20
"""At most so many years are offered: a row may have been stored with any date."""

RARE = 1000
"""Maximum number of rows looked up by the index of a condition, anywhere in the list."""


class IndexedFilter(ABC, admin.SimpleListFilter):
    """A filter whose condition is served by an index.

    What a filter says about the moments of a list is not in its condition: the list uses one bound of each side.
    """

    is_indexed = True
    window_start: Q | None = None
    """The condition for the rows after the start of a period, if the filter has one."""
    window_end: WindowEnd | None = None

    @cached_property
    def condition(self) -> Q | None:
        """The condition, or None if the filter is not in use."""
        value = self.value()
        return None if value is None else self.condition_for(value)

    @abstractmethod
    def condition_for(self, value: str) -> Q | None:
        """Return the condition for a value from the URL, which may be any text; None for all rows."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that fulfil the condition."""
        return queryset if self.condition is None else queryset.filter(self.condition)


class PositionFilter(IndexedFilter):
    """Shows rows before a position. Appears only while it is in use."""

    title = _("position")
    parameter_name = BEFORE

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self._field = model_admin.window_field
        self._position = Position.parse(self.value() or "", model, self._field)
        if self._position and self._position.moment:
            self.window_end = WindowEnd(self._position.moment, self._position.before(self._field))

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return no choices: positions come from the list's own links."""
        return []

    def has_output(self) -> bool:
        """Return whether a position is given."""
        return self.value() is not None

    def choices(self, changelist: Any) -> Any:
        """Yield a link to the newest rows, and the position."""
        yield {"selected": False, "query_string": changelist.get_query_string(remove=[BEFORE]), "display": _("Newest")}
        moment = self._position.moment if self._position else None
        shown = _("before %(moment)s") % {"moment": shown_moment(moment)} if moment else _("older")
        yield {"selected": True, "query_string": changelist.get_query_string(), "display": shown}

    def condition_for(self, value: str) -> Q | None:
        """Return the condition for the rows before the position; None if it is a moment or cannot be read."""
        return None if self._position is None or self.window_end else self._position.before("")


class ActiveFilter(IndexedFilter):
    """Filter subscriptions by state."""

    title = _("active")
    parameter_name = "is_active"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the two states."""
        return [("1", _("Yes")), ("0", _("No"))]

    def condition_for(self, value: str) -> Q:
        """Return the condition for a state."""
        return Q(is_active=value == "1")


class KeyFilter(IndexedFilter):
    """Rows with one value of a column. Links lead to it; it appears only while it is in use."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return no choices."""
        return []

    def has_output(self) -> bool:
        """Return whether a value is given."""
        return self.value() is not None

    def choices(self, changelist: Any) -> Any:
        """Yield a link without the filter, and the value."""
        without = changelist.get_query_string(remove=[self.parameter_name, BEFORE])
        yield {"selected": False, "query_string": without, "display": _("All")}
        yield {"selected": True, "query_string": changelist.get_query_string(), "display": self.value()}

    def condition_for(self, value: str) -> Q:
        """Return the condition; none of the rows fulfil it if the value is not a key."""
        key = key_of(self._rows.model._meta.get_field(self.parameter_name).target_field, value)
        return Q(pk__in=()) if key is None else by_key(self._rows, Q(**{str(self.parameter_name): key}))

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        self._rows = model_admin.get_queryset(request)
        super().__init__(request, params, model, model_admin)


class UserFilter(KeyFilter):
    """Rows of one user."""

    title = _("user")
    parameter_name = "user"


class SubscriptionFilter(KeyFilter):
    """Notifications of one subscription."""

    title = _("subscription")
    parameter_name = "subscription"


class TemplateFilter(KeyFilter):
    """Notifications written with one template."""

    title = _("template")
    parameter_name = "template"


class NotificationFilter(KeyFilter):
    """Events of one notification."""

    title = _("notification")
    parameter_name = "notification"


class BatchFilter(KeyFilter):
    """Notifications of one batch."""

    title = _("batch")
    parameter_name = "batch"

    def condition_for(self, value: str) -> Q:
        """Return the condition; none of the rows fulfil it if the value is not a UUID."""
        try:
            return by_key(self._rows, Q(batch=UUID(value)))
        except ValueError:
            return Q(pk__in=())


def by_key(rows: QuerySet[Any], condition: Q) -> Q:
    """Return the condition as primary keys if there are at most `RARE` rows, else as it is.

    If a database expects more rows, it scans the whole list in order instead of looking them up.
    """
    keys = list(rows.filter(condition).order_by().values_list("pk", flat=True)[: RARE + 1])
    return Q(pk__in=keys) if len(keys) <= RARE else condition


class StatusFilter(admin.SimpleListFilter):
    """Notifications with one status, by the index from which workers claim.

    A rare status is looked up by key. Of others, the newest due time bounds where the list has to start.
    """

    title = _("status")
    parameter_name = "status"

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        self._rows = model_admin.get_queryset(request)
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        """Return the states."""
        return list(NotificationStatus.choices)

    @cached_property
    def _rare(self) -> list[Any] | None:
        """The keys of the rows, or None if there are too many."""
        if self.value() not in NotificationStatus.values:
            return []
        found = self._rows.filter(status=self.value()).order_by()  # in the order of the list, most rows would be read
        keys = list(found.values_list("pk", flat=True)[: RARE + 1])
        return keys if len(keys) <= RARE else None

    @property
    def is_indexed(self) -> bool:
        """Whether the rows were looked up by key."""
        return self.value() is not None and self._rare is not None

    @cached_property
    def condition(self) -> Q | None:
        """The condition for the rows by key, if the status is rare."""
        return Q(pk__in=self._rare) if self.is_indexed else None

    @cached_property
    def window_end(self) -> WindowEnd | None:
        """The time before which rows with a frequent status were created: no row is due before it was created."""
        if self.value() is None or self.is_indexed:
            return None
        end = max((moment for lane in Lane.values for moment in self._latest_due(lane)), default=now())
        return WindowEnd(end, Q(created_at__lte=end))

    def _latest_due(self, lane: int) -> list[Any]:
        rows: QuerySet[Any] = self._rows.filter(status=self.value(), lane=lane).order_by("-next_attempt_at")
        return readable(rows.values_list("next_attempt_at", flat=True)[:1])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows with the status."""
        if self.value() is None:
            return queryset
        return queryset.filter(self.condition or Q(), without_index("status", self.value()))


class LaneFilter(admin.ChoicesFieldListFilter):
    """Filter by lane, under a title that says what a lane is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = _("lane (order of sending)")


class DateFilter(IndexedFilter):
    """Drill down to a year, a month or a day, with `?on=2026`, `?on=2026-05` or `?on=2026-05-12`."""

    title = _("date")
    parameter_name = "on"

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        self._field = model_admin.window_field
        self._rows = model_admin.get_queryset(request)
        super().__init__(request, params, model, model_admin)
        period = self._chosen()
        if period is not None:
            start, end = (_midnight(day) for day in (period[0], period[1] + timedelta(days=1)))
            self.window_start = Q(**{f"{self._field}__gte": start})
            self.window_end = WindowEnd(end, Q(**{f"{self._field}__lt": end}))

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the fixed choices."""
        return [("today", _("Today")), ("week", _("Last 7 days"))]

    def choices(self, changelist: Any) -> Any:
        """Yield the fixed choices, the chosen period with those around it, and the periods within it."""
        chosen = self.value() or ""
        for value, display in (("", _("All")), *self.lookup_choices, *self._periods(chosen)):
            changed = {self.parameter_name: value} if value else {}
            removed = [BEFORE] if value else [self.parameter_name, BEFORE]
            query = changelist.get_query_string(changed, removed)
            yield {"selected": value == chosen, "query_string": query, "display": display}

    def condition_for(self, value: str) -> Q | None:
        """Return None: a period is nothing but moments."""
        return None

    def _chosen(self) -> tuple[date, date] | None:
        """Return the first and the last day of the chosen period, or None if the value is not one."""
        value, today = self.value() or "", localtime().date()
        fixed = {"today": (today, today), "week": (today - timedelta(days=6), today)}
        return fixed.get(value) or _period(value)

    def _periods(self, chosen: str) -> Iterator[tuple[str, str]]:
        period = _period(chosen)
        if period is None:
            yield from ((str(year), str(year)) for year in self._years())
            return
        year, month = period[0].year, period[0].month
        yield str(year), str(year)
        if len(chosen) == 4:
            for number in range(1, 13):
                yield f"{year}-{number:02}", date_format(date(year, number, 1), "YEAR_MONTH_FORMAT")
            return
        yield f"{year}-{month:02}", date_format(period[0], "YEAR_MONTH_FORMAT")
        first, last = _period(f"{year}-{month:02}") or period
        for number in range(first.day, last.day + 1):
            day = date(year, month, number)
            yield day.isoformat(), date_format(day, "MONTH_DAY_FORMAT")

    def _years(self) -> range:
        """The years from the oldest row to today, newest first."""
        rows = self._rows.filter(**{f"{self._field}__gt": EARLIEST}).order_by(self._field)
        oldest = next(iter(readable(rows.values_list(self._field, flat=True)[:1])), None)
        this_year = localtime().year
        first_year = local(oldest).year if oldest else this_year + 1
        return range(this_year, max(first_year, this_year - MAX_YEARS + 1) - 1, -1)


def _period(text: str) -> tuple[date, date] | None:
    """Return the first and the last day of "2026", "2026-05" or "2026-05-12", or None for any other text."""
    lengths = {4: "-01-01", 7: "-01", 10: ""}
    try:
        first = date.fromisoformat(text + lengths[len(text)])
    except (KeyError, ValueError):
        return None
    if first.year in (date.min.year, date.max.year):
        return None
    if len(text) == 10:
        return first, first
    next_month = 1 if len(text) == 4 else first.month % 12 + 1
    following = date(first.year + (next_month == 1), next_month, 1)
    return first, following - timedelta(days=1)


def _midnight(day: date) -> datetime:
    return make_aware(datetime.combine(day, time.min), get_current_timezone())

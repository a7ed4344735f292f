"""Lists of large tables: newest rows first, a window of them at a time, and no statement that reads the whole table.

A window holds the newest `COUNT_LIMIT` rows that the indexed filters leave. A condition without an index, such as a
type or a text in titles, is looked for in a window of `SCAN_LIMIT` rows. A link leads to the window before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from django.contrib import messages
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.db.models import Q, QuerySet, prefetch_related_objects
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format
from django.utils.timezone import is_aware
from django.utils.translation import gettext_lazy as _

from django_webpush_kit.admin import reading
from django_webpush_kit.admin.contained import key_of, local
from django_webpush_kit.admin.numbers import formatted
from django_webpush_kit.admin.reading import ReadingAdmin
from django_webpush_kit.readable_rows import readable_relations

if TYPE_CHECKING:
    from typing_extensions import Self

SCAN_LIMIT = 10_000
"""Rows searched for a condition without an index. They may be on as many pages of the disk."""

BEFORE = "before"
"""The parameter with the position of a window."""


@dataclass(frozen=True, slots=True)
class Position:
    """The last row of a window: its value of the ordering field, if there is one, and its primary key."""

    moment: datetime | None
    key: Any

    @classmethod
    def parse(cls, text: str, model: Any, field: str) -> Self | None:
        """Parse the output of `str()` for a list ordered by `field`. Returns None for any other text."""
        moment, _separator, key = text.rpartition("~")
        try:
            parsed = parse_datetime(moment) if moment else None
            if parsed is not None:
                parsed.astimezone(timezone.utc)  # databases compare moments in UTC, which cannot express all of them
        except (OverflowError, ValueError):
            return None
        key = key_of(model._meta.pk, key)
        if key is None or bool(field) != (parsed is not None and is_aware(parsed)):
            return None
        return cls(parsed, key)

    def __str__(self) -> str:
        return f"{self.moment.isoformat() if self.moment else ''}~{self.key}"

    def before(self, field: str) -> Q:
        """Return the condition for the rows below this one in the list, which are older."""
        return self._beyond(field, "lt", "lt")

    def down_to(self, field: str) -> Q:
        """Return the condition for the rows above this one in the list, which are newer, and this one."""
        return self._beyond(field, "gt", "gte")

    def _beyond(self, field: str, lookup: str, key_lookup: str) -> Q:
        key = Q(**{f"pk__{key_lookup}": self.key})
        if not field:
            return key
        # the first condition follows from the second; it lets databases use the index of the field
        return Q(**{f"{field}__{lookup}e": self.moment}) & (Q(**{f"{field}__{lookup}": self.moment}) | key)


class WindowEnd(NamedTuple):
    """Where a window has to start: none of the wanted rows is newer than `moment`, and all fulfil `condition`."""

    moment: datetime
    condition: Q


class MoreThan(int):
    """A number of rows that is only a lower bound: "more than 10,000"."""

    def __str__(self) -> str:
        return str(_("more than %(count)s") % {"count": formatted(int(self))})


@dataclass(frozen=True, slots=True)
class Search:
    """The rows that a search text means. `is_indexed` says whether an index finds them."""

    condition: Q
    is_indexed: bool = True


NOTHING = Search(Q(pk__in=()))


class LargeTableChangeList(ChangeList):
    """A list in windows. `older` is the last row of the window if there are rows before it."""

    model_admin: LargeTableAdmin
    older: Position | None = None
    is_narrowed = False

    @property
    def has_more(self) -> bool:
        """Return whether the number of rows is a lower bound."""
        return self.paginator.has_more or (self.older is not None and not self.is_narrowed)

    @property
    def older_query(self) -> str:
        """The query string of the window before, or "" if there is none."""
        return self.get_query_string({BEFORE: str(self.older)}, [PAGE_VAR]) if self.older else ""

    @property
    def older_than(self) -> str:
        """The time of the last row of the window, or "" for lists without one."""
        return shown_moment(self.older.moment) if self.older and self.older.moment else ""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Return the order of the windows, because no other order has an index."""
        field = self.model_admin.window_field
        return [f"-{field}", "-pk"] if field else ["-pk"]

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Return the rows of the window."""
        rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters).filter(self._end)
        indexed, self.is_narrowed = self._indexed(request)
        limit = SCAN_LIMIT if self.is_narrowed else reading.COUNT_LIMIT
        self.older = self._edge(indexed.order_by(*self.get_ordering(request, rows)), limit)
        if self.older is not None:
            return rows.filter(self.older.down_to(self.model_admin.window_field))
        return rows.filter(*self._of_filters("window_start"))

    def apply_select_related(self, qs: QuerySet[Any]) -> QuerySet[Any]:
        """Read only the related rows of the page. For a join, databases may read the whole related table."""
        names = cast("tuple[str, ...]", self.list_select_related)
        return qs.prefetch_related(*readable_relations(self.model, *names))

    def get_results(self, request: HttpRequest) -> None:
        """Read the page. If the window has more matches than are counted, it ends at the last one counted.

        A window without an index is gone through once: its number of matches and the page follow from their keys.
        """
        matches = cast("QuerySet[Any]", self.queryset)
        if self.is_narrowed:
            keys = matches.prefetch_related(None).values_list("pk", flat=True)
            self.queryset = cast("Any", _Keys(keys[: reading.COUNT_LIMIT + 1]))
        super().get_results(request)
        if self.is_narrowed:
            page = self.root_queryset.filter(pk__in=list(self.result_list)).order_by(*matches.query.order_by)
            self.queryset, self.result_list = matches, self.apply_select_related(page)
        if self.paginator.has_more:
            self.older = self._edge(matches, reading.COUNT_LIMIT)
        if self.has_more:
            self.result_count = MoreThan(self.result_count)

    def _indexed(self, request: HttpRequest) -> tuple[QuerySet[Any], bool]:
        """Return the rows that the indexed conditions leave, and whether there are other conditions."""
        conditions = (*self._of_filters("condition"), *self._of_filters("window_start"), self._end)
        rows: QuerySet[Any] = self.root_queryset.filter(*conditions)
        others = set(self.get_filters_params())
        for spec in self.filter_specs:
            if getattr(spec, "is_indexed", False):
                others.difference_update(spec.expected_parameters())
        if self.query:
            search = self.model_admin.search_once(request, self.query)
            if not search.is_indexed:
                return rows, True
            rows = rows.filter(search.condition)
        return rows, bool(others)

    @property
    def _end(self) -> Q:
        """The earliest end of the window that a filter gives.

        Of two bounds on the same side, SQLite would use the first, and read all rows between them.
        """
        ends: list[WindowEnd] = self._of_filters("window_end")
        earliest = min((end.moment for end in ends), default=None)
        return reduce(and_, (end.condition for end in ends if end.moment == earliest), Q())

    def _of_filters(self, name: str) -> list[Any]:
        found = (getattr(spec, name, None) for spec in self.filter_specs)
        return [value for value in found if value is not None]

    def _edge(self, rows: QuerySet[Any], limit: int) -> Position | None:
        """Return the position of the row with this number, or None if it is not followed by others."""
        field = self.model_admin.window_field
        edge = list(rows.values_list(*filter(None, [field, "pk"]))[limit - 1 : limit + 1])
        if len(edge) < 2:
            return None
        return Position(edge[0][0] if field else None, edge[0][-1])


class _Keys(list[Any]):
    """Keys of rows, which `ChangeList.get_results` takes for a queryset."""

    def _clone(self) -> Self:
        return self


class LargeTableAdmin(ReadingAdmin):
    """A `ReadingAdmin` for a large table. `window_field` is an indexed time, or "" to order by primary key.

    `page_relations` names the related rows that the page of a row shows.
    """

    window_field = ""
    sortable_by = ()
    list_select_related: ClassVar[tuple[str, ...]] = ()
    page_relations: ClassVar[tuple[str, ...]] = ()

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the row with its related rows, or None."""
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            prefetch_related_objects([row], *readable_relations(type(row), *self.page_relations))
        return row

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[Any]:
        """Return the list in windows."""
        return LargeTableChangeList

    def search(self, text: str) -> Search:
        """Return the rows that match a search text. Subclasses implement it."""
        return NOTHING

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find rows by an index, or within the window."""
        return (queryset.filter(self.search_once(request, search_term).condition) if search_term else queryset), False

    def search_once(self, request: HttpRequest, text: str) -> Search:
        """Return the result of `search`, cached because the list needs it twice per request."""
        searches: dict[str, Search] = request.__dict__.setdefault("_webpush_kit_searches", {})
        if text not in searches:
            searches[text] = self.search(text)
        return searches[text]

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Refuse an action on "all" rows of a list that cannot count them."""
        is_on_all = request.POST.get("select_across", "0") not in ("", "0")
        if is_on_all and cast("LargeTableChangeList", self.get_changelist_instance(request)).has_more:
            self.message_user(request, reading.too_long(), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return super().response_action(request, queryset.prefetch_related(None), *args, **kwargs)


def shown_moment(moment: datetime) -> str:
    """Return a moment as text in the current time zone and language."""
    return date_format(local(moment), "DATETIME_FORMAT")

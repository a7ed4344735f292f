"""Admin pages that open whatever is stored: a value that cannot be shown costs its own field only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator
from datetime import MAXYEAR, MINYEAR, datetime, timedelta, timezone, tzinfo
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.db.models import DateTimeField, Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.formats import date_format, time_format
from django.utils.html import format_html
from django.utils.timezone import localtime

from django_webpush_kit.admin.bases import ModelAdmin, TabularInline
from django_webpush_kit.admin.deleting import deleted_objects
from django_webpush_kit.admin.pages import NOBODY, Viewer
from django_webpush_kit.error_reports import error_text, log_error
from django_webpush_kit.readable_rows import ReadableRows

Display = TypeVar("Display", bound=Callable[..., Any])

_logger = logging.getLogger(__name__)

EXACT_TIME_FORMAT = "H:i:s"


class EdgeMoment(datetime):
    """A moment of the first or the last year that Python knows, which some time zones cannot express.

    `astimezone` then leaves it as it is, where `datetime` raises OverflowError. So Django's pages and forms show it.
    """

    @classmethod
    def of(cls, moment: datetime) -> datetime:
        """Return the moment, as an `EdgeMoment` if it needs to be one."""
        if MINYEAR < moment.year < MAXYEAR:
            return moment
        return cls.combine(moment.date(), moment.timetz())

    def astimezone(self, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """Return the moment in another time zone, or unchanged."""
        try:
            return super().astimezone(tz)
        except (OverflowError, ValueError):
            return self


def local(moment: datetime) -> datetime:
    """Return a moment in the current time zone, or as it is if that time zone cannot express it."""
    return localtime(EdgeMoment.of(moment))


def exact(moment: datetime) -> str:
    """Return a moment as text with its seconds, which Django's formats leave out."""
    shown = local(moment)
    return f"{date_format(shown)} {time_format(shown.time(), EXACT_TIME_FORMAT)}"


def shifted(moment: datetime, by: timedelta) -> datetime:
    """Return `moment + by`, or the first or last moment that Python knows if that is out of range."""
    try:
        return moment + by
    except OverflowError:
        year, month, day = (MAXYEAR, 12, 31) if by > timedelta() else (MINYEAR, 1, 1)
        return EdgeMoment(year, month, day, tzinfo=timezone.utc)


class _Rows(ReadableRows):
    """Model instances whose moments every time zone can show, and which know who views them."""

    viewer = NOBODY

    def __iter__(self) -> Iterator[Any]:
        for row in super().__iter__():
            row.__dict__[VIEWER] = self.viewer
            yield with_edge_moments(row)


VIEWER = "_webpush_kit_viewer"
"""The attribute of a row with its `Viewer`: Django calls the methods that show a row without the request."""


def viewer_of(row: Any) -> Viewer:
    """Return who views a row of an admin page, for its links."""
    viewer: Viewer = row.__dict__.get(VIEWER, NOBODY)
    return viewer


def with_edge_moments(row: Any) -> Any:
    """Replace the moments of a model instance that some time zones cannot express. Returns the instance."""
    for name in _moment_names(cast("Hashable", type(row))):
        moment = row.__dict__.get(name)
        if isinstance(moment, datetime):
            row.__dict__[name] = EdgeMoment.of(moment)
    return row


@lru_cache(maxsize=64)
def _moment_names(model: Hashable) -> list[str]:
    fields = cast("type[Model]", model)._meta.concrete_fields
    return [field.attname for field in fields if isinstance(field, DateTimeField)]


def contained(display: Display) -> Display:
    """Make a method that shows a part of a page return the error instead of raising it.

    Errors of the database are raised: the transaction of the page may have ended with them.
    """

    @wraps(display)
    def shown(*arguments: Any, **keywords: Any) -> Any:
        try:
            return display(*arguments, **keywords)
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 - stored values may be anything; the page shows the error
            log_error(_logger, "A part of an admin page could not be shown: %s", error_text(error), error=error)
            return format_html('<span class="errornote">{}</span>', error_text(error))

    return shown  # type: ignore[return-value]


def exact_field(model: Any, name: str) -> Callable[[Any, Any], str]:
    """Return a method of a model admin that shows a moment of a row with its seconds."""

    @admin.display(description=model._meta.get_field(name).verbose_name, ordering=name)
    def shown(_model_admin: Any, row: Any) -> str:
        moment = getattr(row, name)
        return "-" if moment is None else exact(moment)

    return shown


def linked_field(model: Any, name: str) -> Callable[[Any, Any], str]:
    """Return a method of a model admin that shows a related row, with a link for staff who may open its page."""

    @admin.display(description=model._meta.get_field(name).verbose_name)
    def shown(_model_admin: Any, row: Any) -> str:
        related = getattr(row, name)
        return "-" if related is None else viewer_of(row).row_link(related)

    return shown


class ContainedAdmin(ModelAdmin):
    """A model admin whose columns and read-only parts are `contained`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for name in (*self.list_display, *self.readonly_fields):
            display = getattr(self, name, None) if isinstance(name, str) else None
            if callable(display):
                setattr(self, name, contained(display))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows, with moments that every time zone can show, and with their viewer."""
        return _with_edge_moments(super().get_queryset(request), self.viewer(request))

    def viewer(self, request: HttpRequest) -> Viewer:
        """Return who views the pages of this request."""
        return Viewer(request, self.admin_site)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the row of a page. An empty name of a field in the address stands for none."""
        return super().get_object(request, object_id, from_field or None)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list. Moments in the address that no database can express are wrong filters, as others are."""
        try:
            return super().get_changelist_instance(request)
        except OverflowError as error:
            raise IncorrectLookupParameters(error) from error

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Run an action. Selected values that cannot be keys, which no page of ours posts, are left out."""
        keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
        posted = request.POST.copy()
        posted.setlist(ACTION_CHECKBOX_NAME, [key for key in keys if key_of(self.opts.pk, key) is not None])
        request.POST = posted  # type: ignore[assignment]  # Django reads the keys from there
        response: HttpResponse | None = super().response_action(request, queryset, *args, **kwargs)
        return response

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[Any], list[Any]]:
        """Return what the pages show that ask before rows are deleted."""
        return deleted_objects(objs, self.viewer(request))


def key_of(field: Any, text: str) -> Any:
    """Return a text as a value of a key field, or None if it cannot be one."""
    try:
        return None if "\x00" in text else field.clean(text, None)
    except (ValidationError, ValueError):
        return None


class ContainedInline(TabularInline):
    """An inline table, with moments that every time zone can show."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows."""
        return _with_edge_moments(super().get_queryset(request), Viewer(request, self.admin_site))


def _with_edge_moments(rows: QuerySet[Any], viewer: Viewer) -> QuerySet[Any]:
    rows._iterable_class = type("_Rows", (_Rows,), {"viewer": viewer})  # noqa: SLF001  # Django has no public way to replace the class
    return rows

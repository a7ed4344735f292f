"""Read model instances whatever moments are stored: databases hold moments that Python's `datetime` cannot express.

PostgreSQL has `infinity` and years before Christ, SQLite takes any text. One such value must not hide the other rows
of a query, nor the other values of its own row.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, TypeVar, cast

from django.db import DataError, InternalError, NotSupportedError
from django.db.models import DateTimeField, Model, Prefetch, QuerySet
from django.db.models.query import ModelIterable
from django.utils.timezone import now

EARLIEST = datetime(1, 12, 31, tzinfo=timezone.utc)
LATEST = datetime(9999, 1, 1, tzinfo=timezone.utc)
"""They stand for the moments that cannot be read, before and after now. Every time zone can express them."""

UNREADABLE = (DataError, OverflowError, ValueError)
"""What database drivers and Django raise for a stored value that Python cannot express."""

Row = TypeVar("Row", bound=Model)


class ReadableRows(ModelIterable):  # type: ignore[type-arg]
    """Model instances, with `EARLIEST` or `LATEST` for moments that cannot be read."""

    def __iter__(self) -> Iterator[Any]:
        if self.chunked_fetch:
            yield from super().__iter__()
            return
        try:
            rows = list(super().__iter__())
        except UNREADABLE:
            apart = _read_apart(self.queryset)
            if apart is None:
                raise
            rows = apart
        yield from rows


class ReadableQuerySet(QuerySet[Row]):
    """A queryset of `ReadableRows`."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._iterable_class = ReadableRows


def readable_relations(model: type[Model], *names: str) -> list[Prefetch[Any]]:
    """Return what `prefetch_related` needs to read these related rows as `ReadableRows`."""
    return [Prefetch(name, ReadableQuerySet(cast("Any", model._meta.get_field(name).related_model))) for name in names]


def read_values(rows: QuerySet[Any], *columns: str) -> list[tuple[Any, ...]]:
    """Return `values_list` of the rows, a queryset without a limit, and leave out the rows that cannot be read."""
    values = rows.values_list(*columns)
    try:
        return list(values)
    except UNREADABLE:
        keys = list(rows.values_list("pk", flat=True))
        return [found for key in keys for found in readable(values.filter(pk=key))]


def read_moments(rows: QuerySet[Any], name: str) -> list[tuple[Any, datetime | None]]:
    """Return primary key and moment of the rows, None for a moment that cannot be read."""
    try:
        return list(rows.values_list("pk", name))
    except UNREADABLE:
        keys = list(rows.values_list("pk", flat=True))
        stored = rows.model._base_manager.using(rows.db)
        return [(key, next(iter(readable(stored.filter(pk=key).values_list(name, flat=True))), None)) for key in keys]


def readable(values: Any) -> list[Any]:
    """Return the values of a query, or none if one of them cannot be read."""
    return _read(values) or []


def _read_apart(rows: Any) -> list[Any] | None:
    """Read the columns of unreadable moments apart from the others. Returns None if they are not the reason."""
    plain = rows._chain()  # noqa: SLF001  # Django has no public way to read the same rows in another way
    plain._iterable_class = ModelIterable  # noqa: SLF001  # likewise
    fields = [field.attname for field in rows.model._meta.concrete_fields if isinstance(field, DateTimeField)]
    try:
        unreadable = [name for name in fields if _read(plain.values_list(name, flat=True)) is None]
        if not unreadable:
            return None
        found = list(plain.defer(*unreadable))
        for row in found:
            row.__dict__.update({name: _moment(row, name, rows.db) for name in unreadable})
    except (*UNREADABLE, InternalError, NotSupportedError):  # a transaction that has failed; a union
        return None
    return found


def _read(values: Any) -> list[Any] | None:
    try:
        return list(values)
    except UNREADABLE:
        return None


def _moment(row: Model, name: str, alias: str) -> datetime | None:
    stored = type(row)._base_manager.using(alias).filter(pk=row.pk)
    try:
        return stored.values_list(name, flat=True).first()
    except UNREADABLE:
        return LATEST if stored.filter(**{f"{name}__gt": now()}).exists() else EARLIEST

"""Every kind of oddity: exceptions that code of the project raises, values that it returns, values that are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import Error, IntegrityError, OperationalError, connection, transaction


class UnprintableError(Exception):
    """An exception without a text."""

    def __str__(self) -> str:
        raise ValueError("no text either")

    __repr__ = __str__


KINDS: tuple[Callable[[], Exception], ...] = (
    lambda: KeyError("name"),
    lambda: ValueError("text with \x00"),
    StopIteration,
    RecursionError,
    UnprintableError,
    lambda: PermissionDenied("not you"),
    lambda: ImproperlyConfigured("not so"),
    lambda: OperationalError("gone away"),
    lambda: IntegrityError("duplicate key"),
    lambda: type("É" * 300, (Exception,), {})("a long name"),
)
"""Every kind of exception; the next one is raised with each call."""


class _Cruel(str):
    """A text that raises when it is copied."""

    def __str__(self) -> str:
        raise ValueError("no text")


def _endless() -> list[Any]:
    values: list[Any] = []
    values.append(values)
    return values


GIVEN: tuple[Any, ...] = (
    None,
    *("", "x" * 150, "x" * 100_000, "a\x00b", "\ud800", "😀" * 200, "{{ title }}", _Cruel("x")),
    *(-1, 10**400, 1e308, float("inf"), float("nan"), True, Decimal("NaN"), Decimal("1e1000")),
    *(b"\xff", object(), ValueError, set(), {1: 2}, {"": None}, [{}], _endless()),
    *(date(1, 1, 1), datetime.max, UUID(int=0), 1j, range(10**9)),  # noqa: DTZ901  # odd on purpose
)
"""What code of the project may return."""

STORED: tuple[Any, ...] = (
    None,
    *("", "x", "a\x00b", "\ud800", "😀", "x" * 70_000, b"\xff\xfe"),
    *(-1, 0, 7, 32_767, 2**31 - 1, 2**32 - 1, 2**63 - 1, 1e308, float("inf"), float("nan"), True),
    *("[]", "{}", "5", '"x"', "null", "true", "NaN", "{", "[" * 2_000 + "]" * 2_000),
    *('{"ttl": "x"}', '{"ttl": 1e999}', '{"actions": ["x"]}', '{"urgency": []}', '{"topic": {"$type": "date"}}'),
    *('{"quiet_hours": 7}', '{"quiet_hours": {"enabled": true, "start": "x", "end": []}}', '{"categories": [1]}'),
    *("0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "infinity", "-infinity", "0000-00-00", "24:00"),
    *("Not/AZone", "../../etc/passwd", "javascript:x", "http://", "https://[::1", "{{ x", "{% now 'Y' %}"),
    "00000000-0000-0000-0000-000000000000",
)
"""Stored in every column; a database keeps those that it takes, with its strictness switched off."""


def store(model: Any, column: str, key: Any, value: Any) -> bool:
    """Write past every check but those of the database itself; False when it refuses."""
    quote = connection.ops.quote_name
    place = "CAST(%s AS TEXT)" if connection.vendor == "sqlite" and isinstance(value, bytes) else "%s"
    primary = model._meta.pk
    statement = f"UPDATE {quote(model._meta.db_table)} SET {quote(column)} = {place} WHERE {quote(primary.column)} = %s"
    try:
        with _lenient(), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, [value, primary.get_db_prep_value(key, connection)])
    except (Error, ValueError, OverflowError):
        return False
    return True


@contextmanager
def _lenient() -> Iterator[None]:
    """Let MariaDB take what it would refuse: many old projects run that way."""
    if connection.vendor != "mysql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET @@session.sql_mode = ''")
        try:
            yield
        finally:
            cursor.execute("SET @@session.sql_mode = DEFAULT")

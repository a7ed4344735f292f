"""The database of a bench: created if it is not there, and dropped afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection
from django.db.backends.utils import CursorWrapper


@contextmanager
def own_database(*, keep: bool) -> Iterator[bool]:
    """Create the bench's database and drop it afterwards. Yields whether it is new."""
    name = settings.DATABASES["default"]["NAME"]
    with _maintenance() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        is_new = cursor.fetchone() is None
        if is_new:
            cursor.execute(f'CREATE DATABASE "{name}"')
    try:
        yield is_new
    finally:
        connection.close()
        if not keep:
            with _maintenance() as cursor:
                cursor.execute(f'DROP DATABASE "{name}"')


@contextmanager
def _maintenance() -> Iterator[CursorWrapper]:
    with connection._nodb_cursor() as cursor:  # noqa: SLF001  # Django's own way to the maintenance database
        yield cursor

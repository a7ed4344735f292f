"""The database of a bench: made if it is not there, and dropped afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth import get_user_model
from django.db import connection

PREPARE = {
    "postgresql": "SET synchronous_commit = off",
    "mysql": "SET foreign_key_checks = 0, unique_checks = 0",
    "sqlite": "PRAGMA cache_size = -500000",
}
"""Settings of the session for filling it. Without them SQLite would write each page of an index a hundred times."""

SETTLE = {
    "postgresql": "VACUUM (ANALYZE)",
    "mysql": "ANALYZE TABLE {tables}",
    "sqlite": "PRAGMA wal_checkpoint",
}
"""What the servers do by themselves after a while. SQLite has no statistics unless somebody runs ANALYZE."""


@contextmanager
def own_database(*, keep: bool) -> Iterator[bool]:
    """Create and migrate the bench's database, as Django does for tests, and drop it afterwards.

    Yields whether it is empty: one that an earlier run kept is used again.
    """
    connection.creation.create_test_db(verbosity=0, keepdb=True)
    try:
        yield not get_user_model().objects.exists()
    finally:
        connection.creation.destroy_test_db(verbosity=0, keepdb=keep)


@contextmanager
def filling() -> Iterator[None]:
    """Write many rows quickly, then let the database look at them."""
    with connection.cursor() as cursor:
        cursor.execute(PREPARE[connection.vendor])
    yield
    tables = ", ".join(map(connection.ops.quote_name, connection.introspection.table_names()))
    with connection.cursor() as cursor:
        cursor.execute(SETTLE[connection.vendor].format(tables=tables))
    connection.close()

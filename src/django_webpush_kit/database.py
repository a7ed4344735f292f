"""The database of the outbox, and transactions that are retried after a deadlock or a lost connection."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from django.apps import apps
from django.db import (
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    connections,
    router,
    transaction,
)
from django.utils import timezone

from django_webpush_kit.conf import swapped_model
from django_webpush_kit.error_reports import log_info

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

ATTEMPTS = 5
CONFLICT_ATTEMPTS = 20
"""After a conflict another transaction has succeeded, so more attempts are useful than during an outage."""

FIRST_WAIT_SECONDS = 0.02
MAX_WAIT_SECONDS = 1.5

CONFLICTS = frozenset({"40001", "40P01", 1213, 1020})
"""Serialization failure and deadlock: SQLSTATE of PostgreSQL, error numbers of MariaDB and MySQL."""

SESSION_ENDED = frozenset({"25P03", "25P04"})
"""SQLSTATE of PostgreSQL: it has ended the session of a transaction that was idle or open for too long.

Django raises an InternalError for them, and an OperationalError for all other ends of a session.
"""

READ_ONLY = frozenset({"25006", 1290, 1792, 1836})
"""The session or its server is read-only, as after a failover: SQLSTATE of PostgreSQL, numbers of MariaDB and MySQL.

For this SQLSTATE Django raises an InternalError, too.
"""

REFUSALS = frozenset({1366, 3140, "malformed JSON", 1644, "P0001"})
"""Codes of errors that are caused by the content of one row, besides DataError and IntegrityError.

1366: MariaDB cannot store a text in the column's character set, such as an emoji in utf8mb3. 3140: MySQL cannot store
a JSON value, such as a number beyond the range of a double. SQLite: invalid JSON. 1644 and P0001: a trigger of the
project raised it, on MariaDB or MySQL and on PostgreSQL.
"""

UNREADABLE_TEXT = "Could not decode to UTF-8"
"""How SQLite's message about a stored text in another encoding begins."""

MISSING = frozenset({"42P01", "42703", 1146, 1054})
"""Undefined table and undefined column: SQLSTATE of PostgreSQL, error numbers of MariaDB and MySQL."""

MISSING_TEXT = re.compile(r"no such (table|column)|table \S+ has no column")
"""How SQLite's messages about a missing table or column begin."""

NOT_NULL = "23502"
NO_DEFAULT = 1364
"""A NOT NULL column got no value: SQLSTATE of PostgreSQL, error number of MariaDB and MySQL if the INSERT omits it."""

NOT_NULL_TEXT = re.compile(r"NOT NULL constraint failed: (\S+)\.(\S+)")
"""SQLite's message about it."""

STATEMENT_CLASSES = frozenset({"42", "3F", "0A"})
"""Classes of SQLSTATE of errors that PostgreSQL raises before it looks at any row: names, permissions, other plans."""

DENIED = frozenset({"42501", 1044, 1142, 1143})
"""The database user lacks a permission: SQLSTATE of PostgreSQL, numbers of MariaDB and MySQL (database, table, column).

For these numbers Django raises an OperationalError.
"""

TABLES_MISSING = "The tables of django_webpush_kit are missing or out of date"

GRANT = "Grant it SELECT, INSERT, UPDATE and DELETE on all tables of django_webpush_kit, and USAGE on their sequences."

_logger = logging.getLogger(__name__)


def outbox_database() -> str:
    """Return the alias of the database that holds the outbox."""
    return router.db_for_write(swapped_model("WEBPUSH_KIT_NOTIFICATION_MODEL"))


def rows_of(model: Any) -> Any:
    """Return all rows of a model, read from the outbox's database and not from a replica, which may lag behind."""
    return model.objects.using(outbox_database())


def is_inside_transaction(alias: str) -> bool:
    """Return whether a transaction is open. The transaction that Django's TestCase wraps around a test does not count.

    With autocommit off, a transaction is always open: nothing is visible to other connections until it is committed.
    """
    connection = connections[alias]
    blocks = connection.atomic_blocks
    if not blocks and not connection.get_autocommit():
        return True
    return bool(blocks) and not getattr(blocks[-1], "_from_testcase", False)  # `atomic(durable=True)` tests the same


def call_on_commit(function: Callable[[], object], *, using: str) -> None:
    """Call the function after the commit of the surrounding transaction. Its exceptions are logged.

    With autocommit off, Django does not know when the project commits: then the function is not called, and workers
    find the rows the next time they look.
    """
    connection = connections[using]
    if connection.in_atomic_block or connection.get_autocommit():
        transaction.on_commit(function, using=using, robust=True)


def retry_on_conflict(statement: Callable[[], Result]) -> Result:
    """Run a transaction, and retry it a few times after a conflict, a busy lock or a lost connection.

    Conflicts are deadlocks and, at stricter isolation levels, serialization failures. Inside an open transaction the
    error is raised at once, because only the code that opened the transaction can retry it.
    """
    alias = outbox_database()
    attempt = 0
    while True:
        attempt += 1
        try:
            return statement()
        except Error as error:
            if not is_unavailable(error):
                raise
            connection = connections[alias]
            attempts = CONFLICT_ATTEMPTS if is_conflict(error) else ATTEMPTS
            if connection.in_atomic_block or attempt >= attempts or is_statement_error(error) or is_refusal(error):
                raise
            if error_code(error) in READ_ONLY:
                connection.close()  # it works, but would stay with the server that was the primary before
            else:
                connection.close_if_unusable_or_obsolete()
            log_info(_logger, "The database was busy or unreachable; retrying", error=error)
            max_wait = min(FIRST_WAIT_SECONDS * 4 ** (attempt - 1), MAX_WAIT_SECONDS)
            time.sleep(random.uniform(0, max_wait))  # noqa: S311  # not a secret


def atomic_with_retry(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Run the decorated function as one transaction of the outbox's database, with `retry_on_conflict`.

    The function may be called several times, so it must have no effects outside the database.
    """

    @wraps(function)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        def attempt() -> Result:
            with transaction.atomic(using=outbox_database()):
                return function(*args, **kwargs)

        return retry_on_conflict(attempt)

    return run


def is_unavailable(error: BaseException) -> bool:
    """Return whether the database was busy, away or read-only, or ended the session: another attempt may succeed."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return isinstance(error, InternalError) and error_code(error) in SESSION_ENDED | READ_ONLY


def is_conflict(error: Error) -> bool:
    """Return whether the database refused the transaction because of a concurrent one."""
    return error_code(error) in CONFLICTS


def is_refusal(error: Exception) -> bool:
    """Return whether the content of one row caused the error, not an outage or a conflict."""
    if isinstance(error, Error) and error_code(error) in REFUSALS:
        return True
    if is_code_outdated(error):
        return False
    if isinstance(error, OperationalError):
        return str(error).startswith(UNREADABLE_TEXT)
    return isinstance(error, DataError | IntegrityError | ValueError | OverflowError)


def is_missing_table(error: BaseException) -> bool:
    """Return whether a table or a column does not exist, because a migration was not applied."""
    if not isinstance(error, OperationalError | ProgrammingError):
        return False
    return error_code(error) in MISSING or MISSING_TEXT.match(str(error)) is not None


def is_statement_error(error: BaseException) -> bool:
    """Return whether the database refuses a statement whatever the rows contain, as during a migration.

    A table or column is missing, the role has no permission, or a prepared statement or this process is out of date.
    """
    if is_missing_table(error) or is_denied(error) or is_code_outdated(error):
        return True
    state = error_code(error) if isinstance(error, ProgrammingError | NotSupportedError) else None
    return isinstance(state, str) and state[:2] in STATEMENT_CLASSES


def is_denied(error: BaseException) -> bool:
    """Return whether the database user lacks a permission."""
    return isinstance(error, OperationalError | ProgrammingError) and error_code(error) in DENIED


def is_code_outdated(error: BaseException) -> bool:
    """Return whether an INSERT omits a column that a migration has added since this process started.

    Django keeps the `default` of a field in the code: only its `db_default` would fill the column.
    """
    if not isinstance(error, IntegrityError):
        return False
    code = error_code(error)
    if code == NOT_NULL:
        details = getattr(error.__cause__, "diag", None)
        return _is_unknown(getattr(details, "table_name", None), getattr(details, "column_name", None))
    omitted = NOT_NULL_TEXT.match(str(code))
    return code == NO_DEFAULT or (omitted is not None and _is_unknown(*omitted.groups()))


def _is_unknown(table: str | None, column: str | None) -> bool:
    """Return whether the model of a table has no such column. False if no model has this table."""
    models = [model for model in apps.get_models(include_auto_created=True) if model._meta.db_table == table]
    columns = {field.column for model in models for field in model._meta.local_concrete_fields}
    return bool(models) and column not in columns


def error_code(error: Error) -> Any:
    """Return the database's error code: SQLSTATE (PostgreSQL), a number (MariaDB, MySQL) or a message (SQLite)."""
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)  # psycopg 3, psycopg2
    return state or next(iter(error.args), None)


def forget_keys(rows: Sequence[Any]) -> None:
    """Remove primary keys left by an insert that was rolled back, so that the database assigns new ones."""
    if rows and rows[0]._meta.auto_field is not None:
        for row in rows:
            row.pk = None


CLOCK_QUERIES = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    "mysql": "SELECT UNIX_TIMESTAMP(SYSDATE(6))",
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
}
"""Queries for the seconds since 1970 by the clock of the database."""


def sqlite_file() -> tuple[int, int] | None:
    """Return what identifies the file of an SQLite database now, or None if there is none, and for other databases."""
    connection: Any = connections[outbox_database()]
    if connection.vendor != "sqlite" or connection.is_in_memory_db():
        return None
    try:
        status = Path(connection.settings_dict["NAME"]).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


READ_ONLY_QUERIES = {
    "postgresql": "SELECT current_setting('transaction_read_only') = 'on'",
    "mysql": "SELECT @@global.read_only",
}
"""Queries whether the server or the session is read-only. They wait for no lock."""


def is_read_only() -> bool:
    """Return whether the database takes no writes, as far as it can be asked without a write."""
    answer = _answer(READ_ONLY_QUERIES)
    return answer is not None and str(answer) not in {"False", "0", "OFF"}


def try_writing(model: Any) -> None:
    """Let the database check that rows of a model may be inserted, updated and deleted. Changes no row.

    Raises what the database raises. Waits for locks as every write does.
    """
    alias = outbox_database()
    quote = connections[alias].ops.quote_name
    table, key = quote(model._meta.db_table), quote(model._meta.pk.column)
    fields = [field for field in model._meta.local_concrete_fields if not field.generated]
    columns = ", ".join(quote(field.column) for field in fields)
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} WHERE 1 = 0")  # noqa: S608 - our names
        cursor.execute(f"UPDATE {table} SET {key} = {key} WHERE 1 = 0")  # noqa: S608 - our names
        cursor.execute(f"DELETE FROM {table} WHERE 1 = 0")  # noqa: S608 - our names


def clock_difference() -> float | None:
    """Return how many seconds this machine's clock is ahead of the database's, or None for an unknown database."""
    seconds = _answer(CLOCK_QUERIES)
    return None if seconds is None else timezone.now().timestamp() - float(seconds)


def _answer(queries: Mapping[str, str]) -> Any:
    """Return the value that the query for this database selects, or None if there is none for it."""
    connection = connections[outbox_database()]
    query = queries.get(connection.vendor)
    if query is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def database_now(difference: float | None) -> datetime:
    """Return the time by the clock of the database, from a `clock_difference()` measured a moment ago."""
    return timezone.now() - timedelta(seconds=difference or 0.0)

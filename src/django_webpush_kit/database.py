"""The database of the outbox, and transactions that start over after a deadlock or a lost connection."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.db import OperationalError, connections, router, transaction

from django_webpush_kit.conf import swapped_model

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

ATTEMPTS = 5
CONFLICT_ATTEMPTS = 20
"""A conflict means that another transaction has succeeded: it is worth more attempts than a database that is away."""

FIRST_WAIT_SECONDS = 0.02
LONGEST_WAIT_SECONDS = 1.5

CONFLICTS = frozenset({"40001", "40P01", 1213, 1020})
"""Serialization failure and deadlock: SQLSTATE of PostgreSQL, error numbers of MariaDB and MySQL."""

_logger = logging.getLogger(__name__)


def outbox_database() -> str:
    """The alias of the database that holds the outbox."""
    return router.db_for_write(swapped_model("WEBPUSH_KIT_NOTIFICATION_MODEL"))


def rows_of(model: Any) -> Any:
    """Every row of a model, read from the database that holds the outbox: a replica may be behind."""
    return model.objects.using(outbox_database())


def is_inside_transaction(alias: str) -> bool:
    """Whether a transaction is open that is not merely the one Django's TestCase wraps around a test.

    With autocommit switched off one always is: what is written would not be visible to others, nor be kept.
    """
    connection = connections[alias]
    blocks = connection.atomic_blocks
    if not blocks and not connection.get_autocommit():
        return True
    return bool(blocks) and not getattr(blocks[-1], "_from_testcase", False)  # what `atomic(durable=True)` itself asks


def retry_on_conflict(statement: Callable[[], Result]) -> Result:
    """Run a transaction of its own; on a conflict, a busy lock or a lost connection run it again, a few times.

    Conflicts are deadlocks and, with isolation levels above the usual one, serialization failures. Inside an open
    transaction the error is raised at once: there only the owner of the transaction can start over.
    """
    alias = outbox_database()
    attempt = 0
    while True:
        attempt += 1
        try:
            return statement()
        except OperationalError as error:
            connection = connections[alias]
            attempts = CONFLICT_ATTEMPTS if is_conflict(error) else ATTEMPTS
            if connection.in_atomic_block or attempt >= attempts:
                raise
            connection.close_if_unusable_or_obsolete()
            _logger.info("The database was busy or gone; trying again", exc_info=True)
            longest = min(FIRST_WAIT_SECONDS * 4 ** (attempt - 1), LONGEST_WAIT_SECONDS)
            time.sleep(random.uniform(0, longest))  # noqa: S311  # no secret


def atomic_with_retry(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorate a function that is one transaction of the outbox's database: it starts over as `retry_on_conflict` says.

    The function may be called several times before it returns, so it must not change anything but the database.
    """

    @wraps(function)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        def attempt() -> Result:
            with transaction.atomic(using=outbox_database()):
                return function(*args, **kwargs)

        return retry_on_conflict(attempt)

    return run


def is_conflict(error: OperationalError) -> bool:
    """Whether the database has refused the transaction because of another one."""
    return error_code(error) in CONFLICTS


def error_code(error: OperationalError) -> Any:
    """What the database calls the error: SQLSTATE (PostgreSQL), a number (MariaDB, MySQL), a sentence (SQLite)."""
    return getattr(error.__cause__, "sqlstate", None) or next(iter(error.args), None)

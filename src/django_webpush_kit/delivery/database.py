"""How statements behave when the database says "not now": conflicts and busy locks are tried again."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, connections, router

from django_webpush_kit.models import get_notification_model

Result = TypeVar("Result")

ATTEMPTS = 5
FIRST_WAIT_SECONDS = 0.02

_logger = logging.getLogger("django_webpush_kit")


def outbox_database() -> str:
    """The alias of the database that holds the outbox."""
    return router.db_for_write(get_notification_model())


def is_inside_transaction(alias: str) -> bool:
    """Whether a transaction is open that is not merely the one Django's TestCase wraps around a test."""
    blocks = connections[alias].atomic_blocks
    return bool(blocks) and not getattr(blocks[-1], "_from_testcase", False)  # what `atomic(durable=True)` itself asks


def retry_on_conflict(statement: Callable[[], Result]) -> Result:
    """Run a transaction of its own; on a conflict, a busy lock or a lost connection run it again, a few times.

    Conflicts are deadlocks and, with isolation levels above the usual one, serialization failures. Inside an open
    transaction the error is raised at once: there only the owner of the transaction can start over.
    """
    alias = outbox_database()
    for attempt in range(ATTEMPTS):
        try:
            return statement()
        except OperationalError:
            connection = connections[alias]
            if connection.in_atomic_block or attempt == ATTEMPTS - 1:
                raise
            connection.close_if_unusable_or_obsolete()
            _logger.info("The database was busy or gone; trying again", exc_info=True)
            time.sleep(random.uniform(0, FIRST_WAIT_SECONDS * 4**attempt))  # noqa: S311  # no secret
    raise AssertionError("unreachable")  # pragma: no cover  # the last attempt returns or raises

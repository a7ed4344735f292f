"""Error containment: an exception caused by one row fails that row only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.db.models import QuerySet

from django_webpush_kit.database import is_refusal, is_statement_error, is_unavailable
from django_webpush_kit.error_reports import log_error

MAX_NAME_LENGTH = 80

_logger = logging.getLogger(__name__)


def raise_if_shared(error: Exception) -> None:
    """Raise the error if it affects all rows; return if it concerns only the row that caused it.

    All rows are affected when the database does not answer, when a table is missing, or when a setting is invalid.
    """
    raise_if_away(error)
    if is_statement_error(error):
        raise error


def raise_if_away(error: Exception) -> None:
    """Raise the error if the database does not answer, or if a setting is invalid.

    For statements that write: there, a trigger of the project may raise any other error because of one row.
    """
    if isinstance(error, ImproperlyConfigured) or (is_unavailable(error) and not is_refusal(error)):
        raise error


def change_in_parts(
    change: Callable[[Sequence[Any]], int], keys: Sequence[Any], on_refusal: Callable[[Any, DatabaseError], None]
) -> int:
    """Return `change(keys)`, which updates the rows with these keys in a transaction of its own.

    If the database refuses this because of some rows, such as those that violate a constraint, the keys are halved
    until these rows are found, and the others are changed. `on_refusal(key, error)` is called for each refused row.
    """
    try:
        return change(keys)
    except DatabaseError as error:
        if not is_refusal(error):
            raise
        if len(keys) == 1:
            on_refusal(keys[0], error)
            return 0
    middle = len(keys) // 2
    return sum(change_in_parts(change, part, on_refusal) for part in (keys[:middle], keys[middle:]))


def change_all(rows: QuerySet[Any], change: Callable[[Sequence[Any]], int], size: int) -> int:
    """Call `change(keys)`, as in `change_in_parts`, with up to `size` keys of `rows`, until no row is left.

    The changed rows must no longer be among `rows`. Refused rows stay as they are. Returns how many were changed.
    """
    changed = 0
    refused: list[Any] = []
    while keys := list(rows.values_list("pk", flat=True)[len(refused) : len(refused) + size]):
        changed += change_in_parts(change, keys, lambda key, _error: refused.append(key))
    return changed


class ErrorLog:
    """Logs the exceptions of rows: the first of each kind with a traceback, the others in one line."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str]] = set()

    def failure_reason(self, key: Any, step: str, error: Exception) -> str:
        """Log that `step` raised `error` for the row with this key. Returns the reason for the row's failure.

        The reason contains the exception's type but not its message, which may quote keys or personal data.
        """
        self.note(f"Notification {key}: {step}", error, kind=step)
        return f"{step} raised {error_name(error)}"

    def note(self, text: str, error: Exception, *, kind: str = "") -> None:
        """Log `error`, raised by `text`. Only the first error of each kind and type is logged with a traceback."""
        name = error_name(error)
        is_new = (kind or text, name) not in self._logged
        self._logged.add((kind or text, name))
        log_error(_logger, "%s raised %s", text, name, error=error if is_new else None)


def error_name(error: Exception) -> str:
    """Return the name of the exception's class, in characters that every database can store."""
    return type(error).__name__.encode("ascii", "replace").decode()[:MAX_NAME_LENGTH]

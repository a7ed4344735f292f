"""Containment: an exception that one row causes ends that row, and nothing else."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError

SHARED_ERRORS = (OperationalError, InterfaceError, ImproperlyConfigured)
"""Errors that no single row causes: the database does not answer, or a setting is unusable."""

MAX_NAME_LENGTH = 80

_logger = logging.getLogger(__name__)


class ErrorLog:
    """Logs the exceptions of rows: the first of a kind with its traceback, each further one in a line."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str]] = set()

    def failure_reason(self, key: Any, step: str, error: Exception) -> str:
        """Log that `step` raised `error` for the row with this key; return the reason for the row's failure.

        The reason names the exception's type. Its message stays out: it may quote keys or personal data.
        """
        self.note(f"Notification {key}: {step}", error, kind=step)
        return f"{step} raised {error_name(error)}"

    def note(self, text: str, error: Exception, *, kind: str = "") -> None:
        """Log that what `text` names raised `error`; errors of one kind and type have one traceback in all."""
        name = error_name(error)
        is_new = (kind or text, name) not in self._logged
        self._logged.add((kind or text, name))
        _logger.error("%s raised %s", text, name, exc_info=error if is_new else None)


def error_name(error: Exception) -> str:
    """The name of the exception's class, in characters that every database can store."""
    return type(error).__name__.encode("ascii", "replace").decode()[:MAX_NAME_LENGTH]

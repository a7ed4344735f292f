"""Guarded calls to a server that may be down (a broker or a cache), so that an outage does not block requests.

A call has a time limit. After a failure, further calls fail at once for a while.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import lru_cache
from typing import TypeVar

from django_webpush_kit.error_reports import log_warning

Result = TypeVar("Result")

CALL_SECONDS = 1.0
AWAY_SECONDS = 15.0

_logger = logging.getLogger(__name__)


class ServerAwayError(Exception):
    """The last call failed a moment ago, so this call was not made."""


class Guard:
    """Guards the calls of all threads to one server. `name` is the name of the server in log messages."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.error = ""
        """The type of the last failure; "" after a success."""
        self._retry_at = 0.0

    @property
    def is_away(self) -> bool:
        """Whether calls currently fail at once."""
        return time.monotonic() < self._retry_at

    def call(self, function: Callable[[], Result], *, is_remote: bool = True) -> Result:
        """Return `function()`.

        Raises the function's exceptions, TimeoutError after `CALL_SECONDS`, or ServerAwayError at once. With
        `is_remote=False`, the function runs in the caller's thread without a time limit. Functions that use the
        caller's database connection need this.
        """
        if self.is_away:
            raise ServerAwayError(f"{self.name} did not answer a moment ago ({self.error}).")
        try:
            result = call_within(CALL_SECONDS, function) if is_remote else function()
        except Exception as error:
            self._retry_at = time.monotonic() + AWAY_SECONDS
            if not self.error:
                log_warning(_logger, "%s does not answer: %r. Retrying every %d s.", self.name, error, AWAY_SECONDS)
            self.error = type(error).__name__
            raise
        if self.error:
            log_warning(_logger, "%s answers again.", self.name)
            self.error = ""
        return result


@lru_cache(maxsize=64)
def guard_of(name: str, configuration: str) -> Guard:
    """Return the guard for a server. All calls with the same configuration (any text) share one guard."""
    return Guard(name)


def call_within(seconds: float, function: Callable[[], Result]) -> Result:
    """Return `function()`, run in a thread. Raises its exceptions, or TimeoutError after `seconds`.

    After a timeout the function continues in its daemon thread, and its result is ignored.
    """
    results: list[Result] = []
    errors: list[Exception] = []
    context = copy_context()

    def run() -> None:
        try:
            results.append(context.run(function))
        except Exception as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=run, name="webpush-call", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread can be started, or the interpreter is shutting down
        return function()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"No answer within {seconds:g} s.")
    return results[0]

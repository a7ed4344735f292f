"""Calls to a server that may be away (a broker, a cache), which must not hold up a request.

A call has a time limit, and after a failure the server is left alone for a while.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import lru_cache
from typing import TypeVar

Result = TypeVar("Result")

CALL_SECONDS = 1.0
AWAY_SECONDS = 15.0

_logger = logging.getLogger(__name__)


class ServerAwayError(Exception):
    """The server did not answer a moment ago, and is not asked again yet."""


class Guard:
    """Guards the calls to one server, for all threads of the process. `name` is what the log calls the server."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.error = ""
        """The type of the last failure; "" after a success."""
        self._retry_at = 0.0

    @property
    def is_away(self) -> bool:
        """Whether a call would be refused now."""
        return time.monotonic() < self._retry_at

    def call(self, function: Callable[[], Result], *, is_remote: bool = True) -> Result:
        """Return `function()`; raises what it raises, TimeoutError after `CALL_SECONDS`, or ServerAwayError at once.

        With `is_remote=False` the function runs in the caller's thread without a time limit, as it must when it uses
        the caller's database connection.
        """
        if self.is_away:
            raise ServerAwayError(f"{self.name} did not answer a moment ago ({self.error}).")
        try:
            result = call_within(CALL_SECONDS, function) if is_remote else function()
        except Exception as error:
            self._retry_at = time.monotonic() + AWAY_SECONDS
            if not self.error:
                _logger.warning("%s does not answer: %r. It is tried again every %d s.", self.name, error, AWAY_SECONDS)
            self.error = type(error).__name__
            raise
        if self.error:
            _logger.warning("%s answers again.", self.name)
            self.error = ""
        return result


@lru_cache(maxsize=64)
def guard_of(name: str, configuration: str) -> Guard:
    """Return the guard of the server that a configuration (any text) names, the same for every caller."""
    return Guard(name)


def call_within(seconds: float, function: Callable[[], Result]) -> Result:
    """Return `function()`, run in a thread; raises what it raises, or TimeoutError when it takes longer.

    A function that takes longer goes on in its daemon thread, and what becomes of it is ignored.
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
    except RuntimeError:  # the system gives no thread, or the interpreter is about to end
        return function()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"No answer within {seconds:g} s.")
    return results[0]

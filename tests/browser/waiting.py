"""Waiting for what happens in another process."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Value = TypeVar("Value")

START_SECONDS = 120
"""A browser's start on a loaded machine."""


class BetweenPagesError(Exception):
    """A script cannot run, or has not ended, because the browser is leaving its page for another."""


def wait_until(probe: Callable[[], Value], what: str, timeout: float = 20) -> Value:
    """Call `probe` until it returns something true, and return that; TimeoutError names `what` was waited for."""
    deadline = time.monotonic() + timeout
    while True:
        with suppress(BetweenPagesError):
            if value := probe():
                return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(0.02)

"""End a long command cleanly on Ctrl-C or SIGTERM, between two of its steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

INTERRUPTED = 130
"""The exit code of a command that was ended by Ctrl-C, as shells give it."""


@dataclass(slots=True)
class Interruption:
    """Whether the command has been asked to end."""

    is_requested: bool = False


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Within the block a first signal only sets `is_requested`; a second one does what it did before.

    Signals reach the main thread alone: in any other nothing changes.
    """
    interruption = Interruption()
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    handlers = {number: signal.getsignal(number) for number in numbers}

    def request(number: int, frame: FrameType | None) -> None:
        interruption.is_requested = True
        signal.signal(number, handlers[signal.Signals(number)])

    for number in numbers:
        signal.signal(number, request)
    try:
        yield interruption
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)

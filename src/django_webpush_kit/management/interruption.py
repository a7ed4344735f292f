"""Stop a long-running command cleanly on Ctrl-C or SIGTERM, between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, the convention of shells."""


@dataclass(slots=True)
class Interruption:
    """Tells whether the command was asked to stop."""

    is_requested: bool = False


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Set `is_requested` on the first signal. A second signal has its usual effect.

    Python handles signals in the main thread only, so in other threads this does nothing.
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

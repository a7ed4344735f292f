"""Pause Python's cyclic garbage collector while a worker writes a page of rows or sends a chunk.

Collections free nothing there, but scan thousands of values. They cost a third of the time of a page's INSERT, and a
tenth of the time of a chunk.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class GarbageCollectorPause:
    """Disables the garbage collector while at least one thread is inside `pause()`, then restores its state.

    If pauses of several threads overlap, each exit collects generations 0 and 1.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active_pauses = 0
        self._was_enabled = False

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Disable the garbage collector within the block."""
        with self._lock:
            if self._active_pauses == 0:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._active_pauses += 1
        try:
            yield
        finally:
            with self._lock:
                self._active_pauses -= 1
                if self._was_enabled and self._active_pauses:
                    gc.collect(_YOUNG_GENERATIONS)
                elif self._was_enabled:
                    gc.enable()


_YOUNG_GENERATIONS = 1
"""Argument of `gc.collect`: generations 0 and 1."""


garbage_collector = GarbageCollectorPause()
"""The pause shared by all workers of this process."""

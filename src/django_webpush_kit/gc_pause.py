"""Python's cyclic garbage collector, kept out of the way while a page of rows is written or a chunk is sent.

It would go through thousands of values again and again and find nothing: of the time that a page's INSERT takes, it
would take a third, of that for a chunk a tenth.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Resting:
    """The collector rests while any thread is within `while_any`, and is then as it was before the first one.

    Where threads take turns and one is always within, what is young is looked through whenever one leaves.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._was_enabled = False

    @contextmanager
    def while_any(self) -> Iterator[None]:
        """Keep the collector off within the block."""
        with self._lock:
            if self._inside == 0:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._was_enabled and self._inside:
                    gc.collect(_YOUNG)
                elif self._was_enabled:
                    gc.enable()


_YOUNG = 1


collector = Resting()

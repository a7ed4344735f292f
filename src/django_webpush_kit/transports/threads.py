"""Daemon threads that run jobs and end after some idle time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

CLOSE_SECONDS = 1.0

Job = Callable[[], None]


class JobThreads:
    """A thread pool without a size limit: starts a daemon thread if no thread is free.

    A thread without a job for `idle_seconds` ends. Jobs must not raise. `free` is the number of threads without a job.
    """

    def __init__(self, *, name: str, idle_seconds: float) -> None:
        self._name = name
        self._idle_seconds = idle_seconds
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._threads: set[threading.Thread] = set()
        self.free = 0
        self._is_closed = False

    def run(self, jobs: Sequence[Job]) -> None:
        """Run the jobs concurrently. If the system allows no thread, run them in the caller's thread."""
        with self._changed:
            self._jobs.extend(jobs)
            self._changed.notify(len(jobs))
            has_threads = self._start_threads(len(self._jobs) - self.free)
        while not has_threads and (job := self._take()) is not None:
            job()

    def close(self) -> None:
        """End each thread after its current job. Waits at most `CLOSE_SECONDS`."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            ending = list(self._threads)
        deadline = time.monotonic() + CLOSE_SECONDS
        for thread in ending:
            thread.join(max(deadline - time.monotonic(), 0))

    def _start_threads(self, number: int) -> bool:
        """Start up to `number` threads. Returns whether there is at least one thread."""
        # RuntimeError: the limit of the system is reached, or the interpreter is shutting down.
        with suppress(RuntimeError):
            for _ in range(number):
                thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                thread.start()
                self._threads.add(thread)
                self.free += 1
        return bool(self._threads)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job()
            with self._changed:
                self.free += 1

    def _next(self) -> Job | None:
        """Wait for a job. Returns None if the thread must end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closed, self._idle_seconds)
            self.free -= 1
            if self._jobs:
                return self._jobs.popleft()
            self._threads.discard(threading.current_thread())
            return None

    def _take(self) -> Job | None:
        with self._changed:
            return self._jobs.popleft() if self._jobs else None


class IdleTimer:
    """Calls a function in a daemon thread, `seconds` after the last `restart()`."""

    def __init__(self, seconds: float, function: Callable[[], None]) -> None:
        self._seconds = seconds
        self._function = function
        self._changed = threading.Condition()
        self._deadline = 0.0
        self._thread: threading.Thread | None = None

    def restart(self) -> None:
        """Start or restart the timer. If the system allows no thread, the function is not called."""
        with self._changed:
            self._deadline = time.monotonic() + self._seconds
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="webpush-idle", daemon=True)
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def expire(self) -> None:
        """If the timer is running, call the function now and wait for it."""
        with self._changed:
            thread, self._deadline = self._thread, 0.0
            self._changed.notify()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        with self._changed:
            while (seconds := self._deadline - time.monotonic()) > 0:
                self._changed.wait(seconds)
            self._thread = None
        self._function()

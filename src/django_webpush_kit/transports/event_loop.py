"""Runs many exchanges at the same time in the caller's thread, without asyncio.

An exchange is a generator that yields what it waits for: a socket or an event of another thread. asyncio is not used,
because a thread can run only one of its loops, and that one may belong to the project. `selectors` works in every
server and worker, and gevent and eventlet replace it with their own.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from itertools import count
from math import inf
from typing import Any, NamedTuple, TypeAlias, TypeVar

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

T = TypeVar("T")


class SocketWait(NamedTuple):
    """Wait until the socket can be read or written. After the deadline TimeoutError is raised in the generator."""

    sock: socket.socket
    events: int
    deadline: float


class EventWait(NamedTuple):
    """Wait until an event is set. After the deadline TimeoutError is raised in the generator."""

    event: Event
    deadline: float


Steps: TypeAlias = Generator[SocketWait | EventWait, None, T]
"""A generator that yields what it waits for, and returns a T."""


class Event:
    """Is set once, by any thread, and then calls the functions that wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self.is_set = False

    def set(self) -> None:
        """Set the event."""
        with self._lock:
            self.is_set = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def when_set(self, callback: Callable[[], None]) -> None:
        """Call a function when the event is set, in the thread that sets it; now if it is set already."""
        with self._lock:
            if not self.is_set:
                self._callbacks.append(callback)
                return
        callback()


class _Task:
    """One generator. `turn` counts its waits, so that outdated deadlines and events are recognized."""

    __slots__ = ("sock", "steps", "turn")

    def __init__(self, steps: Steps[Any]) -> None:
        self.steps = steps
        self.turn = 0
        self.sock: socket.socket | None = None


class EventLoop:
    """Runs generators until they return. What they return is in `results`, in the order in which they ended.

    They must not raise exceptions. For one thread; a loop that a fork has copied can only be closed.
    """

    def __init__(self) -> None:
        self.results: deque[Any] = deque()
        self._tasks: set[_Task] = set()
        self._deadlines: list[tuple[float, int, _Task, int]] = []
        self._number = count()
        self._selector: selectors.BaseSelector | None = None
        self._set_events: deque[tuple[_Task, int]] = deque()
        self._alarm: tuple[socket.socket, socket.socket] | None = None

    def start(self, steps: Steps[Any]) -> None:
        """Run a generator up to its first wait."""
        task = _Task(steps)
        self._tasks.add(task)
        self._resume(task)

    def run(self, seconds: float) -> None:
        """Wait up to `seconds` for something to happen, and go on with everything that can go on."""
        while self._deadlines and self._is_outdated(*self._deadlines[0][2:]):
            heapq.heappop(self._deadlines)
        if self._selector is not None:
            first = self._deadlines[0][0] if self._deadlines else inf
            for key, _events in self._selector.select(max(min(seconds, first - time.monotonic()), 0)):
                if key.data is None:
                    self._silence_alarm()
                else:
                    self._resume(key.data)
        while self._set_events:
            task, turn = self._set_events.popleft()
            if not self._is_outdated(task, turn):
                self._resume(task)
        self._expire()

    def close(self) -> None:
        """End all generators. Nothing is unregistered: a fork shares the selector with its parent."""
        for task in self._tasks:
            task.steps.close()
        self._tasks.clear()
        self._deadlines.clear()
        if self._selector is not None:
            self._selector.close()
            self._selector = None
        for sock in self._alarm or ():
            sock.close()
        self._alarm = None

    def _resume(self, task: _Task, error: Exception | None = None) -> None:
        if task.sock is not None and self._selector is not None:
            self._selector.unregister(task.sock)
        task.sock = None
        task.turn += 1
        try:
            wait = next(task.steps) if error is None else task.steps.throw(error)
        except StopIteration as end:
            self._tasks.discard(task)
            self.results.append(end.value)
            return
        try:
            self._wait(task, wait)
        except (OSError, ValueError) as problem:  # too many file descriptors
            self._resume(task, OSError(str(problem)))

    def _wait(self, task: _Task, wait: SocketWait | EventWait) -> None:
        if self._selector is None:
            self._selector = selectors.DefaultSelector()
        if isinstance(wait, SocketWait):
            self._selector.register(wait.sock, wait.events, task)
            task.sock = wait.sock
        else:
            if self._alarm is None:
                self._alarm = socket.socketpair()
                for sock in self._alarm:
                    sock.setblocking(False)
                self._selector.register(self._alarm[0], READ, None)
            turn, alarm = task.turn, self._alarm[1]
            wait.event.when_set(lambda: self._note(task, turn, alarm))
        heapq.heappush(self._deadlines, (wait.deadline, next(self._number), task, task.turn))

    def _note(self, task: _Task, turn: int, alarm: socket.socket) -> None:
        """Called by other threads, also after the loop was closed."""
        self._set_events.append((task, turn))
        with suppress(OSError):  # the pipe is full of earlier signals, or closed
            alarm.send(b"\0")

    def _silence_alarm(self) -> None:
        if self._alarm is not None:
            with suppress(BlockingIOError):
                self._alarm[0].recv(4096)

    def _expire(self) -> None:
        now = time.monotonic()
        while self._deadlines and (self._deadlines[0][0] <= now or self._is_outdated(*self._deadlines[0][2:])):
            _deadline, _number, task, turn = heapq.heappop(self._deadlines)
            if not self._is_outdated(task, turn):
                self._resume(task, TimeoutError())

    def _is_outdated(self, task: _Task, turn: int) -> bool:
        return task.turn != turn or task not in self._tasks

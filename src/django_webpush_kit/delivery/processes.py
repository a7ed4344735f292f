"""Run several worker processes: start them, replace those that die, and stop all on a signal."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from django.db import connections

RESTART_SECONDS = 1.0
"""Minimum interval between two replacements of a process that dies."""

LOOK_SECONDS = 0.1

SIGNALS = (signal.SIGTERM, signal.SIGINT)

_logger = logging.getLogger(__name__)


class WorkerProcesses:
    """Forks `count` processes that each call `work`, until all have returned or SIGTERM or SIGINT arrives.

    A process that dies, or whose `work` raises, is replaced. The new one first calls `note_death` with the id of the
    other and how that one ended. Each signal is passed on to the processes as SIGTERM.
    """

    def __init__(self, count: int, work: Callable[[], None], note_death: Callable[[int, str], None]) -> None:
        self._count = count
        self._work = work
        self._note_death = note_death
        self._started: dict[int, float] = {}
        self._signals = 0
        self._signals_passed_on = 0

    def run(self) -> None:
        """Start the processes and wait until all have ended."""
        connections.close_all()  # two processes must not share a connection
        with self._noting_signals():
            for _ in range(self._count):
                self._start()
            while self._started:
                self._pass_signals_on()
                for process_id in list(self._started):
                    self._look_after(process_id)
                time.sleep(LOOK_SECONDS)

    def _start(self, *, after: tuple[int, str] | None = None) -> None:
        """Start a process. `after` names the one that it replaces, and says how that one ended."""
        # blocked, so that a signal to a new process is not swallowed by the handler it has from us
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            process_id = os.fork() or self._be_child(mask, after)
            self._started[process_id] = time.monotonic()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _be_child(self, mask: Iterable[int], after: tuple[int, str] | None) -> NoReturn:
        """Work in the new process, and end it."""
        code = 1
        try:
            os.setpgid(0, 0)  # Ctrl-C reaches only the parent, which passes it on
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            if after is not None:
                self._note_death(*after)
            self._work()
            code = 0
        except BaseException:  # noqa: BLE001 - the process ends here in any case
            traceback.print_exc()
        finally:
            with suppress(OSError, ValueError):  # nobody may be reading any more
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _look_after(self, process_id: int) -> None:
        """Replace the process if it has died."""
        ended, status = os.waitpid(process_id, os.WNOHANG)
        if not ended:
            return
        started = self._started.pop(process_id)
        if status == 0 or self._signals:
            return
        exit_code = os.waitstatus_to_exitcode(status)
        _logger.error("Worker process %d ended with %d; a new one is started", process_id, exit_code)
        time.sleep(max(started + RESTART_SECONDS - time.monotonic(), 0))
        how = f"killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
        self._start(after=(process_id, how))  # a signal that came meanwhile is passed on to it

    def _pass_signals_on(self) -> None:
        if self._signals > self._signals_passed_on:
            self._signals_passed_on += 1
            for process_id in self._started:
                with suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGTERM)

    @contextmanager
    def _noting_signals(self) -> Iterator[None]:
        def note(number: int, frame: FrameType | None) -> None:
            self._signals += 1

        before = {number: signal.signal(number, note) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

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
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from django.db import connections

from django_webpush_kit.error_reports import log_error

RESTART_SECONDS = 1.0
MAX_RESTART_SECONDS = 30.0
"""Interval between two starts in one place: the first doubles with each process that dies early, up to the second."""

HEALTHY_SECONDS = 10.0
"""A process that lived longer has not died early, and is replaced at once."""

LOOK_SECONDS = 0.1

SIGNALS = (signal.SIGTERM, signal.SIGINT)

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Place:
    """A place for one process. While it is empty, `start_at` is when the next process starts there."""

    process_id: int | None = None
    start_at: float = 0.0
    started_at: float = 0.0
    early_deaths: int = 0
    predecessor: tuple[int, str] | None = None
    """The process that died here, and how it ended."""

    def note_death(self, process_id: int, how: str) -> float:
        """Empty the place. Returns the seconds until the next start."""
        now = time.monotonic()
        lived = now - self.started_at
        self.early_deaths = self.early_deaths + 1 if lived < HEALTHY_SECONDS else 0
        wait = min(RESTART_SECONDS * 2.0 ** min(self.early_deaths - 1, 30), MAX_RESTART_SECONDS)
        self.start_at = now + (max(wait - lived, 0.0) if self.early_deaths else 0.0)
        self.process_id, self.predecessor = None, (process_id, how)
        return self.start_at - now


class WorkerProcesses:
    """Forks `count` processes that each call `work`, until all have returned or SIGTERM or SIGINT arrives.

    A process that dies, or whose `work` raises, is replaced. The new one first calls `note_death` with the id of the
    other and how that one ended. The first signal is passed on to the processes as SIGTERM; a second one kills them.
    """

    def __init__(self, count: int, work: Callable[[], None], note_death: Callable[[int, str], None]) -> None:
        self._work = work
        self._note_death = note_death
        self._places = [_Place() for _ in range(count)]
        self._signals = 0
        self._signals_passed_on = 0

    def run(self) -> None:
        """Start the processes and wait until all have ended."""
        connections.close_all()  # two processes must not share a connection
        with self._noting_signals():
            while self._places:
                for place in list(self._places):
                    self._look_after(place)
                self._pass_signals_on()
                time.sleep(LOOK_SECONDS)

    def _look_after(self, place: _Place) -> None:
        """Start a process in an empty place when it is time, and empty the place of one that has ended."""
        if place.process_id is not None:
            self._note_end(place, place.process_id)
        elif self._signals:
            self._places.remove(place)
        elif time.monotonic() >= place.start_at:
            self._start(place)

    def _start(self, place: _Place) -> None:
        # blocked: the new process would handle a signal with the handler inherited from this one
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            place.started_at = time.monotonic()
            place.process_id = os.fork() or self._be_child(mask, place.predecessor)
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
            with suppress(OSError, ValueError):  # the reader of the output may have gone
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _note_end(self, place: _Place, process_id: int) -> None:
        ended, status = os.waitpid(process_id, os.WNOHANG)
        if not ended:
            return
        if status == 0 or self._signals:
            self._places.remove(place)
            return
        exit_code = os.waitstatus_to_exitcode(status)
        how = f"killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
        seconds = place.note_death(process_id, how)
        text = "Worker process %d ended with %d; a new one is started in %.0f s"
        log_error(_logger, text, process_id, exit_code, seconds)

    def _pass_signals_on(self) -> None:
        """Pass on the first signal as SIGTERM. systemd may have sent the same one to the processes itself."""
        if self._signals > self._signals_passed_on:
            number = signal.SIGKILL if self._signals_passed_on else signal.SIGTERM
            self._signals_passed_on += 1
            for place in self._places:
                if place.process_id is not None:
                    with suppress(ProcessLookupError):
                        os.kill(place.process_id, number)

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

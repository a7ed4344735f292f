"""`manage.py deliver_push`: deliver due notifications, once or in a loop."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from django_webpush_kit.delivery.heartbeats import note_death, worker_heartbeat
from django_webpush_kit.delivery.processes import WorkerProcesses
from django_webpush_kit.delivery.transport import close_transport
from django_webpush_kit.delivery.unfinished import finishing_before_exit
from django_webpush_kit.delivery.worker import MAX_SLEEP_SECONDS, Worker
from django_webpush_kit.management.arguments import check_positive
from django_webpush_kit.management.reporting import DatabaseCommand

TERMINAL_LINE_SECONDS = 1.0
LINE_SECONDS = 10.0
"""Interval between two lines of a loop: on a terminal, and in a log."""


class Command(DatabaseCommand):
    """A worker that needs no queue. Run it from cron, or with `--loop` under systemd or in a container."""

    help = (
        "Deliver pending notifications that are due. With --loop it survives temporary database outages. SIGTERM and "
        "SIGINT stop it after the requests in flight; a second signal stops it at once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--loop", action="store_true", help="run until stopped, and sleep while nothing is due")
        parser.add_argument(
            "--interval",
            type=float,
            default=MAX_SLEEP_SECONDS,
            metavar="SECONDS",
            help="with --loop: maximum time between two looks at the outbox (default and maximum: 1)",
        )
        parser.add_argument("--limit", type=int, metavar="ROWS", help="stop after this many notifications")
        parser.add_argument("--seconds", type=float, help="stop after this time")
        parser.add_argument(
            "--processes",
            type=int,
            default=1,
            metavar="NUMBER",
            help="with --loop: run this many worker processes, one per core at most, and replace those that die",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Deliver and print a summary."""
        for name in ("interval", "limit", "seconds", "processes"):
            check_positive(name, options[name])
        if options["interval"] > MAX_SLEEP_SECONDS:
            raise CommandError(f"--interval must be at most {MAX_SLEEP_SECONDS:g}.")
        if options["loop"] and options["verbosity"] > 0:
            self._say(f"Waiting for notifications.{' Press Ctrl-C to stop.' if self.stdout.isatty() else ''}")
        if options["processes"] == 1:
            self._work(options)
            return
        if not options["loop"] or options["limit"] is not None:
            raise CommandError("--processes needs --loop, and cannot be combined with --limit.")
        if not hasattr(os, "fork"):
            raise CommandError(
                "--processes needs fork(), which this system does not have. Start several workers instead."
            )
        parent = os.getpid()

        def work() -> None:
            # systemd signals the parent and this process, and the parent passes its signal on: that is one signal
            self._work(options, lambda: os.getppid() != parent, afterwards=signal.SIG_IGN)

        WorkerProcesses(options["processes"], work, note_death).run()

    def _work(
        self,
        options: dict[str, Any],
        is_abandoned: Callable[[], bool] = lambda: False,
        *,
        afterwards: signal.Handlers | None = None,
    ) -> None:
        started = time.monotonic()
        worker = Worker(
            limit=options["limit"],
            seconds=options["seconds"],
            is_abandoned=is_abandoned,
            on_turn=lambda: lines.note() if options["verbosity"] > 0 else None,
        )
        lines = BatchLines(self._say, worker, TERMINAL_LINE_SECONDS if self.stdout.isatty() else LINE_SECONDS)
        command = "deliver_push --loop" if options["loop"] else "deliver_push"
        try:
            with (
                worker.stopped_by_signals(afterwards=afterwards),
                worker_heartbeat(command, is_loop=options["loop"]) as heartbeat,
                finishing_before_exit(),
            ):
                if options["loop"]:
                    worker.run_for_ever(options["interval"])
                else:
                    worker.run_once()
                heartbeat.ending = worker.ending
        finally:
            close_transport()
        if worker.is_database_away and not worker.claimed:
            self._say("Nothing was delivered: the outbox could not be read.")
        elif options["verbosity"] > 0:
            self._say(summary(worker.claimed, worker.outcomes, time.monotonic() - started))

    def _say(self, text: str) -> None:
        """Print a line at once. A worker goes on if nobody reads its output any more."""
        with suppress(OSError, ValueError):
            self.stdout.write(text)
            self.stdout.flush()


class BatchLines:
    """Prints what a worker has done since the last line, at most one line every `seconds`."""

    def __init__(
        self,
        write: Callable[[str], None],
        worker: Worker,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._worker = worker
        self._seconds = seconds
        self._clock = clock
        self._printed: Counter[str] = Counter()
        self._next_at = float("-inf")

    def note(self) -> None:
        """Print a line such as "12:01:03 3 sent, 1 failed" if something was done and a line is due."""
        done = self._worker.outcomes - self._printed
        if done and self._clock() >= self._next_at:
            self._printed += done
            self._next_at = self._clock() + self._seconds
            self._write(f"{timezone.localtime():%H:%M:%S} {in_words(done)}")


def in_words(outcomes: Counter[str]) -> str:
    """Return the counts above 0, those of sent notifications first."""
    names = sorted(outcomes, key=lambda name: (name != "sent", name))
    return ", ".join(f"{outcomes[name]} {name}" for name in names if outcomes[name])


def summary(claimed: int, outcomes: Counter[str], seconds: float) -> str:
    """Return one line with the number of rows, their outcomes and the time taken."""
    if not claimed:
        return "No notifications were due."
    return f"{claimed} claimed in {seconds:.1f} s: {in_words(outcomes) or 'nothing recorded'}"

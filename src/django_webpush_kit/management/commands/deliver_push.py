"""`manage.py deliver_push`: deliver what is due, once or for ever."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_webpush_kit.delivery.transport import close_transport
from django_webpush_kit.delivery.worker import LONGEST_SLEEP_SECONDS, Worker


class Command(BaseCommand):
    """A worker without a queue: run it from cron, or with `--loop` under systemd or in a container."""

    help = "Deliver what is due. SIGTERM and SIGINT end it after the chunk in flight; a second one ends it at once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--loop", action="store_true", help="keep going: sleep until something is due")
        parser.add_argument(
            "--interval",
            type=float,
            default=LONGEST_SLEEP_SECONDS,
            metavar="SECONDS",
            help="with --loop: look at least this often (default and maximum: 1)",
        )
        parser.add_argument("--limit", type=int, metavar="ROWS", help="stop after this many notifications")
        parser.add_argument("--seconds", type=float, help="stop after this time")

    def handle(self, *args: Any, **options: Any) -> None:
        """Deliver and print a summary."""
        for name, most in (("interval", LONGEST_SLEEP_SECONDS), ("limit", None), ("seconds", None)):
            value = options[name]
            if value is not None and (value <= 0 or (most is not None and value > most)):
                raise CommandError(f"--{name} must be more than 0" + (f" and at most {most:g}." if most else "."))
        started = time.monotonic()
        worker = Worker(limit=options["limit"], seconds=options["seconds"])
        try:
            with worker.stopped_by_signals():
                if options["loop"]:
                    worker.run_for_ever(options["interval"])
                else:
                    worker.run_once()
        finally:
            close_transport()
        if options["verbosity"] > 0:
            self.stdout.write(summary(worker.claimed, worker.outcomes, time.monotonic() - started))


def summary(claimed: int, outcomes: Counter[str], seconds: float) -> str:
    """One line: what was done, and how long it took."""
    if not claimed:
        return "Nothing was due."
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()) if count)
    return f"{claimed} claimed in {seconds:.1f} s: {counts or 'nothing recorded'}"

"""`manage.py push_prune`: run the hourly cleanup now."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_webpush_kit.delivery.pruning import clean_up
from django_webpush_kit.management.arguments import check_positive
from django_webpush_kit.management.interruption import INTERRUPTED, interruptible
from django_webpush_kit.management.reporting import ReportingCommand

PROGRESS_ROWS = 10_000
"""Number of rows between two lines of progress."""

DONE = {
    "expired": "Deactivated: {} expired subscriptions",
    "days": "Counted: {} days of statistics",
    "texts": "Emptied: {} notifications",
}


class Command(ReportingCommand):
    """Deactivate expired subscriptions and delete rows past their retention."""

    help = (
        "Count days for the statistics, deactivate expired subscriptions, and delete what is older than "
        "RETENTION_DAYS, TEXT_RETENTION_DAYS, IDEMPOTENCY_DAYS and STATISTICS_RETENTION_DAYS. "
        "Ctrl-C stops it between two small transactions; the next run continues."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the options."""
        parser.add_argument("--seconds", type=float, help="stop after this time; the next run continues")

    def handle(self, *args: Any, **options: Any) -> None:
        """Clean up, show progress, and print the counts."""
        check_positive("seconds", options["seconds"])
        self._printed: dict[str, int] = {}
        self._started: dict[str, float] = {}
        with interruptible() as interruption:
            counts = clean_up(
                seconds=options["seconds"],
                is_stopped=lambda: interruption.is_requested,
                on_progress=self._show,
            )
        for name, count in counts.items():
            self.stdout.write(DONE.get(name, f"Deleted: {{}} {_readable(name)}").format(count))
        if interruption.is_requested:
            raise CommandError("Interrupted. Run push_prune again to continue.", returncode=INTERRUPTED)

    def _show(self, name: str, count: int) -> None:
        now = time.monotonic()
        seconds = now - self._started.setdefault(name, now)
        steps = count // PROGRESS_ROWS
        if name == "days" or steps <= self._printed.get(name, 0):
            return
        self._printed[name] = steps
        rate = f" ({count / seconds:,.0f} a second)" if seconds else ""
        verb = "emptied" if name == "texts" else "deleted"
        self.stdout.write(f"{count:,} {_readable(name)} {verb} so far{rate}")
        self.stdout.flush()


def _readable(name: str) -> str:
    return "notifications" if name == "texts" else name.replace("_", " ")

"""`manage.py push_prune`: run the hourly cleanup now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_webpush_kit.delivery.pruning import clean_up
from django_webpush_kit.management.interruption import INTERRUPTED, interruptible

PROGRESS_ROWS = 10_000
"""Number of rows between two lines of progress."""


class Command(BaseCommand):
    """Deactivate expired subscriptions and delete rows past their retention."""

    help = (
        "Deactivate expired subscriptions, and delete rows older than RETENTION_DAYS and IDEMPOTENCY_DAYS. "
        "Ctrl-C stops it between two small transactions; the next run continues."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Clean up, show progress, and print the counts."""
        with interruptible() as interruption:
            counts = clean_up(is_stopped=lambda: interruption.is_requested, on_progress=self._show)
        self.stdout.write(f"Deactivated: {counts.pop('expired')} expired subscriptions")
        for name, count in counts.items():
            self.stdout.write(f"Deleted: {count} {_readable(name)}")
        if interruption.is_requested:
            raise CommandError("Interrupted. Run push_prune again to continue.", returncode=INTERRUPTED)

    def _show(self, name: str, count: int) -> None:
        if count % PROGRESS_ROWS == 0:
            self.stdout.write(f"{count:,} {_readable(name)} deleted so far")
            self.stdout.flush()


def _readable(name: str) -> str:
    return name.replace("_", " ")

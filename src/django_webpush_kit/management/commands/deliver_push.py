"""`manage.py deliver_push`: deliver what is due, once or for ever."""

from __future__ import annotations

import logging
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError, close_old_connections
from django.utils import timezone

from django_webpush_kit.base_models import Lane, NotificationStatus
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.delivery.database import outbox_database
from django_webpush_kit.delivery.engine import EVERY_KIND, DeliveryReport, deliver_due
from django_webpush_kit.delivery.resources import close_transport
from django_webpush_kit.models import get_notification_model

LONGEST_SLEEP_SECONDS = 1.0

_logger = logging.getLogger("django_webpush_kit")


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


class Worker:
    """Delivers some chunks at a time, and can be stopped between two of them."""

    def __init__(self, *, limit: int | None = None, seconds: float | None = None) -> None:
        self.claimed = 0
        self.outcomes: Counter[str] = Counter()
        self._limit = limit
        self._end = float("inf") if seconds is None else time.monotonic() + seconds
        self._is_stopped = False
        self._is_database_away = False

    def run_once(self) -> None:
        """Deliver what is due now."""
        while not self._is_done() and self._step().more:
            pass

    def run_for_ever(self, interval: float) -> None:
        """Deliver what is due whenever it is, until stopped; outlive a database that is away for a while."""
        while not self._is_done():
            try:
                has_more = self._step().more
                self._note_answer()
                if has_more:
                    continue
                wait = min(interval, self._seconds_to_next(timezone.now(), interval))
            except (OperationalError, InterfaceError) as error:
                self._note_outage(error)
                wait = interval
            close_old_connections()
            if not self._is_done():
                time.sleep(max(0.0, min(wait, self._end - time.monotonic())))

    @contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """Within the block SIGTERM and SIGINT end the work after the chunk in flight; a second one does what it did."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def stop(number: int, frame: FrameType | None) -> None:
            # only a flag: an Event's lock may be held by the very code that was interrupted
            self._is_stopped = True
            signal.signal(number, before[signal.Signals(number)])

        for number in before:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _step(self) -> DeliveryReport:
        # the whole of a call is lost for the count when the database goes away: a call is not endless
        size = kit_settings.CHUNK_SIZE * EVERY_KIND
        if self._limit is not None:
            size = min(size, self._limit - self.claimed)
        seconds = None if self._end == float("inf") else self._end - time.monotonic()
        report = deliver_due(size, seconds=seconds, is_stopped=lambda: self._is_stopped)
        self.claimed += report.claimed
        self.outcomes += report.outcomes
        return report

    def _is_done(self) -> bool:
        is_full = self._limit is not None and self.claimed >= self._limit
        return self._is_stopped or is_full or time.monotonic() >= self._end

    def _seconds_to_next(self, now: datetime, default: float) -> float:
        """How long until the next row falls due; a lane at a time, because that is one look into the index each."""
        pending = get_notification_model().objects.using(outbox_database()).filter(status=NotificationStatus.PENDING)
        first = [
            pending.filter(lane=lane).order_by("next_attempt_at").values_list("next_attempt_at", flat=True).first()
            for lane in Lane
        ]
        return min(((moment - now).total_seconds() for moment in first if moment is not None), default=default)

    def _note_outage(self, error: Exception) -> None:
        """Log the start of an outage, not every look during it."""
        if not self._is_database_away:
            _logger.warning("The database does not answer; trying again until it does: %s", error)
            self._is_database_away = True

    def _note_answer(self) -> None:
        if self._is_database_away:
            _logger.warning("The database answers again")
            self._is_database_away = False


def summary(claimed: int, outcomes: Counter[str], seconds: float) -> str:
    """One line: what was done, and how long it took."""
    if not claimed:
        return "Nothing was due."
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()) if count)
    return f"{claimed} claimed in {seconds:.1f} s: {counts or 'nothing recorded'}"

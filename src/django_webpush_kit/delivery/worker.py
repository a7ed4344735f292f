"""The loop of a worker process: deliver, sleep until something is due, stop on a signal."""

from __future__ import annotations

import logging
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import FrameType

from django.core.exceptions import ImproperlyConfigured
from django.db import close_old_connections, connections
from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import (
    TABLES_MISSING,
    is_missing_table,
    is_statement_error,
    is_unavailable,
    outbox_database,
    sqlite_file,
)
from django_webpush_kit.delivery.containment import ErrorLog
from django_webpush_kit.delivery.engine import Bounds, DeliveryReport, deliver_within
from django_webpush_kit.delivery.heartbeats import note_progress
from django_webpush_kit.error_reports import log_error, log_warning
from django_webpush_kit.gc_pause import garbage_collector
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.states import Lane, NotificationStatus
from django_webpush_kit.task_backends import get_task_backend

MAX_SLEEP_SECONDS = 1.0

IDLE_SECONDS = 0.2
"""Minimum sleep after no row could be claimed. Due rows may be locked by a transaction of the project."""

CHUNKS_AT_ONCE = 200
"""Chunks per call, or more while a push service does not answer. Between calls garbage can be collected."""

_logger = logging.getLogger(__name__)


class Worker:
    """Delivers until `limit` rows were claimed, `seconds` have passed, `is_abandoned()` is true, or a signal comes.

    In `run_for_ever`, `on_turn()` is called after each look at the outbox.
    """

    def __init__(
        self,
        *,
        limit: int | None = None,
        seconds: float | None = None,
        is_abandoned: Callable[[], bool] = lambda: False,
        on_turn: Callable[[], None] = lambda: None,
    ) -> None:
        self.claimed = 0
        self.outcomes: Counter[str] = Counter()
        self.is_database_away = False
        """Whether the last look at the outbox failed, because of an outage, or of missing tables or permissions."""
        self._limit = limit
        self._end = float("inf") if seconds is None else time.monotonic() + seconds
        self._is_abandoned = is_abandoned
        self._on_turn = on_turn
        self._is_stopped = False
        self._errors = ErrorLog()
        self._file: tuple[int, int] | None = None

    @property
    def ending(self) -> str:
        """Why the worker has stopped, for its heartbeat."""
        return "stopped by a signal" if self._is_stopped else "finished"

    def run_once(self) -> None:
        """Deliver the rows that are due now."""
        while not self._is_done() and self._step().more:
            pass

    def run_for_ever(self, interval: float) -> None:
        """Deliver rows when they are due, until stopped. Continues after database outages and other errors."""
        while not self._is_done():
            try:
                self._leave_deleted_file()
                report = self._step()
                if report.claimed or not report.more:  # otherwise time was up before it looked
                    self._note_answer()
                note_progress(0)
                self._on_turn()
                if report.more:
                    continue
                idle = 0.0 if report.claimed else min(interval, IDLE_SECONDS)
                wait = max(idle, min(interval, self._seconds_to_next(timezone.now(), interval)))
            except ImproperlyConfigured:
                raise
            except Exception as error:  # noqa: BLE001 - the next rows may succeed after any error
                if is_unavailable(error) or is_statement_error(error):
                    self._note_outage(error)
                else:
                    self._errors.note("Delivering", error)
                wait = interval
            close_old_connections()
            if not self._is_done():
                time.sleep(max(0.0, min(wait, self._end - time.monotonic())))

    def _leave_deleted_file(self) -> None:
        """Close a connection that is kept open to an SQLite file that was deleted or replaced: nobody else sees it."""
        before, self._file = self._file, sqlite_file()
        if before is not None and before != self._file:
            log_warning(_logger, "The file of the SQLite database was deleted or replaced; it is opened again")
            connections[outbox_database()].close()

    @contextmanager
    def stopped_by_signals(self, *, afterwards: signal.Handlers | None = None) -> Iterator[None]:
        """Stop after the chunk in flight on SIGTERM or SIGINT.

        A second signal has its usual effect, or that of the handler `afterwards`.
        """
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def stop(number: int, frame: FrameType | None) -> None:
            # only a flag: the interrupted code may hold the lock of an Event
            self._is_stopped = True
            signal.signal(number, before[signal.Signals(number)] if afterwards is None else afterwards)

        for number in before:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _step(self) -> DeliveryReport:
        limit = None if self._limit is None else self._limit - self.claimed
        report = DeliveryReport()
        bounds = Bounds(
            limit,
            None,
            self._end,
            self._shall_stop,
            get_task_backend().wake_all,
            rest_after=kit_settings.CHUNK_SIZE * CHUNKS_AT_ONCE,
        )
        try:
            with garbage_collector.pause():
                deliver_within(bounds, report)
        finally:
            self.claimed += report.claimed
            self.outcomes += report.outcomes
        return report

    def _is_done(self) -> bool:
        is_full = self._limit is not None and self.claimed >= self._limit
        return self._shall_stop() or is_full or time.monotonic() >= self._end

    def _shall_stop(self) -> bool:
        return self._is_stopped or self._is_abandoned()

    def _seconds_to_next(self, now: datetime, default: float) -> float:
        """Return the seconds until the next row is due, at most `default`.

        Queries each lane, because each query uses the index. Later moments are not read: Python may not know them.
        """
        pending = (
            get_notification_model()
            .objects.using(outbox_database())
            .filter(status=NotificationStatus.PENDING, next_attempt_at__lt=now + timedelta(seconds=default))
        )
        first = [
            pending.filter(lane=lane).order_by("next_attempt_at").values_list("next_attempt_at", flat=True).first()
            for lane in Lane
        ]
        return min(((moment - now).total_seconds() for moment in first if moment is not None), default=default)

    def _note_outage(self, error: Exception) -> None:
        """Log an outage once, not every attempt during it. Missing tables may be created by a deployment meanwhile."""
        if self.is_database_away:
            return
        self.is_database_away = True
        if is_missing_table(error):
            log_error(_logger, "%s: run manage.py migrate. Retrying: %s", TABLES_MISSING, error)
        elif is_statement_error(error):
            log_error(_logger, "The database refuses statements of this worker; retrying: %s", error, error=error)
        else:
            log_warning(_logger, "The database does not answer; retrying: %s", error)

    def _note_answer(self) -> None:
        if self.is_database_away:
            log_warning(_logger, "The database answers again")
            self.is_database_away = False

"""Heartbeats of worker processes: one row per process that says who it is, what it does and when it was last seen.

The loop of `deliver_push` and the tasks of a queue note their progress here. A row is written every `BEAT_SECONDS` at
most, with the clock of the database, so that workers whose clocks differ are compared fairly. A heartbeat that cannot
be written is logged, and never stops delivery.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from django_webpush_kit.conf import current_scope, installed_version
from django_webpush_kit.database import (
    clock_difference,
    database_now,
    is_inside_transaction,
    is_missing_table,
    is_unavailable,
    outbox_database,
)
from django_webpush_kit.error_reports import error_text, log_error
from django_webpush_kit.models import WorkerHeartbeat

BEAT_SECONDS = 10.0

RETRY_SECONDS = 60.0
"""Wait after a heartbeat could not be written."""

MIN_RATE_SECONDS = 1.0
"""Minimum time over which a rate is measured. A few rows in a millisecond mean nothing."""

SILENT_SECONDS = 90.0
"""A loop without a heartbeat for longer has died or hangs: by default, a request takes 30 seconds at most. A process of
a queue is idle, or was stopped."""

SERIES_SECONDS = 30.0
"""A command whose calls reach over a longer time is called regularly."""

KEEP = timedelta(days=1)
MAX_ROWS = 200
"""A starting process deletes rows that are older, or exceed this number."""

DELETED_AT_ONCE = 1000

_logger = logging.getLogger(__name__)


class Heartbeat:
    """The heartbeat of this process. `command` says what it runs.

    `is_loop` is true for a process that looks for due rows by itself at least every second. A task of a queue does so
    only when it is called. `is_call` is true for one of the calls of a command that share a row: it keeps the start of
    the first one, unless a day has passed since the last.
    """

    def __init__(self, command: str, *, is_loop: bool, name: str = "", is_call: bool = False) -> None:
        self.name = name or process_name()
        self._is_call = is_call
        self.ending = "finished"
        """How the process ends if no error follows."""
        self._command = command[:100]
        self._is_loop = is_loop
        self._rows = 0
        self._started_at: datetime | None = None
        self._swept_at: datetime | None = None
        self._is_sweeping = is_loop
        self._write_at = 0.0
        self._rows_before = 0
        self._rate_since = time.monotonic()
        self._per_minute: float | None = None
        self._has_failed = False
        self._lock = threading.Lock()

    def note(self, rows: int = 0) -> None:
        """Count handled rows, and write the heartbeat if it is due."""
        self._rows += rows
        if time.monotonic() >= self._write_at:
            self._write()

    def note_sweep(self) -> None:
        """Note that a scheduler started a sweep for all due rows in this process."""
        self._is_sweeping = True

    def end(self) -> None:
        """Write the last heartbeat, with `ending`."""
        self._write(self.ending)

    def _write(self, ending: str = "") -> None:
        if not self._lock.acquire(blocking=False):
            return  # another thread is writing it
        try:
            self._write_at = time.monotonic() + BEAT_SECONDS
            self._store(ending)
            self._has_failed = False
        except Exception as error:  # noqa: BLE001 - contained
            self._write_at = time.monotonic() + RETRY_SECONDS
            if not self._has_failed:
                # the worker logs the error itself
                is_away = is_unavailable(error) or is_missing_table(error)
                log_error(
                    _logger,
                    "The heartbeat of this worker could not be written: %s",
                    error_text(error),
                    error=None if is_away else error,
                )
            self._has_failed = True
        finally:
            self._lock.release()

    def _store(self, ending: str) -> None:
        difference = clock_difference()
        now = database_now(difference)
        is_new = self._started_at is None
        self._started_at = self._started_at or self._start_of_series(now) or now
        if self._is_sweeping:
            self._swept_at, self._is_sweeping = now, self._is_loop
        self._measure(is_last=bool(ending))
        values = {
            "version": installed_version(),
            "command": self._command,
            "is_loop": self._is_loop,
            "started_at": self._started_at,
            "seen_at": now,
            "swept_at": self._swept_at,
            "ended_at": now if ending else None,
            "ending": ending[:100],
            "rows": self._rows,
            "per_minute": self._per_minute,
            "clock_difference": difference,
        }
        alias = outbox_database()
        with transaction.atomic(using=alias):
            WorkerHeartbeat.objects.using(alias).update_or_create(name=self.name, defaults=values)
        if is_new:
            _remove_old(now)

    def _start_of_series(self, now: datetime) -> datetime | None:
        """Return when the calls of the command began whose row this one shares."""
        if not self._is_call:
            return None
        rows = WorkerHeartbeat.objects.using(outbox_database())
        earlier = rows.filter(name=self.name, command=self._command, seen_at__gt=now - KEEP, started_at__lte=now)
        return earlier.values_list("started_at", flat=True).first()

    def _measure(self, *, is_last: bool) -> None:
        """Measure the rate since the last heartbeat."""
        elapsed = time.monotonic() - self._rate_since
        if elapsed < BEAT_SECONDS and not is_last:
            return  # the first one
        rows = self._rows - self._rows_before
        if rows or not is_last:
            self._per_minute = round(rows * 60 / max(elapsed, MIN_RATE_SECONDS), 1)
        self._rows_before, self._rate_since = self._rows, time.monotonic()


def process_name(process_id: int | None = None) -> str:
    """Return the name of a process of this machine: "host:pid"."""
    return f"{platform.node()[:150]}:{process_id or os.getpid()}"


@contextmanager
def beating(heartbeat: Heartbeat) -> Iterator[Heartbeat]:
    """Count the rows delivered in this thread for the heartbeat."""
    token = _current.set(heartbeat)
    try:
        yield heartbeat
    finally:
        _current.reset(token)


@contextmanager
def worker_heartbeat(command: str, *, is_loop: bool) -> Iterator[Heartbeat]:
    """Write the heartbeat of a command and how it ends. Repeated runs of the same command share one row."""
    name = "" if is_loop else f"{platform.node()[:150]}:once"
    heartbeat = Heartbeat(command, is_loop=is_loop, name=name, is_call=not is_loop)
    try:
        with beating(heartbeat):
            heartbeat.note_sweep()
            heartbeat.note()
            yield heartbeat
    except BaseException as error:
        heartbeat.ending = f"failed: {type(error).__name__}"
        raise
    finally:
        heartbeat.end()


def task_heartbeat(command: str) -> Heartbeat:
    """Return the heartbeat of this process for tasks of a queue. All tasks of a tenant in a process share one."""
    key = (os.getpid(), current_scope(), outbox_database())
    if key not in _of_tasks:
        _of_tasks[key] = Heartbeat(command, is_loop=False)
    return _of_tasks[key]


def note_progress(rows: int) -> None:
    """Count handled rows for the heartbeat of this thread, if there is one."""
    heartbeat = _current.get()
    if heartbeat is not None:
        heartbeat.note(rows)


def note_death(process_id: int, reason: str) -> None:
    """Write how another worker process of this machine ended, if it could not do so itself."""
    try:
        alias = outbox_database()
        now = database_now(clock_difference())
        with transaction.atomic(using=alias):
            rows = WorkerHeartbeat.objects.using(alias).filter(name=process_name(process_id), ended_at=None)
            rows.update(ended_at=now, ending=reason[:100])
    except Exception as error:  # noqa: BLE001 - contained
        log_error(_logger, "The end of a worker process could not be written", error=error)


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """A worker process, and the seconds since it was last seen."""

    row: WorkerHeartbeat
    seen_seconds: float

    @property
    def state(self) -> str:
        """Return "running", "ended", or for a process that has not ended and was not seen recently "silent" or "idle".

        A loop is silent. A process of a queue is idle: nothing shows whether the queue stopped it or has no task for
        it. Their rows are removed after a day.
        """
        if self.row.ended_at is not None:
            return "ended"
        if self.seen_seconds <= SILENT_SECONDS:
            return "running"
        return "silent" if self.row.is_loop else "idle"

    def is_expected_back(self, missed: float, *, late: float, lag: float) -> bool:
        """Return whether the worker will look for due rows soon. The oldest one has been due for `lag` seconds.

        A loop must be running. A command or a task must have been called in the last `missed` seconds. If it was not
        called since the row became due, it must be called regularly, and in the last `late` seconds.
        """
        if self.row.is_loop:
            return self.state == "running"
        if self.seen_seconds <= lag:
            return self.seen_seconds <= missed
        return self.seen_seconds <= late and (self.row.ended_at is None or self._is_in_series)

    @property
    def _is_in_series(self) -> bool:
        return (self.row.seen_at - self.row.started_at).total_seconds() > SERIES_SECONDS


def seen_workers(difference: float | None) -> list[SeenWorker]:
    """Return the workers of the last day, latest first. `difference` is the result of `clock_difference`.

    A heartbeat from the future was written before the database clock was set back: it is as old as it is ahead.
    """
    now = database_now(difference)
    rows = _latest(MAX_ROWS, seen_at__gt=now - KEEP)
    return [SeenWorker(row, abs((now - row.seen_at).total_seconds())) for row in rows if row.seen_at is not None]


def seconds_without_workers(difference: float | None) -> float | None:
    """Return how long ago a worker was last seen, or None if none ever was. Rows are removed only while workers run."""
    now = database_now(difference)
    return next((abs((now - row.seen_at).total_seconds()) for row in _latest(1)), None)


def _latest(limit: int, **conditions: Any) -> list[WorkerHeartbeat]:
    alias = outbox_database()
    # if the table is missing, a surrounding transaction goes on
    with transaction.atomic(using=alias) if is_inside_transaction(alias) else nullcontext():
        return list(WorkerHeartbeat.objects.using(alias).filter(**conditions).order_by("-seen_at")[:limit])


def _remove_old(now: datetime) -> None:
    alias = outbox_database()
    rows = WorkerHeartbeat.objects.using(alias)
    old = list(rows.filter(seen_at__lt=now - KEEP).values_list("pk", flat=True)[:DELETED_AT_ONCE])
    old += rows.order_by("-seen_at", "-pk").values_list("pk", flat=True)[MAX_ROWS : MAX_ROWS + DELETED_AT_ONCE]
    if old:
        rows.filter(pk__in=old).delete()


_current: ContextVar[Heartbeat | None] = ContextVar("webpush_kit_heartbeat", default=None)

_of_tasks: dict[tuple[Any, ...], Heartbeat] = {}

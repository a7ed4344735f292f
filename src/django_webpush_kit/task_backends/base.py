"""Base classes of the task backends, which send wake-ups to workers: "deliver due notifications".

A wake-up carries no data, because the outbox is in the database. Losing or repeating one does no harm: the periodic
sweep does the same work.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from uuid import UUID

from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils.module_loading import import_string

from django_webpush_kit.caching import ask_cache, scoped_key
from django_webpush_kit.conf import backend_spec
from django_webpush_kit.database import call_on_commit
from django_webpush_kit.error_reports import log_error
from django_webpush_kit.outages import Guard, guard_of

WAKE_UP_TASK = "django_webpush_kit.tasks.wake_up"
DELIVER_TASK = "django_webpush_kit.tasks.deliver_batches"

MAX_IMMEDIATE_ROWS = 100
"""How many rows a request delivers itself."""

WAKE_UP_PENDING_KEY = "wake"
"""Cache key that is set while a wake-up is waiting in the queue. Each tenant has its own."""

WAKE_UP_PENDING_SECONDS = 30
"""A lost wake-up prevents new ones for at most this time."""

BROKER_AWAY = "broker-away"
BROKER_AWAY_SECONDS = 120
"""How long health and `push_doctor` report that a process could not reach the broker."""

_logger = logging.getLogger(__name__)


class TaskBackend(ABC):
    """Base of all task backends. `BackendClass(**options)` raises TypeError for an unknown option.

    `seconds` limits the duration of one delivery task, so that it ends before the queue's timeout. None means no limit.
    """

    seconds: float | None = None

    start_hint = "Start one: `python manage.py deliver_push --loop`, or run `deliver_push` every minute from cron."
    """What health says if notifications are due and no worker runs."""

    @property
    def delivers_in_requests(self) -> bool:
        """Whether `wake` itself delivers. Then a message that was sent does not show that a worker runs."""
        return False

    @abstractmethod
    def wake(self, batches: Sequence[UUID] = ()) -> None:
        """Have due notifications delivered soon. Called after commit; the caller logs errors."""

    def wake_all(self) -> None:
        """Wake all workers, because a broadcast has rows for each of them."""
        self.wake()

    def install_schedules(self) -> list[str]:
        """Install the periodic tasks and return their names.

        Raises ImproperlyConfigured for queues that do not store schedules in the database.
        """
        raise ImproperlyConfigured(
            f"{type(self).__name__} stores no schedules in the database. Run the sweep every minute yourself: "
            "`manage.py deliver_push` from cron or systemd, `deliver_push --loop`, or the queue's own scheduler "
            "calling django_webpush_kit.tasks.send_scheduled_notifications."
        )

    def check(self) -> list[CheckMessage]:
        """Return system check messages about the options and the installation of this backend."""
        return []


class QueueBackend(TaskBackend):
    """Base of backends that put wake-ups into a queue. While one is waiting there, no other is enqueued.

    This is recorded in Django's cache. If processes do not share the cache (LocMem, Dummy), every transaction enqueues
    a wake-up. A queue that runs its tasks at once, in the calling process, overrides `delivers_in_requests`.
    """

    workers = 2

    start_hint = "Start the queue's workers, and its scheduler, which calls send_scheduled_notifications every minute."

    is_remote = True
    """Whether the broker is a separate server. Its calls time out after `outages.CALL_SECONDS`. Calls to a broker that
    is a database table run in the caller's thread, on the caller's database connection."""

    def wake(self, batches: Sequence[UUID] = ()) -> None:
        """Enqueue one wake-up, unless one is waiting or the broker has just failed to answer."""
        if self.delivers_in_requests:
            deliver_now(batches)
        elif not self._broker.is_away and _mark_wake_up_pending():
            try:
                self._enqueue(1)
            except Exception:
                clear_pending_wake_up()
                raise

    def wake_all(self) -> None:
        """Enqueue one wake-up per worker. If the broker is down, the periodic sweep finds the rows."""
        if self.delivers_in_requests:
            return
        with suppress(Exception):  # it is logged
            self._enqueue(self.workers)

    @abstractmethod
    def enqueue(self) -> None:
        """Put `WAKE_UP_TASK` into the queue."""

    def find_outage(self) -> str:
        """Return the error type of the last wake-up in any process, or "" if it succeeded."""
        return self._broker.error or ask_cache(lambda cache: cache.get(scoped_key(BROKER_AWAY))) or ""

    def _enqueue(self, number: int) -> None:
        was_away = bool(self._broker.error)
        try:
            for _ in range(number):
                self._broker.call(self.enqueue, is_remote=self.is_remote)
        except Exception:
            key, error = scoped_key(BROKER_AWAY), self._broker.error
            ask_cache(lambda cache: cache.set(key, error, BROKER_AWAY_SECONDS))
            raise
        if was_away:
            key = scoped_key(BROKER_AWAY)
            ask_cache(lambda cache: cache.delete(key))

    @cached_property
    def _broker_name(self) -> str:
        return f"{type(self).__qualname__} {sorted(vars(self).items())}"

    @property
    def _broker(self) -> Guard:
        return guard_of("The broker of the task backend", self._broker_name)


def get_task_backend() -> TaskBackend:
    """Return the backend of the setting `TASK_BACKEND`. Raises ImproperlyConfigured for invalid options."""
    path, options = backend_spec("TASK_BACKEND")
    try:
        backend: TaskBackend = import_string(path)(**options)
    except TypeError as error:
        raise ImproperlyConfigured(f'WEBPUSH_KIT["TASK_BACKEND"]: {path}: {error}') from error
    return backend


def deliver_now(batches: Sequence[UUID]) -> None:
    """Deliver at most `MAX_IMMEDIATE_ROWS` rows of these batches in the calling process."""
    import_string(DELIVER_TASK)(batches, MAX_IMMEDIATE_ROWS)


def wake_on_commit(batch: UUID, *, using: str) -> None:
    """Wake the workers once after the surrounding transaction commits, even if it writes several batches."""
    callbacks = (function for _savepoints, function, *_rest in transaction.get_connection(using).run_on_commit)
    earlier = next((function for function in callbacks if isinstance(function, _WakeUp)), None)
    batches = earlier.batches if earlier else []
    batches.append(batch)
    call_on_commit(_WakeUp(batches), using=using)


def clear_pending_wake_up() -> None:
    """Let new rows enqueue a wake-up again. A worker calls this before it looks for due rows."""
    key = scoped_key(WAKE_UP_PENDING_KEY)
    ask_cache(lambda cache: cache.delete(key))


def _mark_wake_up_pending() -> bool:
    """Return whether a wake-up must be enqueued, because none is waiting or the cache does not answer."""
    key = scoped_key(WAKE_UP_PENDING_KEY)
    return ask_cache(lambda cache: cache.add(key, 1, WAKE_UP_PENDING_SECONDS)) is not False


class _WakeUp:
    """An on_commit callback. The callbacks of a transaction share `batches`; the first one wakes the workers.

    Every call registers its own callback. A shared one could be lost in test cases, which run only the callbacks of one
    block.
    """

    def __init__(self, batches: list[UUID]) -> None:
        self.batches = batches

    def __call__(self) -> None:
        batches = self.batches.copy()
        self.batches.clear()
        if not batches:
            return
        try:
            get_task_backend().wake(batches)
        except Exception as error:  # noqa: BLE001 - contained
            names = ", ".join(map(str, batches))
            log_error(_logger, "The wake-up failed; the periodic sweep will deliver the batches %s", names, error=error)

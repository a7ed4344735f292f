"""Task backends carry wake-ups: "deliver what is due", without data.

The database is the outbox and the only truth, so a wake-up may be lost or doubled at will; the periodic sweep makes
the same call.
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
from django_webpush_kit.error_reports import log_error
from django_webpush_kit.outages import Guard, guard_of

WAKE_UP_TASK = "django_webpush_kit.tasks.wake_up"

WAKE_MARK = "wake"
"""The name of the cache entry that says that a wake-up waits; each tenant has its own."""

WAKE_MARK_SECONDS = 30
"""A wake-up that was lost keeps others from being sent for this long at most."""

BROKER_AWAY = "broker-away"
BROKER_AWAY_SECONDS = 120
"""How long the doctor and health can tell that a process could not reach the broker."""

_logger = logging.getLogger(__name__)


class TaskBackend(ABC):
    """Base of all task backends: `BackendClass(**options)`, an unknown option is a TypeError.

    `seconds` bounds one delivery task, so that it ends before its queue would take it for dead; None: no bound.
    """

    seconds: float | None = None

    @abstractmethod
    def wake(self, batches: Sequence[UUID] = ()) -> None:
        """Have what is due delivered soon. Called after commit; errors are logged by the caller, not raised."""

    def wake_all(self) -> None:
        """Wake as many workers as there are: a broadcast has rows for all of them."""
        self.wake()

    def install_schedules(self) -> list[str]:
        """Install the periodic tasks and return their names, where the queue keeps schedules in the database."""
        raise ImproperlyConfigured(
            f"{type(self).__name__} keeps no schedules in the database. Run the sweep every minute yourself: "
            "`manage.py deliver_push` from cron or systemd, `deliver_push --loop`, or the queue's own scheduler "
            "calling django_webpush_kit.tasks.send_scheduled_notifications."
        )

    def check(self) -> list[CheckMessage]:
        """System check messages about this backend's options and surroundings."""
        return []


class QueueBackend(TaskBackend):
    """Base of backends that put the wake-up into a queue; a wake-up that is still waiting there is not doubled.

    Whether one is waiting stands in Django's cache. A cache that other processes do not share (locmem, dummy) cannot
    tell, and then every transaction enqueues its own.
    """

    workers = 2

    is_remote = True
    """Whether the broker is a server of its own: then a wake-up waits for it `outages.CALL_SECONDS` at most. A broker
    that is a table is asked in the caller's thread, over the caller's database connection."""

    def wake(self, batches: Sequence[UUID] = ()) -> None:
        """Enqueue one wake-up, unless one is waiting or the broker did not answer a moment ago."""
        if not self._broker.is_away and _set_wake_mark():
            try:
                self._enqueue(1)
            except Exception:
                clear_wake_mark()
                raise

    def wake_all(self) -> None:
        """Enqueue one wake-up per worker. A broker that is away stops nothing: the sweep finds the rows, too."""
        with suppress(Exception):  # it is logged
            self._enqueue(self.workers)

    @abstractmethod
    def enqueue(self) -> None:
        """Put `WAKE_UP_TASK` into the queue."""

    def find_outage(self) -> str:
        """Return the type of the error that the last wake-up met, in this process or any other; "" for none."""
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
    """The backend of the setting `TASK_BACKEND`."""
    path, options = backend_spec("TASK_BACKEND")
    try:
        backend: TaskBackend = import_string(path)(**options)
    except TypeError as error:
        raise ImproperlyConfigured(f'WEBPUSH_KIT["TASK_BACKEND"]: {path}: {error}') from error
    return backend


def wake_on_commit(batch: UUID, *, using: str) -> None:
    """Wake the workers once after the surrounding transaction commits, however many batches it writes."""
    callbacks = (function for _savepoints, function, *_rest in transaction.get_connection(using).run_on_commit)
    earlier = next((function for function in callbacks if isinstance(function, _WakeUp)), None)
    batches = earlier.batches if earlier else []
    batches.append(batch)
    transaction.on_commit(_WakeUp(batches), using=using, robust=True)


def clear_wake_mark() -> None:
    """Called by a worker before it looks: what is written from now on needs a wake-up of its own."""
    key = scoped_key(WAKE_MARK)
    ask_cache(lambda cache: cache.delete(key))


def _set_wake_mark() -> bool:
    """Whether a wake-up has to be enqueued: none is known to wait. A cache that is away holds up no delivery."""
    key = scoped_key(WAKE_MARK)
    return ask_cache(lambda cache: cache.add(key, 1, WAKE_MARK_SECONDS)) is not False


class _WakeUp:
    """One of a transaction's on_commit callbacks. They share `batches`: the first that runs wakes for all of them.

    Every call registers its own, because test cases run the callbacks of one block at a time, and Django keeps those
    that have run: a wake-up that relied on one from before the block would never come.
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
            log_error(_logger, "The wake-up failed; the sweep will deliver the batches %s", names, error=error)

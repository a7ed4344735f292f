"""Celery: wake-ups are tasks, and the periodic sweep is an entry of the beat schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_webpush_kit.task_backends.base import WAKE_UP_TASK, QueueBackend

DEFAULT_SECONDS = 60.0


class CeleryBackend(QueueBackend):
    """Wakes Celery workers.

    Options: `queue`, the queue for wake-ups; `seconds`, the maximum duration of one delivery task; `workers`, the
    number of workers to wake for a broadcast; `app`, the dotted path of the Celery app (default: the current app).

    Celery's autodiscovery finds the tasks in `tasks.py`. For `CELERY_BEAT_SCHEDULE`:

        {"webpush-kit-sweep": {"task": "send_scheduled_notifications", "schedule": 60.0},
         "webpush-kit-cleanup": {"task": "cleanup_expired_subscriptions", "schedule": 3600.0}}
    """

    start_hint = "Start them: `celery -A PROJECT worker`, and `celery -A PROJECT beat` for the sweep every minute."

    def __init__(
        self,
        *,
        queue: str | None = None,
        seconds: float = DEFAULT_SECONDS,
        workers: int = 2,
        app: str | None = None,
    ) -> None:
        if find_spec("celery") is None:
            raise ImproperlyConfigured("CeleryBackend needs Celery: pip install django-webpush-kit[celery].")
        self.queue = queue
        self.seconds = seconds
        self.workers = workers
        self.app = import_string(app) if app else _current_app()

    @property
    def delivers_in_requests(self) -> bool:
        """Whether `task_always_eager` is set. `send_task` would ignore it and wait for a broker."""
        with suppress(Exception):  # `enqueue` raises it again: Celery refuses its settings
            return bool(self.app.conf.task_always_eager)
        return False

    def enqueue(self) -> None:
        """Send the wake-up to the broker, without retries."""
        self.app.send_task(WAKE_UP_TASK, queue=self.queue, retry=False, ignore_result=True)

    def is_app_missing(self) -> bool:
        """Return whether the project has no Celery app: the current app is Celery's default, without a broker."""
        return _is_default(self.app) and not self.app.conf.broker_url


def _current_app() -> Any:
    """Return the current app. Threads other than the main one may have none: use the project's only app there."""
    from celery import _state  # Celery is optional
    from celery.app import app_or_default

    current = app_or_default()
    if _is_default(current):
        made = [app for app in _state._get_active_apps() if not _is_default(app)]  # noqa: SLF001  # no public name
        if len(made) == 1:
            return made[0]
    return current


def _is_default(app: Any) -> bool:
    return bool(app.main == "default" and not app.set_as_current)


def register_tasks(tasks: Mapping[str, Callable[..., Any]]) -> None:
    """Register functions as Celery tasks under these names, if Celery is installed."""
    if find_spec("celery") is not None:
        from celery import shared_task

        for name, function in tasks.items():
            shared_task(name=name, ignore_result=True)(function)

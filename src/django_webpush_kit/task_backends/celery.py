"""Celery: wake-ups as tasks, the sweep in its beat schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.task_backends.base import WAKE_UP_TASK, QueueBackend

DEFAULT_SECONDS = 60.0


class CeleryBackend(QueueBackend):
    """Wakes Celery workers.

    Options: `queue`, the name of the queue for wake-ups; `seconds`, the longest one delivery task may run; `workers`,
    how many are woken for a broadcast.

    Celery's autodiscovery finds the tasks in `tasks.py`. For `CELERY_BEAT_SCHEDULE`:

        {"webpush-kit-sweep": {"task": "send_scheduled_notifications", "schedule": 60.0},
         "webpush-kit-cleanup": {"task": "cleanup_expired_subscriptions", "schedule": 3600.0}}
    """

    def __init__(self, *, queue: str | None = None, seconds: float = DEFAULT_SECONDS, workers: int = 2) -> None:
        if find_spec("celery") is None:
            raise ImproperlyConfigured("CeleryBackend needs Celery: pip install django-webpush-kit[celery].")
        self.queue = queue
        self.seconds = seconds
        self.workers = workers

    def enqueue(self) -> None:
        """Send the wake-up to the broker, without waiting for a broker that is away."""
        from celery import current_app  # Celery is optional

        current_app.send_task(WAKE_UP_TASK, queue=self.queue, retry=False, ignore_result=True)


def register_tasks(tasks: Mapping[str, Callable[..., Any]]) -> None:
    """Make functions Celery tasks under these names, where Celery is installed."""
    if find_spec("celery") is not None:
        from celery import shared_task

        for name, function in tasks.items():
            shared_task(name=name, ignore_result=True)(function)

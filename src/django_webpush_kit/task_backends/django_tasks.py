"""Django's own tasks (6.0), or the `django-tasks` backport on 5.2."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_webpush_kit.task_backends.base import WAKE_UP_TASK, QueueBackend

DEFAULT_SECONDS = 60.0


class DjangoTasksBackend(QueueBackend):
    """Wakes the workers of Django tasks.

    Options: `backend`, the alias in TASKS; `queue_name`; `seconds`, the longest one delivery task may run; `workers`,
    how many are woken for a broadcast.
    """

    def __init__(
        self,
        *,
        backend: str = "default",
        queue_name: str = "default",
        seconds: float = DEFAULT_SECONDS,
        workers: int = 2,
    ) -> None:
        self.backend = backend
        self.queue_name = queue_name
        self.seconds = seconds
        self.workers = workers

    def enqueue(self) -> None:
        """Enqueue the wake-up."""
        task = _task_decorator()(backend=self.backend, queue_name=self.queue_name)
        task(import_string(WAKE_UP_TASK)).enqueue()


def _task_decorator() -> Any:
    if find_spec("django.tasks") is not None:
        from django.tasks import task

        return task
    try:
        from django_tasks import task as backport
    except ImportError:
        raise ImproperlyConfigured(
            "DjangoTasksBackend needs Django 6.0 or django-tasks: pip install django-webpush-kit[tasks]."
        ) from None
    return backport

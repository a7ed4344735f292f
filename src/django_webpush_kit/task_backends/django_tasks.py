"""Django tasks: part of Django 6.0, or the package `django-tasks` for Django 5.2."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_webpush_kit.task_backends.base import WAKE_UP_TASK, QueueBackend, get_task_backend

DEFAULT_SECONDS = 60.0


class DjangoTasksBackend(QueueBackend):
    """Wakes the workers of Django tasks.

    Options: `backend`, the alias in TASKS; `queue_name`; `seconds`, the maximum duration of one delivery task;
    `workers`, the number of workers to wake for a broadcast.
    """

    start_hint = (
        "Start the workers of the backend in TASKS, such as `python manage.py db_worker`, and run `deliver_push` every "
        "minute from cron."
    )

    is_remote = False
    """Most backends store tasks in a database table, or run them at once."""

    def __init__(
        self,
        *,
        backend: str = "default",
        queue_name: str = "default",
        seconds: float = DEFAULT_SECONDS,
        workers: int = 2,
    ) -> None:
        _task_decorator()
        self.backend = backend
        self.queue_name = queue_name
        self.seconds = seconds
        self.workers = workers

    def enqueue(self) -> None:
        """Enqueue the wake-up."""
        self.task().enqueue()

    def task(self) -> Any:
        """Return the wake-up as a `Task` for this backend's alias and queue."""
        return _task_decorator()(backend=self.backend, queue_name=self.queue_name)(_wake_up)


def _wake_up() -> dict[str, int]:
    result: dict[str, int] = import_string(WAKE_UP_TASK)()
    return result


_wake_up.__name__ = _wake_up.__qualname__ = "wake_up"


def __getattr__(name: str) -> Any:
    """Create `wake_up` on access, because it needs the setting TASKS. Database workers import this `Task` by path."""
    if name != "wake_up":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    backend = get_task_backend()
    return (backend if isinstance(backend, DjangoTasksBackend) else DjangoTasksBackend()).task()


def _task_decorator() -> Any:
    for module in ("django.tasks", "django_tasks"):
        if find_spec(module) is not None:
            return import_string(f"{module}.task")
    raise ImproperlyConfigured(
        "DjangoTasksBackend needs Django 6.0 or django-tasks: pip install django-webpush-kit[tasks]."
    )

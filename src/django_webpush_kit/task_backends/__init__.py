"""Task backends wake the workers when notifications are due."""

from django_webpush_kit.task_backends.base import QueueBackend, TaskBackend, get_task_backend, wake_on_commit
from django_webpush_kit.task_backends.celery import CeleryBackend
from django_webpush_kit.task_backends.django_q import DjangoQBackend
from django_webpush_kit.task_backends.django_tasks import DjangoTasksBackend
from django_webpush_kit.task_backends.immediate import ImmediateBackend
from django_webpush_kit.task_backends.null import NullBackend

__all__ = [
    "CeleryBackend",
    "DjangoQBackend",
    "DjangoTasksBackend",
    "ImmediateBackend",
    "NullBackend",
    "QueueBackend",
    "TaskBackend",
    "get_task_backend",
    "wake_on_commit",
]

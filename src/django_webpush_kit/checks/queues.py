"""Check that the queue behind `TASK_BACKEND` is set up."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from django_webpush_kit.checks import messages
from django_webpush_kit.checks.messages import CheckTable, Messages, named
from django_webpush_kit.database import outbox_database
from django_webpush_kit.task_backends import CeleryBackend, DjangoTasksBackend, ImmediateBackend, get_task_backend

MIN_SQLITE_TIMEOUT = 20
"""Recommended wait for another connection's write lock, in seconds. Python's default is 5."""

SQLITE_OPTIONS = (
    '"OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL"}'
)


def _queue() -> Messages:
    try:
        backend: object = get_task_backend()
    except (ImproperlyConfigured, ImportError):
        return  # the check of TASK_BACKEND reports the problem
    if not isinstance(backend, ImmediateBackend):  # then workers write beside requests
        yield from shared_sqlite(outbox_database())
    if isinstance(backend, CeleryBackend):
        yield from _celery(backend)
    elif isinstance(backend, DjangoTasksBackend):
        yield from _django_tasks(backend)


def shared_sqlite(alias: str) -> Messages:
    """Report SQLite without the options that let several processes write to it."""
    if alias not in connections or connections[alias].vendor != "sqlite":
        return
    options = connections[alias].settings_dict.get("OPTIONS") or {}
    missing = []
    if str(options.get("transaction_mode", "")).upper() != "IMMEDIATE":
        missing.append("transaction_mode")
    if not _is_at_least(options.get("timeout"), MIN_SQLITE_TIMEOUT):
        missing.append("timeout")
    if "wal" not in str(options.get("init_command", "")).lower():
        missing.append("init_command (journal_mode=WAL)")
    if missing:
        yield messages.warning(
            21,
            f'DATABASES["{alias}"] is SQLite without the options {", ".join(missing)}. While a worker runs, '
            'send() can fail with "database is locked".',
            f"Set {SQLITE_OPTIONS}.",
        )


def _is_at_least(value: Any, minimum: float) -> bool:
    return isinstance(value, int | float) and value >= minimum


def _celery(backend: CeleryBackend) -> Messages:
    if backend.is_app_missing():
        yield messages.warning(
            22,
            "No Celery app of your project is loaded, so wake-ups go to Celery's default broker, "
            "amqp://guest@localhost.",
            'Import the app in the __init__.py of your project package: "from .celery import app as celery_app". '
            'Or name it in the option "app" of CeleryBackend.',
        )


def _django_tasks(backend: DjangoTasksBackend) -> Messages:
    try:
        task_backend = backend.task().get_backend()
    except ImproperlyConfigured as error:
        yield messages.error(
            7, f"{named('TASK_BACKEND')}: {error}", "Install the package, and list the backend in the setting TASKS."
        )
        return
    kind = type(task_backend)
    consequence = _WITHOUT_WORKERS.get(kind.__name__)
    if consequence:
        yield messages.warning(
            23,
            f'TASKS["{backend.backend}"] uses {kind.__module__}.{kind.__name__}, which {consequence}.',
            "Use a backend with workers, such as django_tasks_db.DatabaseBackend.",
        )


_WITHOUT_WORKERS = {"ImmediateBackend": "runs every wake-up in the request", "DummyBackend": "runs no task"}


CHECKS: CheckTable = ((("TASK_BACKEND",), _queue),)

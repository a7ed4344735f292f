"""Checks of `push_doctor` for the queue: broker, periodic tasks and workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router

from django_webpush_kit.management.findings import Finding, failure
from django_webpush_kit.task_backends import (
    CeleryBackend,
    DjangoQBackend,
    TaskBackend,
    get_task_backend,
)
from django_webpush_kit.task_backends.django_q import SCHEDULES

SWEEP = "send_scheduled_notifications"
"""Name of the periodic task that delivers due notifications."""


def examine_queue() -> Iterator[Finding]:
    """Check that the broker answers and that periodic tasks exist. Health reports missing workers."""
    try:
        backend: TaskBackend = get_task_backend()
    except (ImproperlyConfigured, ImportError):
        return  # reported with the settings
    if isinstance(backend, DjangoQBackend):
        yield from _django_q()
    elif isinstance(backend, CeleryBackend):
        yield from _celery(backend)


def _django_q() -> Iterator[Finding]:
    if "django_q" not in settings.INSTALLED_APPS:
        return  # reported with the settings
    from django_q.models import Schedule  # django-q2 is optional

    connection = connections[router.db_for_read(Schedule)]
    if Schedule._meta.db_table not in connection.introspection.table_names():
        yield Finding("error", "schedules", "The tables of django_q do not exist.", "python manage.py migrate django_q")
        return
    broker_failure = _django_q_broker_failure()
    if broker_failure:
        yield Finding(
            "error",
            "broker",
            f"The broker of django-q2 does not answer: {broker_failure}. Wake-ups are lost until it does.",
            "Start the broker, or correct Q_CLUSTER.",
        )
    if Schedule.objects.filter(name__in=SCHEDULES).count() < len(SCHEDULES):
        yield Finding("error", "schedules", "The periodic tasks are not installed.", "python manage.py push_schedule")


def _django_q_broker_failure() -> str:
    from django_q.brokers import get_broker  # django-q2 is optional
    from django_q.conf import Conf

    # the ORM broker is the database, which was checked before
    return "" if Conf.ORM else failure(lambda: get_broker().ping())


def _celery(backend: CeleryBackend) -> Iterator[Finding]:
    if backend.is_app_missing():
        return  # reported with the settings
    broker_failure = failure(lambda: _connect(backend.app))
    if broker_failure:
        yield Finding(
            "error",
            "broker",
            f"Celery's broker does not answer: {broker_failure}. Wake-ups are lost until it does.",
            "Start the broker, or correct broker_url of the Celery app.",
        )
    if not _has_beat_entry(backend.app):
        yield Finding(
            "error",
            "schedules",
            f"The beat schedule has no entry for {SWEEP}, so nothing sends retries and scheduled notifications.",
            "Add the two entries that the how-to for queues shows to CELERY_BEAT_SCHEDULE, and run celery beat.",
        )


def _connect(app: Any) -> None:
    with app.connection_for_write(connect_timeout=3) as connection:
        connection.connect()


def _has_beat_entry(app: Any) -> bool:
    """Return whether the beat schedule has the sweep. Schedulers other than Celery's own cannot be read: assume yes."""
    if app.conf.beat_scheduler != "celery.beat:PersistentScheduler":
        return True
    return any(entry.get("task") == SWEEP for entry in app.conf.beat_schedule.values())

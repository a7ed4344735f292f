"""django-q2: wake-ups are tasks, and the periodic sweep is a schedule (https://django-q2.readthedocs.io)."""

from __future__ import annotations

from importlib.util import find_spec
from os import cpu_count
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.task_backends.base import WAKE_UP_TASK, QueueBackend

SHARE_OF_TIMEOUT = 0.5
"""A delivery task claims rows for this fraction of the cluster's `timeout` or `retry` (the shorter one). The rest of
the time is reserved for requests in flight."""

DEFAULT_RETRY = 60
"""django-q2's default of `retry` in Q_CLUSTER, in seconds."""

SCHEDULES = {
    "webpush-kit: deliver due notifications": ("django_webpush_kit.tasks.send_scheduled_notifications", 1),
    "webpush-kit: clean up": ("django_webpush_kit.tasks.cleanup_expired_subscriptions", 60),
}
"""Name: (dotted path of the task, minutes between runs)."""

SCHEDULE_KEYWORDS = "q_options={'ack_failure': True}"
"""Acknowledge failures, or the ORM broker retries forever. The next run does the same work."""


class DjangoQBackend(QueueBackend):
    """Wakes django-q2 workers.

    Options: `cluster`, the name of the cluster that runs wake-ups (default: the one in Q_CLUSTER).
    """

    start_hint = "Start them: `python manage.py qcluster`."

    def __init__(self, *, cluster: str | None = None) -> None:
        if find_spec("django_q") is None:
            raise ImproperlyConfigured(
                "DjangoQBackend needs django-q2: pip install django-webpush-kit[q2]; then add 'django_q' to "
                "INSTALLED_APPS."
            )
        self.cluster = cluster
        retry = _q_cluster().get("retry", DEFAULT_RETRY)
        self.seconds = min(_q_cluster().get("timeout") or retry, retry) * SHARE_OF_TIMEOUT
        self.workers = _q_cluster().get("workers") or cpu_count() or 1
        self.is_remote = not _q_cluster().get("orm")

    @property
    def delivers_in_requests(self) -> bool:
        """Whether Q_CLUSTER has `sync`: its tasks run in the calling process."""
        return bool(_q_cluster().get("sync"))

    def enqueue(self) -> None:
        """Put the wake-up into the broker."""
        from django_q.tasks import async_task  # django-q2 is optional

        options = {"cluster": self.cluster} if self.cluster else {}
        # ack_failure: the ORM broker would retry a failed wake-up forever; the periodic sweep does the same work
        async_task(WAKE_UP_TASK, task_name="webpush-kit wake-up", save=False, ack_failure=True, **options)

    def install_schedules(self) -> list[str]:
        """Create or update the schedules: the sweep every minute, the cleanup every hour."""
        from django_q.models import Schedule  # django-q2 is optional

        for name, (function, minutes) in SCHEDULES.items():
            values: dict[str, Any] = {
                "func": function,
                "schedule_type": Schedule.MINUTES,
                "minutes": minutes,
                "repeats": -1,
                "cluster": self.cluster,
                "kwargs": SCHEDULE_KEYWORDS,
            }
            schedules = Schedule.objects.filter(name=name)
            if not schedules.update(**values):
                Schedule.objects.create(name=name, **values)
        return list(SCHEDULES)

    def check(self) -> list[checks.CheckMessage]:
        """Check that django_q is installed, and that the cluster does not run tasks twice."""
        if "django_q" not in settings.INSTALLED_APPS:
            return [checks.Error("DjangoQBackend needs 'django_q' in INSTALLED_APPS.", id="webpush_kit.E020")]
        cluster = _q_cluster()
        timeout, retry = cluster.get("timeout"), cluster.get("retry", DEFAULT_RETRY)
        if timeout and retry <= timeout:
            return [
                checks.Warning(
                    f"Q_CLUSTER: retry ({retry} s) must be well above timeout ({timeout} s), or tasks run twice.",
                    id="webpush_kit.W020",
                )
            ]
        return []


def _q_cluster() -> dict[str, Any]:
    return getattr(settings, "Q_CLUSTER", {})

"""`manage.py push_schedule`: install the queue's periodic tasks."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from django_webpush_kit.management.reporting import ReportingCommand
from django_webpush_kit.task_backends import get_task_backend


class Command(ReportingCommand):
    """Create or update the schedules. Safe to run again."""

    help = (
        "Install the schedules (deliver every minute, clean up hourly) in the queue that TASK_BACKEND names. Safe to "
        "run at every deployment."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Install the schedules and print their names."""
        try:
            names = get_task_backend().install_schedules()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        for name in names:
            self.stdout.write(f"Scheduled: {name}")

"""`manage.py push_resume`: resume sending after `push_pause`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from django_webpush_kit.delivery.manual_pause import ALL_SERVICES, paused_by_hand, resume
from django_webpush_kit.management.reporting import ReportingCommand
from django_webpush_kit.task_backends import get_task_backend


class Command(ReportingCommand):
    """End the pauses of `push_pause`."""

    help = "Resume sending: end all pauses made by push_pause, or only that of one push service."

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        chosen = parser.add_mutually_exclusive_group()
        chosen.add_argument("service", nargs="?", help="resume only this push service")
        chosen.add_argument("--all", action="store_true", help="end all pauses, as without an argument")

    def handle(self, *args: Any, **options: Any) -> None:
        """End the pauses, wake the workers, and print the remaining pauses."""
        named = options["service"]
        if resume(paused_by_hand() if named is None else [named.strip().lower()]):
            self.stdout.write("Sending is resumed.")
            get_task_backend().wake_all()
        else:
            self.stdout.write("Nothing was paused by hand." if named is None else f"{named} was not paused by hand.")
        for service in paused_by_hand():
            name = "all sending" if service == ALL_SERVICES else service
            self.stdout.write(f"Still paused: {name}")

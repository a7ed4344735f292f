"""`manage.py push_retry`: send failed notifications again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser

from django_webpush_kit.database import outbox_database
from django_webpush_kit.management.arguments import moment
from django_webpush_kit.management.reporting import ReportingCommand
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.outbox.retries import retriable, retry_failed


class Command(ReportingCommand):
    """Make failed notifications pending again."""

    help = (
        "Send failed notifications again, selected by batch, type or time. Those of inactive subscriptions "
        "are skipped. Those past their deadline expire."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the options."""
        parser.add_argument("--batch", type=UUID, help="notifications of this batch (a UUID)")
        parser.add_argument("--type", help="notifications of this type")
        parser.add_argument("--since", type=moment, help='created since, for example "2026-03-01 08:00"')
        parser.add_argument("--until", type=moment, help="created before")
        parser.add_argument("--dry-run", action="store_true", help="only print the number of notifications")

    def handle(self, *args: Any, **options: Any) -> None:
        """Retry the selected notifications and print their number."""
        conditions = {
            "batch": options["batch"],
            "type": options["type"],
            "created_at__gte": options["since"],
            "created_at__lt": options["until"],
        }
        given = {name: value for name, value in conditions.items() if value is not None}
        if not given:
            raise CommandError("Select the notifications with --batch, --type, --since or --until.")
        chosen = get_notification_model().objects.using(outbox_database()).filter(**given)
        if options["dry_run"]:
            self.stdout.write(f"Failed notifications that can be sent again: {retriable(chosen).count()}")
            return
        self.stdout.write(f"Failed notifications to be sent again: {retry_failed(chosen)}")

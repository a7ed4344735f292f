"""`manage.py push_pause`: stop sending now, to one push service or to all."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_webpush_kit.database import outbox_database
from django_webpush_kit.delivery.manual_pause import ALL_SERVICES, pause
from django_webpush_kit.management.reporting import ReportingCommand
from django_webpush_kit.models import get_subscription_model


class Command(ReportingCommand):
    """Pause sending until `push_resume`."""

    help = (
        "Stop sending now, to one push service or to all, until push_resume. Notifications stay in the outbox; those "
        "whose deadline passes in the meantime expire."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        chosen = parser.add_mutually_exclusive_group(required=True)
        chosen.add_argument("service", nargs="?", help="a push service, such as fcm.googleapis.com")
        chosen.add_argument("--all", action="store_true", help="pause all sending")

    def handle(self, *args: Any, **options: Any) -> None:
        """Pause one push service or all sending, and print the result."""
        service = ALL_SERVICES if options["all"] else options["service"].strip().lower()
        if not options["all"]:
            _check_is_in_use(service)
        name = service or "all push services"
        if pause(service):
            self.stdout.write(f"Sending to {name} is paused. Requests in flight are completed.")
        else:
            self.stdout.write(f"Sending to {name} is already paused.")
        self.stdout.write("Resume it with `manage.py push_resume`.")


def _check_is_in_use(service: str) -> None:
    """Refuse a push service that no subscription uses, because a misspelt name would pause nothing."""
    subscriptions = get_subscription_model().objects.using(outbox_database())
    if service and subscriptions.filter(push_service=service).exists():
        return
    names = sorted(set(subscriptions.order_by().values_list("push_service", flat=True).distinct()))
    raise CommandError(
        f"No subscription uses the push service {service!r}. In use: {', '.join(names) or 'none'}. "
        "Use --all to pause all sending."
    )

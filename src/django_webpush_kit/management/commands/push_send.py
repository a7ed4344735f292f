"""`manage.py push_send USER TITLE`: send a notification from the command line."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.transport import close_transport
from django_webpush_kit.exceptions import WebPushKitError
from django_webpush_kit.management.arguments import json_object
from django_webpush_kit.management.reporting import ReportingCommand
from django_webpush_kit.management.users import find_user
from django_webpush_kit.outbox.batches import SendResult
from django_webpush_kit.protocol.responses import URGENCIES
from django_webpush_kit.states import NotificationStatus

SEND_OPTIONS = ("url", "icon", "tag", "ttl", "urgency", "topic", "data", "idempotency_key")


NO_BROWSER = (
    "The user has no active subscription. Log in as this user in a browser, open a page with the switch "
    "(<webpush-toggle>), and turn notifications on."
)

DONE = (NotificationStatus.SENT, NotificationStatus.FAILED, NotificationStatus.EXPIRED)


class Command(ReportingCommand):
    """Queue a notification for a user. With `--now`, deliver it in this process and print the outcome."""

    help = "Send a notification to all browsers of a user: a title and a body, or a template with its context."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("user", metavar="USER", help="the login name of the user")
        parser.add_argument("title", nargs="?", help="unless --template is given")
        parser.add_argument("body", nargs="?", default="")
        parser.add_argument("--template", metavar="TYPE", help="the notification template to render")
        parser.add_argument(
            "--context", type=json_object, metavar="JSON", help="with --template: the template's variables"
        )
        parser.add_argument("--type", help="without --template: the notification type, for preferences")
        parser.add_argument("--now", action="store_true", help="deliver it in this process and print the outcome")
        parser.add_argument("--critical", action="store_true", help="bypass preferences and quiet hours")
        parser.add_argument("--url", help="the URL that a click opens")
        parser.add_argument("--icon")
        parser.add_argument("--tag")
        parser.add_argument("--topic")
        parser.add_argument("--ttl", type=int, help="seconds")
        parser.add_argument("--urgency", choices=URGENCIES)
        parser.add_argument("--data", type=json_object, metavar="JSON")
        parser.add_argument("--idempotency-key")

    def handle(self, *args: Any, **options: Any) -> None:
        """Queue the notification, deliver it if requested, and print the result."""
        if bool(options["title"]) == bool(options["template"]):
            raise CommandError("Pass either TITLE or --template.")
        user = find_user(options["user"])
        given = {name: options[name] for name in SEND_OPTIONS} | {"critical": options["critical"] or None}
        try:
            if options["template"]:
                result = services.send_templated(options["template"], user, options["context"], **given)
            else:
                result = services.send(user, options["title"], options["body"], type=options["type"], **given)
        except (WebPushKitError, TypeError) as error:
            raise CommandError(str(error)) from error
        self._report(result)
        if options["now"]:
            self._deliver(result)
        elif result.notifications.filter(status__in=DONE[1:]).exists():
            self._print_rows(result)

    def _report(self, result: SendResult) -> None:
        if not (result.queued or result.deferred or result.suppressed):
            raise CommandError(NO_BROWSER)
        reused = " (already sent with this idempotency key)" if result.reused else ""
        self.stdout.write(
            f"Batch {result.batch}: {in_words(result)}, {result.deferred} for later, "
            f"{result.suppressed} suppressed{reused}"
        )

    def _deliver(self, result: SendResult) -> None:
        try:
            deliver_due(batch=result.batch)
        finally:
            close_transport()
        self._print_rows(result)

    def _print_rows(self, result: SendResult) -> None:
        for row in result.notifications.select_related("subscription"):
            reason = f": {row.failure_reason}" if row.failure_reason else ""
            self.stdout.write(f"{row.subscription.push_service}: {row.status}{reason}")


def in_words(result: SendResult) -> str:
    """Return what became of the queued rows: `ImmediateBackend` has sent them already."""
    counts = {str(status): result.notifications.filter(status=status).count() for status in DONE}
    counts["queued"] = max(0, result.queued - sum(counts.values()))
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "0 queued"

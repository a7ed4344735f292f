"""`manage.py push_erase USER`: delete everything stored about a user."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_webpush_kit.management.reporting import ReportingCommand
from django_webpush_kit.management.users import find_user
from django_webpush_kit.privacy import erase_user


class Command(ReportingCommand):
    """Delete a user's subscriptions, notifications and events, after confirmation."""

    help = "Delete everything stored about a user: subscriptions, notifications and events."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("user", metavar="USER", help="the login name of the user")
        parser.add_argument(
            "--no-input", "--noinput", action="store_false", dest="interactive", help="do not ask for confirmation"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, delete, and print the counts."""
        user = find_user(options["user"])
        if options["interactive"]:
            question = f"Delete all subscriptions and notifications of {options['user']}? Type 'yes' to continue: "
            try:
                answer = input(question)
            except EOFError:
                raise CommandError(
                    "Nothing was deleted: no answer. Pass --no-input to delete without asking."
                ) from None
            if answer != "yes":
                raise CommandError("Nothing was deleted.")
        counts = erase_user(user)
        self.stdout.write("Deleted: " + ", ".join(f"{count} {name}" for name, count in counts.items()))

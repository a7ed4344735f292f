"""`manage.py push_export USER`: print everything stored about a user."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandParser

from django_webpush_kit.management.reporting import DatabaseCommand
from django_webpush_kit.management.users import find_user
from django_webpush_kit.privacy import count_exported, export_json, exported_head, exported_notifications


class Command(DatabaseCommand):
    """Print the export as readable lines or as JSON."""

    help = "Print everything stored about a user: subscriptions, broadcasts they started, notifications and events."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("user", metavar="USER", help="the login name of the user")
        parser.add_argument("--json", action="store_true", help="print the complete export as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the export."""
        user = find_user(options["user"])
        if options["json"]:
            for piece in export_json(user):
                self.stdout.write(piece, ending="")
            return
        head = exported_head(user)
        self._list("subscriptions", len(head["subscriptions"]), head["subscriptions"])
        self._list("notifications", count_exported(user), exported_notifications(user))
        self._list("broadcasts", len(head["broadcasts"]), head["broadcasts"])

    def _list(self, name: str, count: int, entries: Iterable[dict[str, Any]]) -> None:
        self.stdout.write(f"{count} {name}")
        for entry in entries:
            self.stdout.write(f"  {READABLE[name](entry)}")


def _subscription(entry: dict[str, Any]) -> str:
    state = "active" if entry["is_active"] else f"inactive: {entry['deactivation_reason']}"
    return f"{entry['created_at'][:16]}  {entry['push_service']}  {state}"


def _notification(entry: dict[str, Any]) -> str:
    events = ", ".join(event["action_type"] for event in entry["events"])
    return f"{entry['created_at'][:16]}  {entry['status']}  {entry['title']}" + (f"  ({events})" if events else "")


def _broadcast(entry: dict[str, Any]) -> str:
    return f"{entry['created_at'][:16]}  {entry['status']}  {entry['type']} to {entry['audience']}"


READABLE = {"subscriptions": _subscription, "notifications": _notification, "broadcasts": _broadcast}

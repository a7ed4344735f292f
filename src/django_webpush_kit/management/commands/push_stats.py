"""`manage.py push_stats`: print delivery and engagement statistics."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_webpush_kit.analytics import NotificationAnalyticsService
from django_webpush_kit.delivery.pacing import send_limits


class Command(BaseCommand):
    """Print the statistics of a period."""

    help = "Print how many notifications were sent, shown and clicked in a period."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--days", type=int, default=30, help="length of the period (default: 30)")
        parser.add_argument("--type", help="count only this notification type")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the statistics."""
        if options["days"] < 1:
            raise CommandError("--days must be 1 or more.")
        period = {"days": options["days"], "type": options["type"]}
        service = NotificationAnalyticsService()
        stats = {
            "notifications": service.get_notification_stats(**period),
            "engagement": service.get_engagement_stats(**period),
            "types": service.get_type_stats(**period),
            "days": service.get_daily_stats(**period),
            "send_rates": [limit.as_json() for limit in send_limits()],
        }
        if options["json"]:
            self.stdout.write(json.dumps(stats, indent=2, default=str))
            return
        self.stdout.write(readable(stats))
        for limit in send_limits():
            self.stdout.write(str(limit))


def readable(stats: dict[str, Any]) -> str:
    """Return the totals and a table with one line for each type."""
    notifications, engagement = stats["notifications"], stats["engagement"]
    days, sent, failed = (notifications[name] for name in ("period_days", "total_sent", "total_failed"))
    lines = [
        f"Last {days} days: {sent} sent, {failed} failed, {_rate(notifications['delivery_rate'])} accepted",
        ", ".join(f"{engagement[name]} {name.replace('_', ' ')}" for name in engagement if name != "sent"),
    ]
    if stats["types"]:
        lines += ["", f"{'type':<30} {'sent':>9} {'failed':>9} {'accepted':>9} {'shown':>9} {'clicked':>9}"]
    for entry in stats["types"]:
        rates = " ".join(f"{_rate(entry[name]):>9}" for name in ("delivery_rate", "display_rate", "click_rate"))
        lines.append(f"{entry['type'] or '(none)':<30} {entry['sent']:>9} {entry['failed']:>9} {rates}")
    return "\n".join(lines)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value} %"

"""`manage.py push_stats`: print delivery and engagement statistics, or count days again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from django_webpush_kit.analytics import NotificationAnalyticsService
from django_webpush_kit.analytics.service import FILTERS
from django_webpush_kit.conf import MAX_DAYS
from django_webpush_kit.delivery.pacing import send_limits
from django_webpush_kit.management.interruption import INTERRUPTED, interruptible
from django_webpush_kit.management.reporting import DatabaseCommand
from django_webpush_kit.rollups.bounds import bounds_of
from django_webpush_kit.rollups.building import due_days, mark_changed, roll_up
from django_webpush_kit.rollups.days import last_days


class Command(DatabaseCommand):
    """Print the statistics of a period."""

    help = "Print how many notifications were accepted, shown and clicked in a period."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--days", type=int, default=30, help="length of the period, with today (default: 30)")
        parser.add_argument("--type", help="count only this notification type")
        parser.add_argument("--push-service", help="count only this push service, such as fcm.googleapis.com")
        parser.add_argument("--browser", help="count only this browser, such as Firefox")
        parser.add_argument("--template", help='count only this template, such as "news" or "news (de)"')
        parser.add_argument("--language", help="count only this language")
        parser.add_argument("--broadcast", help="count only this broadcast (its number)")
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument(
            "--rebuild",
            action="store_true",
            help="count the days of the period again from the notifications that still exist, and print the progress",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the statistics."""
        if not 1 <= options["days"] <= MAX_DAYS:
            raise CommandError(f"--days must be 1 or more, and {MAX_DAYS} or less.")
        if options["rebuild"]:
            self._rebuild(options["days"])
            return
        given = {name: options[name] for name in FILTERS if options[name] is not None}
        if len(given) > 1:
            raise CommandError("Statistics have one dimension: filter by one of " + ", ".join(given) + ".")
        service = NotificationAnalyticsService()
        report = service.get_report(options["days"], **given)
        limits = send_limits()
        if options["json"]:
            stats = {
                "notifications": service.get_notification_stats(options["days"], **given),
                "engagement": service.get_engagement_stats(options["days"], **given),
                **report,
                "send_rates": [limit.as_json() for limit in limits],
            }
            self.stdout.write(json.dumps(stats, indent=2, cls=DjangoJSONEncoder))
            return
        for line in (*readable(report), *map(str, limits)):
            self.stdout.write(line)

    def _rebuild(self, days: int) -> None:
        count = mark_changed(last_days(days)[0])
        numbers = iter(range(1, count + 1))
        with interruptible() as interruption:
            roll_up(bounds_of(None, lambda: interruption.is_requested), lambda day: self._show(day, numbers, count))
        if interruption.is_requested:
            raise CommandError(
                f"Interrupted. {len(due_days())} days are left; push_prune or the hourly cleanup counts them.",
                returncode=INTERRUPTED,
            )

    def _show(self, day: date, numbers: Iterator[int], count: int) -> None:
        self.stdout.write(f"{day} counted ({next(numbers, count)} of {count})")
        self.stdout.flush()


def readable(report: dict[str, Any]) -> Iterator[str]:
    """Yield the totals, and a table with one line for each type."""
    period, totals = report["period"], report["totals"]
    figures = ", ".join(f"{totals[name]} {name}" for name in ("queued", "accepted", "failed", "shown", "clicked"))
    yield f"Last {period['days']} days: {figures}"
    rates = ("accepted", "delivery_rate"), ("shown", "display_rate"), ("clicked", "click_rate")
    yield "Rates: " + ", ".join(f"{_rate(totals[key])} {name}" for name, key in rates)
    if totals["p50"] is not None:
        yield f"Half were shown within {totals['p50']:g} s, 95 % within {totals['p95']:g} s"
    entries = report["breakdowns"].get("type", [])
    if entries:
        yield ""
        yield f"{'type':<30} {'accepted':>10} {'failed':>10} {'accepted %':>11} {'shown %':>11} {'clicked %':>11}"
    for entry in entries:
        columns = " ".join(f"{_rate(entry[name]):>11}" for name in ("delivery_rate", "display_rate", "click_rate"))
        yield f"{entry['value'] or '(none)':<30} {entry['accepted']:>10} {entry['failed']:>10} {columns}"
    yield f"Today's figures are as of {timezone.localtime(period['as_of']):%Y-%m-%d %H:%M}."
    if period["uncounted_days"]:
        yield f"{period['uncounted_days']} days have not been counted yet: run push_stats --rebuild."


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value} %"

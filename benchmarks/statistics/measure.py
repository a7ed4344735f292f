"""Fill an outbox, build its statistics, open the admin's page, prune, and print what each cost."""

from __future__ import annotations

import argparse
import time
from datetime import timedelta
from itertools import pairwise
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, setup_test_environment
from django.urls import reverse
from django.utils import timezone

from benchmarks.statistics.database import own_database
from benchmarks.statistics.rows import fill
from django_webpush_kit.delivery.pruning import clean_up
from django_webpush_kit.models import OutboxDay, get_analytics_model, get_notification_model
from django_webpush_kit.rollups.bounds import Bounds
from django_webpush_kit.rollups.building import build_day, roll_up

LARGE_TABLES = ("webpush_kit_pushnotification", "webpush_kit_notificationanalytics", "webpush_kit_pushsubscription")
PAGE_RUNS = 7


def main() -> None:
    """Run the bench with the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statistics", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="notifications (default: 1,000,000)")
    parser.add_argument("--prune-days", type=int, default=75, help="delete what is older than so many days")
    parser.add_argument("--plans", action="store_true", help="print the plans of the page's queries")
    parser.add_argument("--keep", action="store_true", help="keep the database, and use it again")
    options = parser.parse_args()
    setup_test_environment()
    with own_database(keep=options.keep) as is_new:
        if is_new:
            call_command("migrate", verbosity=0)
            _timed("filled", lambda: fill(options.rows))
        print(
            f"{get_notification_model().objects.count():,} notifications",
            f"{get_analytics_model().objects.count():,} events",
            sep=", ",
        )
        _count()
        _pages(options.plans)
        _prune(options.prune_days)


def _count() -> None:
    """Count every day, then the same with nothing new, then one day, then one day again after a late event."""
    seconds, days = _timed("every day counted", lambda: roll_up(Bounds()))
    print(f"  {days} days, {seconds / max(days, 1) * 1000:.0f} ms a day")
    _timed("the next run, nothing new but today and yesterday", lambda: roll_up(Bounds()))
    day = OutboxDay.objects.order_by("-day")[10].day
    _timed("one day counted", lambda: build_day(day))
    late = get_notification_model().objects.filter(created_at__date=day, status="sent").first()
    get_analytics_model().objects.get_or_create(notification=late, action_type="dismissed", action_id="late")
    _timed("the next run after one late event", lambda: roll_up(Bounds()))


def _pages(is_with_plans: bool) -> None:
    client = Client()
    user_model = get_user_model()
    user = user_model.objects.filter(username="bench").first() or user_model.objects.create_superuser("bench")
    client.force_login(user)
    model = get_notification_model()._meta
    url = reverse(f"admin:{model.app_label}_{model.model_name}_statistics")
    for query in ("days=7", "days=30", "days=90", "days=365", "days=90&show=type:type1", "days=90&format=csv"):
        times = []
        for _ in range(PAGE_RUNS):
            with CaptureQueriesContext(connection) as captured:
                started = time.perf_counter()
                response = client.get(f"{url}?{query}")
                assert response.status_code == 200, response.status_code
                b"".join(response)
                times.append(time.perf_counter() - started)
        median = sorted(times)[len(times) // 2] * 1000
        print(f"page ?{query}: {median:.0f} ms, {len(captured)} queries")
        _explain(captured, is_with_plans)


def _explain(captured: Any, is_with_plans: bool) -> None:
    """Print which queries read a large table from end to end, and on request every plan."""
    for query in captured.captured_queries:
        if not query["sql"].startswith("SELECT"):
            continue
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN (ANALYZE, COSTS OFF) " + query["sql"])
            plan = "\n".join(row[0] for row in cursor.fetchall())
        if is_with_plans:
            print(query["sql"][:300], plan, sep="\n")
        for table in LARGE_TABLES:
            if f"Seq Scan on {table}" in plan:
                print(f"  reads all of {table}: {query['sql'][:200]}")


def _prune(days: int) -> None:
    """Delete old rows; the longest statement tells how long a row can be locked."""
    settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, "RETENTION_DAYS": days}
    old = get_notification_model().objects.filter(created_at__lt=timezone.now() - timedelta(days=days)).count()
    moments = [time.perf_counter()]
    seconds, counts = _timed(
        f"{old:,} notifications pruned", lambda: clean_up(on_progress=lambda *_: moments.append(time.perf_counter()))
    )
    longest = max(end - start for start, end in pairwise(moments)) if len(moments) > 1 else 0
    print(f"  {counts['notifications'] / seconds:,.0f} a second, longest step {longest * 1000:.0f} ms, {counts}")


def _timed(name: str, action: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    result = action()
    seconds = time.perf_counter() - started
    print(f"{name}: {seconds:.2f} s", flush=True)
    return seconds, result

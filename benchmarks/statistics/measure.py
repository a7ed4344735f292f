"""Fill an outbox, build its statistics, open the admin's page, prune, and print what each cost."""

from __future__ import annotations

import argparse
import resource
import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, setup_test_environment
from django.urls import reverse
from django.utils import timezone

from benchmarks.statistics.databases import own_database
from benchmarks.statistics.plans import report
from benchmarks.statistics.rows import fill
from django_webpush_kit.delivery.pruning import clean_up
from django_webpush_kit.models import OutboxDay, get_analytics_model, get_notification_model
from django_webpush_kit.rollups.bounds import Bounds
from django_webpush_kit.rollups.building import build_day, roll_up

PAGE_RUNS = 7


def main(options: argparse.Namespace) -> None:
    """Run the bench with the options of the command line."""
    setup_test_environment()
    with own_database(keep=options.keep) as is_empty:
        if is_empty:
            _timed("filled", lambda: fill(options.rows))
        print(
            f"{get_notification_model().objects.count():,} notifications",
            f"{get_analytics_model().objects.count():,} events",
            sep=", ",
        )
        _count()
        _pages(options.plans)
        _prune(options.prune_days, options.plans)


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
        report(captured.captured_queries, is_with_plans=is_with_plans)


def _prune(days: int, is_with_plans: bool) -> None:
    """Delete old rows. The longest step tells how long a row can be locked."""
    settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, "RETENTION_DAYS": days}
    told: list[str] = []
    with CaptureQueriesContext(connection) as captured:
        done = clean_up(on_progress=lambda name, _: told.append(name), is_stopped=lambda: "notifications" in told)
    print(f"the first {done['notifications']:,} notifications pruned")
    report(captured.captured_queries, is_with_plans=is_with_plans)
    old = get_notification_model().objects.filter(created_at__lt=timezone.now() - timedelta(days=days)).count()
    steps: dict[str, list[float]] = {}
    last = time.perf_counter()

    def note(name: str, _count: int) -> None:
        nonlocal last
        now = time.perf_counter()
        steps.setdefault(name, []).append(now - last)
        last = now

    memory = _peak_megabytes()
    _seconds, counts = _timed(f"{old:,} notifications pruned", lambda: clean_up(on_progress=note))
    print(f"  {counts}")
    for name, times in steps.items():
        print(
            f"  {name}: {len(times):,} steps, {sum(times):.1f} s, {counts[name] / sum(times):,.0f} a second,",
            f"longest step {max(times) * 1000:.0f} ms, median {sorted(times)[len(times) // 2] * 1000:.0f} ms",
        )
    print(f"  peak memory {_peak_megabytes():.0f} MB, before {memory:.0f} MB")


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _timed(name: str, action: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    result = action()
    seconds = time.perf_counter() - started
    print(f"{name}: {seconds:.2f} s", flush=True)
    return seconds, result

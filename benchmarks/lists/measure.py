"""Fill an outbox, open each page of the admin that lists or shows its rows, and print what each cost."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Exists, OuterRef
from django.test import Client
from django.test.utils import CaptureQueriesContext, setup_test_environment
from django.urls import reverse
from django.utils import timezone

from benchmarks.statistics.databases import own_database
from benchmarks.statistics.plans import report
from benchmarks.statistics.rows import fill
from django_webpush_kit.models import (
    PushBroadcast,
    get_analytics_model,
    get_notification_model,
    get_subscription_model,
)
from django_webpush_kit.privacy import erase_user, export_json

RUNS = 5
LARGE, LARGE_BROADCAST = "large", 300_000
"""The type of a running broadcast, and how many notifications it has."""

MAX_MILLISECONDS, MAX_QUERIES = 300, 15


def main(options: argparse.Namespace) -> None:
    """Run the bench with the options of the command line."""
    setup_test_environment()
    with own_database(keep=options.keep) as is_empty:
        if is_empty:
            started = time.perf_counter()
            fill(options.rows)
            print(f"filled: {time.perf_counter() - started:.0f} s")
        large = _large_broadcast(min(options.rows // 3, LARGE_BROADCAST))
        notifications, events = get_notification_model(), get_analytics_model()
        print(f"{notifications.objects.count():,} notifications, {events.objects.count():,} events")
        client = Client()
        client.force_login(get_user_model().objects.create_superuser(f"bench-{time.time()}"))
        missed = sum(not _measure(client, name, url, options.plans) for name, url in _pages(large))
        print(f"{missed} pages missed {MAX_MILLISECONDS} ms or {MAX_QUERIES} queries")
        _results(client, large)
        _privacy(options.plans)


def _pages(large: PushBroadcast) -> Iterator[tuple[str, str]]:
    notifications, subscriptions, events = get_notification_model(), get_subscription_model(), get_analytics_model()
    middle = notifications.objects.filter(created_at__lt=timezone.now() - timedelta(days=45), user__isnull=False)
    row = middle.select_related("subscription", "user").order_by("-created_at")[0]
    sent = notifications.objects.filter(batch=OuterRef("batch"))
    broadcast = PushBroadcast.objects.filter(Exists(sent)).exclude(pk=large.pk).order_by("created_at")[0]
    day = f"{row.created_at:%Y-%m-%d}"
    queries: dict[Any, list[dict[str, Any]]] = {
        notifications: [
            {},
            {"p": 200},
            *({"status": status} for status in ("pending", "sent", "failed", "expired", "cancelled")),
            {"status": "failed", "on": day},
            {"type": "type1"},
            {"type": "nothing"},
            {"lane__exact": 0},
            {"on": "2026"},
            {"on": day},
            {"batch": row.batch},
            {"batch": broadcast.batch},
            {"batch": large.batch},
            {"batch": large.batch, "status": "failed"},
            {"user": row.user_id},
            {"subscription": row.subscription_id},
            {"before": f"{row.created_at.isoformat()}~{row.pk}"},
            {"q": row.user.username},
            {"q": row.user.username[:3]},
            {"q": "nobody@example.com"},
            {"q": row.pk},
            {"q": row.batch},
            {"q": row.subscription.endpoint},
            {"q": "title:usual"},
            {"q": "title:nothing"},
        ],
        subscriptions: [
            {},
            {"p": 200},
            {"is_active": 0},
            {"service": "fcm.googleapis.com"},
            {"service": "nowhere"},
            {"user": row.user_id},
            {"q": row.user.username},
            {"q": row.subscription.endpoint},
            {"q": row.subscription_id},
        ],
        events: [
            {},
            {"p": 200},
            {"action_type__exact": "clicked"},
            {"notification": row.pk},
            {"on": day},
            {"q": row.pk},
            {"q": row.batch},
        ],
    }
    for model, wanted in queries.items():
        url = _url(model, "changelist")
        for query in wanted:
            yield f"{model._meta.verbose_name_plural} {query}", f"{url}?{urlencode(query)}"
    yield "one notification", _url(notifications, "change", row.pk)
    of_broadcast = notifications.objects.filter(batch=broadcast.batch)[0]
    yield "one notification of a broadcast", _url(notifications, "change", of_broadcast.pk)
    yield "one subscription", _url(subscriptions, "change", row.subscription_id)
    yield "one broadcast", _url(PushBroadcast, "change", broadcast.pk)
    yield f"a running broadcast of {large.queued:,} notifications", _url(PushBroadcast, "change", large.pk)
    yield "one event", _url(events, "change", events.objects.order_by("timestamp")[0].pk)


def _url(model: Any, page: str, *arguments: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def _measure(client: Client, name: str, url: str, is_with_plans: bool) -> bool:
    times = []
    for _ in range(RUNS):
        with CaptureQueriesContext(connection) as captured:
            started = time.perf_counter()
            response = client.get(url)
            times.append((time.perf_counter() - started) * 1000)
        assert response.status_code == 200, (url, response.status_code)
    median = sorted(times)[RUNS // 2]
    is_met = median < MAX_MILLISECONDS and len(captured) <= MAX_QUERIES
    print(f"{'' if is_met else 'MISSED '}{name}: {median:.0f} ms (least {min(times):.0f}), {len(captured)} queries")
    report(captured.captured_queries, is_with_plans=is_with_plans)
    return is_met


def _large_broadcast(size: int) -> PushBroadcast:
    """Return a running broadcast, to which so many notifications were moved by the first run."""
    found = PushBroadcast.objects.filter(type=LARGE).first()
    if found is None:
        began, rows = timezone.now() - timedelta(hours=1), get_notification_model().objects
        found = PushBroadcast.objects.create(
            type=LARGE,
            status="running",
            created_at=began,
            started_at=began,
            total=2 * size,
            processed=size,
            queued=size,
        )
        last = rows.order_by("pk").values_list("pk", flat=True)[size - 1]
        rows.filter(pk__lte=last).update(batch=found.batch)
    return found


def _results(client: Client, broadcast: PushBroadcast) -> None:
    """Time the request by which the page of a large broadcast counts its results."""
    started = time.perf_counter()
    assert client.get(_url(PushBroadcast, "figures", broadcast.pk)).status_code == 200
    milliseconds = (time.perf_counter() - started) * 1000
    print(f"results of {broadcast.queued:,} notifications, counted by the page itself: {milliseconds:.0f} ms")


def _privacy(is_with_plans: bool) -> None:
    """Export and erase a user with ordinary numbers of rows."""
    user = get_user_model().objects.filter(push_notifications__isnull=False).order_by("-pk")[0]
    with CaptureQueriesContext(connection) as captured:
        started = time.perf_counter()
        size = sum(map(len, export_json(user)))
        print(f"export of a user: {size:,} characters, {(time.perf_counter() - started) * 1000:.0f} ms")
    report(captured.captured_queries, is_with_plans=is_with_plans)
    with CaptureQueriesContext(connection) as captured:
        started = time.perf_counter()
        print(f"erasure of a user: {erase_user(user)}, {(time.perf_counter() - started) * 1000:.0f} ms")
    report(captured.captured_queries, is_with_plans=is_with_plans)

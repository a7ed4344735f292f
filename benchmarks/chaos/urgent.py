"""One-time passwords among a million waiting rows."""

from __future__ import annotations

import time
from typing import Any

from django.db import connection

from benchmarks.chaos.bench import Bench, latency, row_key
from benchmarks.chaos.settings import CHUNK_SIZE
from benchmarks.chaos.verdict import Finding
from django_webpush_kit import services
from django_webpush_kit.delivery.flow import CHUNKS_IN_HAND
from django_webpush_kit.models import get_notification_model, get_subscription_model, get_template_model
from django_webpush_kit.testing.fake_push_service import Fault

WORKERS = 2
SECONDS = 2.0
BUSY_SECONDS = 15.0
"""What the small bench allows: it runs beside other tests. `most others before it` says the same without a clock."""


def overtake(bench: Bench) -> Finding:
    """Send one-time passwords while workers are busy with a newsletter: they pass everything not yet claimed."""
    finding = Finding("one-time passwords among many waiting rows")
    backlog = 1_000_000 if bench.database == "postgresql" and not bench.small else 20_000
    services.send(get_subscription_model().objects.all(), "Newsletter", urgency="low")
    _multiply(backlog)
    with latency(bench.push_service, 0.02):
        for _ in range(WORKERS):
            bench.start(kit={"LEASE_SECONDS": 60})
        bench.wait_until(lambda: bench.rows.filter(status="sent").exists())
        passed = _send_passwords(bench, finding, 5 if bench.small else 20)
    bench.stop_workers()
    waiting = bench.open_rows()
    finding.figures |= {"waiting": waiting, "most others before it": max(passed)}
    finding.expect(waiting > backlog / 2, f"only {waiting} rows were waiting")
    # a worker claims while less than CHUNKS_IN_HAND chunks are in hand
    most = WORKERS * (CHUNKS_IN_HAND + 1) * CHUNK_SIZE
    finding.expect(max(passed) <= most, f"{max(passed)} newsletters went before it, {most} were in hand at most")
    _empty()
    return finding


def overtake_fan_out(bench: Bench) -> Finding:
    """Send one-time passwords while the only worker fans a broadcast out: it looks up often enough."""
    finding = Finding("one-time passwords while the only worker fans a broadcast out")
    get_template_model().objects.create(type="news", title_template="News")
    bench.push_service.script(bench.browsers[0].endpoint, Fault(status=None, times=None))
    bench.push_service.script(None, Fault(status=201, times=None))
    add_subscribers(bench, 3_000 if bench.small else 20_000)
    started = services.broadcast("news", urgency="low")
    # as in production: a chunk of 500, a hundred requests in flight
    bench.start(kit={"LEASE_SECONDS": 60, "CHUNK_SIZE": 500, "TRANSPORT": "auto"})
    bench.wait_until(lambda: bench.rows.exists())
    _send_passwords(bench, finding, 5)
    bench.stop_workers()
    bench.push_service.clear_faults()
    started.refresh_from_db()
    finding.figures |= {"subscribers": started.total, "fanned out": started.queued}
    started.delete()
    get_template_model().objects.all().delete()
    return finding


def _send_passwords(bench: Bench, finding: Finding, count: int) -> list[int]:
    """Send one after the other to the first browser; returns how many other requests came before each."""
    service, reader = bench.push_service, bench.browsers[0]
    subscription = get_subscription_model().objects.get(endpoint=reader.endpoint)
    waits, passed = [], []
    for _ in range(count):
        known, started = len(service.requests), time.monotonic()
        result = services.send(subscription, "1234", urgency="high", ttl=60)
        key = str(result.notifications.get().pk)
        came = bench.wait_until(lambda key=key: any(row_key(one["id"]) == key for one in reader.received), 30)
        finding.expect(came, "a one-time password did not come within 30 s")
        waits.append(time.monotonic() - started)
        since = service.requests[known:]
        passed.append(next((n for n, one in enumerate(since) if one.headers.get("Urgency") == "high"), len(since)))
    finding.figures |= {"longest s": round(max(waits), 2), "median s": round(sorted(waits)[count // 2], 2)}
    promised = BUSY_SECONDS if bench.small else SECONDS
    finding.expect(max(waits) < promised, f"a one-time password took {max(waits):.1f} s")
    return passed


def add_subscribers(bench: Bench, count: int) -> None:
    """Subscriptions of browsers that nobody looks at."""
    model = get_subscription_model()
    keys = {"p256dh_key": "", "auth_key": "", **model.objects.values("p256dh_key", "auth_key").first()}
    address = f"{bench.push_service.origin}/wpush/v2"
    model.objects.bulk_create(
        (model(endpoint=f"{address}/nobody{number}", **keys) for number in range(count)), batch_size=500
    )


def _multiply(count: int) -> None:
    """Copy the rows there are until there are `count`, inside the database."""
    model = get_notification_model()
    table = connection.ops.quote_name(model._meta.db_table)
    names = [field.column for field in model._meta.concrete_fields if not field.primary_key]
    columns = ", ".join(map(connection.ops.quote_name, names))
    with connection.cursor() as cursor:
        while (rows := model.objects.count()) < count:
            missing = min(rows, count - rows)
            cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} LIMIT {missing}")
        if connection.vendor == "postgresql":
            cursor.execute(f"ANALYZE {table}")


def _empty() -> None:
    """Remove a million rows quickly."""
    table = connection.ops.quote_name(get_notification_model()._meta.db_table)
    statements: dict[str, Any] = {"postgresql": f"TRUNCATE {table} CASCADE"}
    with connection.cursor() as cursor:
        cursor.execute(statements.get(connection.vendor, f"DELETE FROM {table}"))

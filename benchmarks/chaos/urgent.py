"""One-time passwords among a million waiting rows."""

from __future__ import annotations

import time
from typing import Any

from django.db import connection

from benchmarks.chaos.bench import Bench, latency
from benchmarks.chaos.settings import CHUNK_SIZE
from benchmarks.chaos.verdict import Finding
from django_webpush_kit import services
from django_webpush_kit.models import get_notification_model, get_subscription_model

WORKERS = 2
SECONDS = 2.0


def overtake(bench: Bench) -> Finding:
    """Send one-time passwords while workers are busy with a newsletter: they pass everything not yet claimed."""
    finding = Finding("one-time passwords among many waiting rows")
    backlog = 1_000_000 if bench.database == "postgresql" and not bench.small else 20_000
    services.send(get_subscription_model().objects.all(), "Newsletter", urgency="low")
    _multiply(backlog)
    newsletter, reader = bench.push_service, bench.browsers[0]
    waits, passed = [], []
    with latency(bench.push_service, 0.02):
        for _ in range(WORKERS):
            bench.start(kit={"LEASE_SECONDS": 60})
        bench.wait_until(lambda: bench.rows.filter(status="sent").exists())
        for _ in range(5 if bench.small else 20):
            requests, started = len(newsletter.requests), time.monotonic()
            result = services.send(
                get_subscription_model().objects.get(endpoint=reader.endpoint), "1234", urgency="high", ttl=60
            )
            key = str(result.notifications.get().pk)
            came = bench.wait_until(lambda key=key: any(one["id"] == key for one in reader.received), 30)
            finding.expect(came, "a one-time password did not come within 30 s")
            waits.append(time.monotonic() - started)
            before = newsletter.requests[requests:]
            passed.append(
                next((n for n, one in enumerate(before) if one.headers.get("Urgency") == "high"), len(before))
            )
    bench.stop_workers()
    waiting = bench.open_rows()
    finding.figures |= {
        "waiting": waiting,
        "longest s": round(max(waits), 2),
        "median s": round(sorted(waits)[len(waits) // 2], 2),
        "most others before it": max(passed),
    }
    finding.expect(waiting > backlog / 2, f"only {waiting} rows were waiting")
    most = WORKERS * 2 * CHUNK_SIZE
    finding.expect(
        max(passed) <= most, f"{max(passed)} newsletters went before a password, {most} were in hand at most"
    )
    finding.expect(max(waits) < SECONDS, f"a one-time password took {max(waits):.1f} s")
    _truncate()
    return finding


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


def _truncate() -> None:
    """Remove a million rows quickly."""
    table = connection.ops.quote_name(get_notification_model()._meta.db_table)
    statements: dict[str, Any] = {"postgresql": f"TRUNCATE {table} CASCADE"}
    with connection.cursor() as cursor:
        cursor.execute(statements.get(connection.vendor, f"DELETE FROM {table}"))

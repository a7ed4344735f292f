"""This library, one process for each measurement: `python -m benchmarks.speed.kit TASK PORT ROWS`.

Every row is written to the outbox, claimed, sent and recorded. Tasks: `compare` (one worker), `fill` and `worker`
(several workers), `scale` (from enqueueing to delivery, and the time of a claim).
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from typing import Any

import django
from django.core.management import call_command
from django.db import connection

from benchmarks.speed.browsers import BODY, TITLE, endpoint, keys
from benchmarks.speed.measure import measure, report

WARM_UP = 500
CLAIMS = 20
SEEDED = 10_000
DELIVERED_AT_MOST = 20_000
"""Of a larger backlog so many rows are delivered."""


def compare(port: int, rows: int) -> None:
    """One worker, from the claim to the recorded outcome."""
    fill(port, rows + WARM_UP)
    _deliver(WARM_UP)
    report(measure(_deliver))


def fill(port: int, rows: int) -> dict[str, float]:
    """Write subscriptions and an outbox of so many rows; returns what enqueueing took."""
    from django_webpush_kit import services
    from django_webpush_kit.models import get_subscription_model

    call_command("migrate", verbosity=0)
    _subscribe(port, rows)
    processor, started = time.process_time(), time.perf_counter()
    result = services.send(get_subscription_model().objects.all(), TITLE, BODY, url="/orders/1")
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    if result.queued != rows:
        raise RuntimeError(f"{result.queued} of {rows} rows were queued")
    return {"enqueue_rate": rows / seconds, "enqueue_microseconds": processor / rows * 1e6}


def worker() -> None:
    """One of several workers: says when it is ready, starts when told to."""
    from django_webpush_kit.delivery.transport import get_transport

    get_transport()
    connection.ensure_connection()
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.time()
    processor = time.process_time()
    sent = _deliver()
    processor = time.process_time() - processor
    print(json.dumps({"sent": sent, "started": started, "ended": time.time(), "processor": processor}), flush=True)


def scale(port: int, rows: int) -> None:
    """Enqueue so many rows in one call, time claims before that backlog, then deliver."""
    figures: dict[str, float] = {"rows": rows, **fill(port, rows)}
    _settle()
    figures["claim_milliseconds"] = _claim_milliseconds()
    processor, started = time.process_time(), time.perf_counter()
    sent = _deliver(min(rows, DELIVERED_AT_MOST))
    figures["delivery_rate"] = sent / (time.perf_counter() - started)
    figures["delivery_microseconds"] = (time.process_time() - processor) / sent * 1e6
    figures["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(figures), flush=True)


def _deliver(limit: int | None = None) -> int:
    """Deliver as `deliver_push` does, which pauses the garbage collector; returns how many rows were sent."""
    from django_webpush_kit.delivery.worker import Worker

    worker = Worker(limit=limit)
    worker.run_once()
    return worker.outcomes["sent"]


def _claim_milliseconds() -> float:
    """The median time of a claim of `CHUNK_SIZE` rows, reading them included; the rows are put back."""
    from django_webpush_kit.delivery.engine import claim
    from django_webpush_kit.models import get_notification_model

    times = []
    for _ in range(CLAIMS):
        started = time.perf_counter()
        claim(500)
        times.append(time.perf_counter() - started)
    claimed = get_notification_model().objects.filter(status="sending")
    claimed.update(status="pending", lease_token=None, claims=0, next_attempt_at=claimed[0].created_at)
    _settle()
    return statistics.median(times) * 1000


def _settle() -> None:
    """Do at once what PostgreSQL's autovacuum does a minute after rows were written in bulk."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def _subscribe(port: int, rows: int) -> None:
    """Insert subscriptions; above 10,000 they are copied inside the database, which is not what is measured."""
    from django_webpush_kit.conf import vapid_keyring
    from django_webpush_kit.models import get_subscription_model
    from django_webpush_kit.protocol.endpoints import endpoint_hash

    model: Any = get_subscription_model()
    key_id = vapid_keyring().current.key_id
    seeded = min(rows, SEEDED)
    model.objects.bulk_create(
        (
            model(
                endpoint=endpoint(port, number),
                endpoint_hash=endpoint_hash(endpoint(port, number)),
                p256dh_key=keys(number)["p256dh"],
                auth_key=keys(number)["auth"],
                push_service="localhost",
                vapid_key_id=key_id,
            )
            for number in range(seeded)
        ),
        batch_size=500,
    )
    table = connection.ops.quote_name(model._meta.db_table)
    columns = [field.column for field in model._meta.concrete_fields if field.column not in ("id", "endpoint_hash")]
    names = ", ".join(map(connection.ops.quote_name, columns))
    while (existing := model.objects.count()) < rows:
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} ({names}, endpoint_hash) "
                f"SELECT {names}, CAST(id + %s AS varchar(20)) FROM {table} ORDER BY id LIMIT %s",
                [existing, min(existing, rows - existing)],
            )


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.speed.settings"
    django.setup()
    task, arguments = sys.argv[1], [int(text) for text in sys.argv[2:]]
    {"compare": compare, "fill": fill, "worker": worker, "scale": scale}[task](*arguments)

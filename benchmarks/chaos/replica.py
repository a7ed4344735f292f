"""A router that reads from a replica which lags behind: what has just been written is not there yet."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import Error, connection, connections, router, transaction
from django.db.models import Count
from django.db.utils import ConnectionRouter
from django.utils import timezone

from benchmarks.chaos import workers
from benchmarks.chaos.bench import Bench
from benchmarks.chaos.neighbours import WAIT_SECONDS, Books, wait_for_worker
from benchmarks.chaos.verdict import Finding
from django_webpush_kit import services
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model, get_template_model

ROUTER = "tests.routers.PrimaryReplicaRouter"
ALIAS = "replica"
LAG_SECONDS = (0.005, 0.05)


def behind(bench: Bench) -> Finding:
    """Send, broadcast, unsubscribe and cancel while everything that a router may choose is read from the replica."""
    finding = Finding("a router that reads from a replica, 5 to 50 ms behind")
    rounds = 3 if bench.small else 25
    get_template_model().objects.create(type="news", title_template="News")
    books = Books()
    subscriptions = get_subscription_model().objects.using("default")
    with _replica(bench) as (given, lags):
        for _ in range(2):
            bench.start(deliver_behind_replica, given)
        wait_for_worker(bench)
        for number in range(rounds):
            leaver = subscriptions.order_by("pk")[number % len(bench.browsers)]
            stayers = list(subscriptions.exclude(pk=leaver.pk))
            services.unsubscribe(leaver)
            finding.expect(not subscriptions.get(pk=leaver.pk).is_active, f"round {number}: unsubscribe left it active")
            key = f"key-{number}"
            sent = services.send(stayers, "Message", idempotency_key=key)
            again = services.send(stayers, "Message", idempotency_key=key)
            finding.expect(again.reused and again.batch == sent.batch, f"round {number}: the key was used twice")
            later = services.send(stayers, "Later", topic="later", scheduled_for=timezone.now() + timedelta(days=7))
            cancelled = services.cancel(later)
            finding.expect(cancelled == len(stayers), f"round {number}: cancel() found {cancelled} rows")
            news = services.broadcast("news")
            mine = bench.rows.using("default").filter(batch__in=[sent.batch, news.batch])
            settled, count = mine.filter(status="sent"), 2 * len(stayers)
            bench.wait_until(lambda settled=settled, count=count: settled.count() == count, WAIT_SECONDS)
            finding.expect(mine.count() == count, f"round {number}: {mine.count()} rows written")
            books.note(mine, finding, f"round {number}")
            quarantined = mine.filter(claims__gt=0).count()
            finding.expect(not quarantined, f"round {number}: {quarantined} rows were claimed in vain")
            services.subscribe(endpoint=leaver.endpoint, p256dh=leaver.p256dh_key, auth=leaver.auth_key)
        bench.stop_workers()
        finding.expect(lags, "the replica was never behind: nothing was tried")
        finding.figures |= {"copies": len(lags)}
    PushBroadcast.objects.all().delete()
    get_template_model().objects.all().delete()
    bench.judge(finding, may_be_cancelled=True)
    books.close(bench, finding)
    return finding


def deliver_behind_replica(given: dict[str, Any]) -> None:
    """A worker whose router reads from the replica."""
    _read_from(given)
    workers.deliver_for_ever()


def _read_from(given: dict[str, Any]) -> None:
    connections.databases[ALIAS] = given
    router.routers = ConnectionRouter([ROUTER]).routers


@contextmanager
def _replica(bench: Bench) -> Iterator[tuple[dict[str, Any], list[float]]]:
    """A second database with the tables of the first, copied again and again; yields its settings and the lags.

    Each time when the outbox has changed between a copy's beginning and its end, the replica was behind.
    """
    name = f"{connection.settings_dict['NAME']}_replica"
    given = {**connection.settings_dict, "NAME": name}
    _remove(name)
    if bench.database != "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {connection.ops.quote_name(name)}")
    connections.databases[ALIAS] = given
    stopping, lags = threading.Event(), []
    copier = threading.Thread(target=_copy_for_ever, args=(bench, stopping, lags), daemon=True)
    try:
        call_command("migrate", database=ALIAS, verbosity=0)
        copier.start()
        _read_from(given)
        yield given, lags
    finally:
        stopping.set()
        copier.join()
        bench.stop_workers()
        router.routers = []
        connections[ALIAS].close()
        del connections[ALIAS], connections.databases[ALIAS]
        _remove(name)


def _remove(name: str) -> None:
    if connection.vendor == "sqlite":
        for path in (name, f"{name}-wal", f"{name}-shm"):
            Path(path).unlink(missing_ok=True)
        return
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {connection.ops.quote_name(name)}")


def _copy_for_ever(bench: Bench, stopping: threading.Event, lags: list[float]) -> None:
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    while not stopping.is_set():
        read_at, before = time.monotonic(), _changes()
        contents: Any = _read_file() if bench.database == "sqlite" else _read_tables(tables)
        time.sleep(random.uniform(*LAG_SECONDS))  # the replica lags behind
        with suppress(Error, sqlite3.Error):  # the next copy comes at once
            _write_file(contents) if bench.database == "sqlite" else _write_tables(contents)
        if _changes() != before:
            lags.append(time.monotonic() - read_at)
    for alias in ("default", ALIAS):
        connections[alias].close()


def _changes() -> tuple[Any, ...]:
    """What tells two moments of the outbox apart."""
    rows = get_notification_model().objects.using("default").order_by()
    return tuple(rows.values_list("status").annotate(Count("pk")).order_by("status"))


def _read_file() -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:")
    with closing(sqlite3.connect(connections["default"].settings_dict["NAME"], timeout=30)) as source:
        source.backup(copy)
    return copy


def _write_file(copy: sqlite3.Connection) -> None:
    with closing(copy), closing(sqlite3.connect(connections[ALIAS].settings_dict["NAME"], timeout=30)) as target:
        copy.backup(target)


def _read_tables(tables: list[str]) -> dict[str, list[Any]]:
    with connections["default"].cursor() as cursor:
        return {table: _rows(cursor, table) for table in tables}


def _rows(cursor: Any, table: str) -> list[Any]:
    cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
    return list(cursor.fetchall())


_UNCHECKED = {
    "postgresql": "SET session_replication_role = replica",
    "mysql": "SET foreign_key_checks = 0",
}


def _write_tables(contents: dict[str, list[Any]]) -> None:
    with transaction.atomic(using=ALIAS), connections[ALIAS].cursor() as cursor:
        cursor.execute(_UNCHECKED[connection.vendor])
        for table, rows in contents.items():
            quoted = connection.ops.quote_name(table)
            cursor.execute(f"DELETE FROM {quoted}")
            if rows:
                places = ", ".join(["%s"] * len(rows[0]))
                cursor.executemany(f"INSERT INTO {quoted} VALUES ({places})", rows)

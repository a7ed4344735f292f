"""Leases: workers that claim at once, oversleep, or die of a row."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from itertools import count
from typing import Any

from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from benchmarks.chaos import workers
from benchmarks.chaos.bench import Bench, latency
from benchmarks.chaos.network import SOON
from benchmarks.chaos.settings import CHUNK_SIZE, MAX_IN_FLIGHT
from benchmarks.chaos.verdict import Finding
from django_webpush_kit.delivery.claiming import QUARANTINED
from django_webpush_kit.models import PushServiceState, get_notification_model
from django_webpush_kit.signals import pre_send
from django_webpush_kit.testing.fake_push_service import Fault

COLUMNS = ("pk", "status", "lease_token", "claims", "retry_count", "response_status", "sent_at", "next_attempt_at")
POISON = "poison"


def oversleep(bench: Bench) -> Finding:
    """Stop a worker with requests in flight past its lease, let another finish, and wake it: it changes no row."""
    finding = Finding("SIGSTOP past the lease, then SIGCONT")
    rounds = 2 if bench.small else 8
    changed = slept = 0
    for number in range(rounds):
        with latency(bench.push_service, 0.1):
            bench.send(3 * CHUNK_SIZE)
            requests = len(bench.push_service.requests)
            sleeper = bench.start()
            bench.wait_until(lambda: bench.rows.filter(status="sending").exists())
            if number % 2:  # a worker that has just started takes a while from its claim to its first request
                bench.wait_until(lambda before=requests: len(bench.push_service.requests) > before)
            time.sleep(bench.random.uniform(0, 0.3))  # at any moment of the chunk
            sleeper.signal_group(signal.SIGSTOP)
            while _holds_locks(bench):
                sleeper.signal_group(signal.SIGCONT)
                time.sleep(0.01)  # long enough to commit, short enough to have requests in flight
                sleeper.signal_group(signal.SIGSTOP)
            bench.note_in_hand()
            slept += bench.rows.filter(status="sending").count()
        helper = bench.start()
        bench.settle(finding)
        helper.kill()
        before = list(bench.rows.order_by("pk").values_list(*COLUMNS))
        sleeper.signal_group(signal.SIGCONT)
        sleeper.signal_group(signal.SIGTERM)
        sleeper.wait(30)
        finding.expect(not sleeper.is_alive, "the worker that overslept did not end")
        after = list(bench.rows.order_by("pk").values_list(*COLUMNS))
        changed += sum(one != other for one, other in zip(before, after, strict=True))
    finding.figures |= {"times": rounds, "rows overslept": slept, "late writes": changed}
    finding.expect(slept, "no row was in flight: nothing was tried")
    finding.expect(not changed, f"{changed} rows changed by a worker whose lease had lapsed")
    bench.judge(finding)
    finding.expect(finding.figures["repeats"], "no request was in flight: nothing was tried")
    return finding


def _holds_locks(bench: Bench) -> bool:
    """Whether the stopped worker is amid a transaction: then nobody can write those rows, whatever its lease.

    With SQLite's one write lock nobody can write at all. An operator ends such a session with a time-out of the server.
    """
    if bench.database != "sqlite":
        return any(map(is_locked, (bench.rows, PushServiceState.objects)))
    with closing(sqlite3.connect(connection.settings_dict["NAME"], timeout=0.2, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        other.execute("ROLLBACK")
        return False


def is_locked(rows: Any) -> bool:
    """Whether another session has locked one of these rows.

    `information_schema.innodb_trx` does not help: MariaDB renews this copy only if nobody has read it for 0.1 seconds.
    """
    with transaction.atomic():
        free = rows.select_for_update(skip_locked=True).values_list("pk", flat=True)
        return len(free) < rows.count()


SESSION_LIMITS = {
    "postgresql": {"options": "-c idle_in_transaction_session_timeout=2000"},
    "mariadb": {"init_command": "SET SESSION idle_transaction_timeout = 2"},
}
"""What the how-to for several machines sets, with two seconds."""


def stop_in_transaction(bench: Bench) -> Finding:
    """Stop a worker inside a transaction: the database ends its session, another sends the rows, and it goes on."""
    finding = Finding("SIGSTOP inside a transaction, then SIGCONT")
    rounds = 2 if bench.small else 10
    options = {**connection.settings_dict["OPTIONS"], **SESSION_LIMITS[bench.database]}
    bench.push_service.script(bench.browsers[0].endpoint, Fault(status=500, times=2 * rounds))
    changed = locked = 0
    for number in range(rounds):
        bench.send(3 * CHUNK_SIZE, max_retries=100)
        sleeper = bench.start(deliver_and_stop, bench.random.randint(1, 12), database={"OPTIONS": options}, kit=SOON)
        finding.expect(bench.wait_until(lambda worker=sleeper: worker.is_stopped), f"{number}: it did not stop")
        locked += is_locked(bench.rows)
        bench.note_in_hand()
        helper = bench.start(kit=SOON)
        bench.settle(finding)
        bench.kill(helper)
        before = list(bench.rows.order_by("pk").values_list(*COLUMNS))
        sleeper.signal_group(signal.SIGCONT)
        bench.send(CHUNK_SIZE)  # the worker outlives the end of its session
        bench.settle(finding)
        sent_before = bench.rows.filter(pk__in=[row[0] for row in before])
        after = list(sent_before.order_by("pk").values_list(*COLUMNS))
        changed += sum(one != other for one, other in zip(before, after, strict=True))
        bench.kill(sleeper)
    bench.push_service.clear_faults()
    finding.figures |= {"times": rounds, "with rows locked": locked, "late writes": changed}
    finding.expect(locked, "no row was locked: nothing was tried")
    finding.expect(not changed, f"{changed} rows changed by a worker whose session had been ended")
    bench.judge(finding)
    return finding


def deliver_and_stop(number: int) -> None:
    """`deliver_push --loop` of a process that stops itself after a statement about the outbox in a transaction."""
    table = get_notification_model()._meta.db_table
    statements = count(1)

    def stop(execute: Any, sql: str, *arguments: Any) -> Any:
        result = execute(sql, *arguments)
        if connection.in_atomic_block and table in sql and next(statements) == number:
            os.kill(os.getpid(), signal.SIGSTOP)
        return result

    with connection.execute_wrapper(stop):
        workers.deliver_for_ever()


def claim_at_once(bench: Bench) -> Finding:
    """Let eight workers begin at once: their claims are disjoint, all have work, none is told of a deadlock."""
    finding = Finding("8 workers claiming at once")
    bench.send(800 if bench.small else 2400)
    patient = {"BACKEND": "auto", "OPTIONS": {"timeout": 30, "max_in_flight": MAX_IN_FLIGHT}}
    kit = {"LEASE_SECONDS": 120, "TRANSPORT": patient}
    with latency(bench.push_service, 0.05):
        at_once = [bench.start(deliver_at, time.time() + 4, kit=kit) for _ in range(8)]
        for worker in at_once:
            worker.wait(120)
    logs = [worker.log.read_text() for worker in at_once]
    claimed = [_total(r"^(\d+) claimed", log) for log in logs]
    # on a busy machine a push service seems slow, and a worker puts back the rows beyond its share
    put_back = sum(_total(r"(\d+) deferred", log) for log in logs)
    rows, open_rows = bench.rows.count(), bench.open_rows()
    finding.figures |= {"fewest claims": min(claimed), "most claims": max(claimed)}
    finding.expect(min(claimed) > 0, f"a worker had nothing to do: {claimed}")
    finding.expect(sum(claimed) - put_back + open_rows == rows, f"{sum(claimed)} claims of {rows} rows")
    bench.start(kit=kit)
    bench.settle(finding)
    bench.stop_workers()
    bench.judge(finding)
    return finding


def _total(pattern: str, log: str) -> int:
    return sum(map(int, re.findall(pattern, log, re.MULTILINE)))


def two_sweeps(bench: Bench) -> Finding:
    """Let four sweeps look for rows that fall due at one moment: each is sent once."""
    finding = Finding("4 sweeps at once, rows that fall due together")
    rounds = 2 if bench.small else 8
    kit = {"LEASE_SECONDS": 60}
    for _ in range(4):
        bench.start(kit=kit)
    for _ in range(rounds):
        due = timezone.now() + timedelta(seconds=1.5)
        bench.send(100, scheduled_for=due)
        bench.settle(finding)
    early = bench.rows.filter(sent_at__isnull=False).exclude(scheduled_for=None)
    finding.expect(all(row.sent_at >= row.scheduled_for for row in early), "a row was sent before its time")
    bench.stop_workers()
    bench.judge(finding)
    return finding


def poison_row(bench: Bench) -> Finding:
    """Put a row that kills its worker among 499: they are sent before it is tried for the last time."""
    finding = Finding("a row that kills its worker, in a chunk of 500")
    bench.send(500)
    keys = list(bench.rows.values_list("pk", flat=True))
    poison = bench.rows.filter(pk=bench.random.choice(keys))
    poison.update(title=POISON)
    kit = {"CHUNK_SIZE": 500, "MAX_CLAIMS": 12, "LEASE_SECONDS": 2}
    deaths = 0
    neighbours = bench.rows.exclude(title=POISON)
    worker = bench.start(deliver_poison, kit=kit)

    def is_over(condition: Any) -> bool:
        nonlocal worker, deaths
        if not worker.is_alive:
            deaths += 1
            bench.kill(worker)
            worker = bench.start(deliver_poison, kit=kit)
        return bool(condition())

    bench.wait_until(lambda: is_over(lambda: not neighbours.exclude(status="sent").exists()))
    sent, state = neighbours.filter(status="sent").count(), poison.get().status
    finding.expect(sent == len(keys) - 1, f"{sent} of {len(keys) - 1} neighbours were sent")
    finding.expect(state in ("pending", "sending"), f"the neighbours waited until the poison was {state}")
    bench.wait_until(lambda: is_over(lambda: poison.get().status == "failed"))
    row = poison.get()
    finding.expect((row.status, row.failure_reason) == ("failed", QUARANTINED), f"the poison is {row.status}")
    finding.figures |= {"kills": deaths, "neighbours sent": sent}
    bench.stop_workers()
    row.delete()
    bench.judge(finding)
    finding.expect(deaths < 40, f"{deaths} workers died")
    return finding


def deliver_at(moment: float) -> None:
    """Wait for the moment, then `manage.py deliver_push`."""
    time.sleep(max(0.0, moment - time.time()))
    call_command("deliver_push")


def deliver_poison() -> None:
    """`deliver_push --loop` in a process that a row titled "poison" kills."""

    def die(notification: Any, **_: Any) -> None:
        if notification.title == POISON:
            os.kill(os.getpid(), signal.SIGKILL)

    pre_send.connect(die, weak=False)
    workers.deliver_for_ever()

"""Wake-ups that never come, transactions that never commit, keys that change."""

from __future__ import annotations

import os
import signal
import time

from django.conf import settings
from django.db import transaction

from benchmarks.chaos import workers
from benchmarks.chaos.bench import Bench, latency
from benchmarks.chaos.settings import CHUNK_SIZE, LEASE_SECONDS
from benchmarks.chaos.verdict import Finding
from django_webpush_kit import services
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.protocol.vapid import VapidKey, generate_vapid_keys

IMMEDIATE = "django_webpush_kit.task_backends.ImmediateBackend"


def drop_wake_ups(bench: Bench) -> Finding:
    """Lose every wake-up and the worker that had claimed: the first sweep after the lease's end leaves nothing."""
    finding = Finding("every wake-up lost, and the worker that had claimed")
    rounds = 2 if bench.small else 8
    sweeps = 0
    for number in range(rounds):
        with latency(bench.push_service, 0.1):
            bench.send(5 * CHUNK_SIZE)
            requests = len(bench.push_service.requests)
            worker = bench.start()
            bench.wait_until(lambda: bench.rows.filter(status="sending").exists())
            if number % 2:  # with requests in flight, too
                bench.wait_until(lambda before=requests: len(bench.push_service.requests) > before)
            bench.kill(worker)
        lapsed = time.monotonic() + LEASE_SECONDS
        while bench.open_rows():
            is_last = time.monotonic() > lapsed
            bench.start(workers.deliver_until_nothing_is_due, kit={"LEASE_SECONDS": 60}).wait(60)
            sweeps += 1
            if is_last:
                break
            time.sleep(0.5)  # sweeps before and after the lease lapses
        finding.expect(not bench.open_rows(), f"{bench.open_rows()} rows open after the sweep that had to find them")
    finding.figures |= {"kills": rounds, "sweeps": sweeps}
    bench.judge(finding)
    return finding


def crash_after_commit(bench: Bench) -> Finding:
    """Die between the commit and the wake-up: the sweep sends. Roll back: nothing was written, nothing is sent."""
    finding = Finding("crash between commit and wake-up; rollback")
    rounds = 2 if bench.small else 15
    kit = {"TASK_BACKEND": IMMEDIATE}
    for _ in range(rounds):
        writer = bench.start(commit_and_die, kit=kit)
        writer.wait(60)
        bench.kill(writer)
    written = bench.rows.count()
    finding.expect(written == rounds * len(bench.browsers), f"{written} rows after {rounds} commits")
    finding.expect(bench.open_rows() == written, "a row was sent by a process that died before it could")
    for _ in range(rounds):
        bench.start(roll_back, kit=kit).wait(60)
    finding.expect(bench.rows.count() == written, "rolled back rows are there")
    bench.start(workers.deliver_until_nothing_is_due).wait(60)
    bench.settle(finding)
    finding.figures |= {"kills": rounds, "rollbacks": rounds}
    bench.judge(finding)
    return finding


def rotate_keys(bench: Bench) -> Finding:
    """Change SECRET_KEY and the VAPID key while rows wait: they are sent, to old subscriptions and new ones."""
    finding = Finding("SECRET_KEY and VAPID key rotated with rows waiting")
    old, new = os.environ["VAPID_PRIVATE_KEY"], generate_vapid_keys()["private_key"]
    bench.send(200)
    kit = {"VAPID_PRIVATE_KEY": new, "VAPID_FALLBACK_PRIVATE_KEYS": [old]}
    before = settings.WEBPUSH_KIT
    settings.WEBPUSH_KIT = {**before, **kit}
    try:
        bench.subscribe(5, VapidKey.load(new).public_key)
        bench.send(100)
    finally:
        settings.WEBPUSH_KIT = before
    bench.start(deliver_with_another_secret_key, kit=kit)
    bench.settle(finding)
    bench.stop_workers()
    bench.judge(finding)
    return finding


def commit_and_die() -> None:
    """Write rows and die after the commit, before the wake-up."""
    with transaction.atomic():
        transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
        services.send(get_subscription_model().objects.all(), "Committed")


def roll_back() -> None:
    """Write rows in a transaction that is rolled back."""
    with transaction.atomic():
        services.send(get_subscription_model().objects.all(), "Rolled back")
        transaction.set_rollback(True)


def deliver_with_another_secret_key() -> None:
    """`deliver_push --loop` of a deployment with a new SECRET_KEY."""
    settings.SECRET_KEY = "another-secret-key-with-enough-characters-0123456789"
    workers.deliver_for_ever()

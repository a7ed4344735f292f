"""The fault bench at its smallest: real processes killed, stopped and starved.

On SQLite these tests are slow ones; on PostgreSQL and MariaDB, and with a queue, they need services.
"""

import os
import signal
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

DATABASE = os.environ.get("TEST_DATABASE", "sqlite")
ROOT = Path(__file__).parents[2]

on_this_database = pytest.mark.slow if DATABASE == "sqlite" else pytest.mark.services


LIMIT_SECONDS = 1000
"""More than all waits of the bench for two faults with a queue, which say what took too long; less than pytest's."""


def try_faults(*faults, queue="", limit=LIMIT_SECONDS):
    """Run the bench in a process of its own, with a database of its own."""
    command = [sys.executable, "-m", "benchmarks.chaos.one", DATABASE, "--small", "--queue", queue]
    measuring = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
    with subprocess.Popen(
        [*command, *(f"--only={fault}" for fault in faults)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in measuring},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as bench:
        try:
            printed = bench.communicate(timeout=limit)[0]
        except subprocess.TimeoutExpired:
            bench.send_signal(signal.SIGINT)  # unlike SIGKILL, it lets the bench end its workers
            printed = bench.communicate(timeout=60)[0]
            pytest.fail(f"The bench took longer than {limit} s:\n{printed}")
    tried = [line for line in printed.splitlines() if line.startswith("ok ")]
    skipped = [line for line in printed.splitlines() if line.startswith("skipped ")]
    assert bench.returncode == 0, printed
    if len(skipped) == len(faults):
        pytest.skip("; ".join(skipped))
    assert len(tried) == len(faults), printed


@on_this_database
def test_workers_are_killed():
    try_faults("kill-loops", "kill-fan-outs", "crash-after-commit", "drop-wake-ups")


@on_this_database
def test_workers_meet_and_oversleep():
    try_faults("claim-at-once", "oversleep", "two-sweeps", "overtake")


@on_this_database
def test_nobody_harms_anybody_else():
    try_faults("anybody-code", "anybody-answers", "anybody-outages", "anybody-services")


@on_this_database
def test_odd_values_harm_nobody_else():
    try_faults("anybody-rows", "anybody-recipients", "anybody-messages")


@on_this_database
def test_those_who_wait_harm_nobody_else():
    try_faults("anybody-sleepers", "anybody-turns", "anybody-topics", "anybody-replica")


@on_this_database
def test_what_people_do_at_once_harms_nobody_else():
    try_faults("anybody-erasing", "anybody-keys", "anybody-pausing", "anybody-preferences")


@on_this_database
def test_the_way_to_the_push_service_is_broken():
    try_faults("anybody-ways")


@on_this_database
def test_connections_break():
    try_faults("connections", *(["sqlite-busy", "file-limit"] if DATABASE == "sqlite" else ["database-away"]))


@pytest.mark.slow
@pytest.mark.skipif(DATABASE != "sqlite", reason="a server's disk cannot be filled by its client")
def test_the_disk_is_full():
    try_faults("disk-full")


@pytest.mark.services
@pytest.mark.skipif(DATABASE == "sqlite", reason="SQLite ends no session")
def test_workers_are_stopped_inside_transactions():
    try_faults("stop-in-transaction")


@pytest.mark.services
@pytest.mark.skipif(DATABASE == "sqlite", reason="SQLite writes one transaction after the other")
def test_transactions_conflict():
    try_faults("repeatable-read", "serializable")


@pytest.mark.services
@pytest.mark.skipif(DATABASE != "sqlite", reason="queues are tried once, with the database that needs no server")
@pytest.mark.parametrize(
    "queue", ["django-q2 over orm", "django-q2 over redis", "celery over redis", "celery over rabbitmq"]
)
def test_queues_are_killed_and_flushed_and_have_two_schedulers(queue):
    pytest.importorskip("django_q" if queue.startswith("django-q2") else "celery")
    faults = ["kill-django-q2", "two-clusters"] if queue.startswith("django-q2") else ["kill-celery", "two-beats"]
    try_faults(*faults, queue=queue)


@pytest.mark.services
@pytest.mark.skipif(DATABASE != "postgresql", reason="only PostgreSQL can make one database read-only")
def test_the_database_is_read_only_for_a_while():
    try_faults("read-only")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
@pytest.mark.skipif(DATABASE != "sqlite", reason="tried once")
def test_a_bench_that_takes_too_long_is_told_of_and_leaves_no_worker_behind(monkeypatch):
    mark = f"chaos-{uuid.uuid4().hex}"
    monkeypatch.setenv("CHAOS_SECRET_KEY", mark)
    with pytest.raises(pytest.fail.Exception, match=r"took longer than 15 s:\nsqlite: seed"):
        try_faults("kill-loops", limit=15)
    assert not [process for process in Path("/proc").glob("[0-9]*") if mark in environment_of(process)]


def environment_of(process):
    with suppress(OSError):  # it has ended
        return (process / "environ").read_text(errors="replace")
    return ""

"""Databases that are away, busy, full, or strict: rows are tried again or left claimable, and workers outlive it."""

from __future__ import annotations

import logging
import os
import re
import resource
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection, transaction

from benchmarks.chaos import workers
from benchmarks.chaos.bench import Bench, latency
from benchmarks.chaos.proxy import Proxy
from benchmarks.chaos.verdict import Finding, Impossible
from benchmarks.chaos.workers import Worker
from django_webpush_kit import services
from django_webpush_kit.database import error_code, is_conflict, retry_on_conflict
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.testing.fake_push_service import Fault

PORTS = {"postgresql": 5432, "mariadb": 3306}
DISK = "16m"
CONFLICT_CHUNK_SIZE = 5
MOST_ROUNDS = 5
"""Without a conflict the rounds go on, up to so many times what was planned."""

REQUEST_FAILED = "request failed"

Trouble = Callable[[list[Worker]], AbstractContextManager[None]]


def database_away(bench: Bench) -> Finding:
    """Cut every connection to the database, again and again: no worker dies, and nothing is lost."""
    finding = Finding("database gone for a while")
    with Proxy(int(connection.settings_dict["PORT"] or PORTS[bench.database])) as proxy:

        @contextmanager
        def away(_loops: list[Worker]) -> Iterator[None]:
            proxy.mode = "refuse"
            yield
            proxy.mode = "pass"

        return _endure(bench, finding, away, database={"HOST": "127.0.0.1", "PORT": str(proxy.port)})


def read_only(bench: Bench) -> Finding:
    """Cut the workers' sessions and let new ones be read-only, as after a failover: later sessions may write again."""
    finding = Finding("database read-only for a while")
    name = connection.ops.quote_name(connection.settings_dict["NAME"])

    @contextmanager
    def demoted(_loops: list[Worker]) -> Iterator[None]:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            yield
            cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")

    # kept for ever: only who closes such a session gets one that may write
    return _endure(bench, finding, demoted, database={"CONN_MAX_AGE": None})


def sqlite_busy(bench: Bench) -> Finding:
    """Hold SQLite's write lock longer than workers wait for it: they try again later."""
    finding = Finding("SQLite locked by another process")
    with closing(sqlite3.connect(connection.settings_dict["NAME"], timeout=30, isolation_level=None)) as other:

        @contextmanager
        def locked(_loops: list[Worker]) -> Iterator[None]:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("COMMIT")

        options = {**settings.DATABASES["default"]["OPTIONS"], "timeout": 0.1}
        return _endure(bench, finding, locked, database={"OPTIONS": options})


def file_limit(bench: Bench) -> Finding:
    """Let no file of the workers grow, then let it: they try again later, and nothing counts as sent that was not."""
    log = Path(f"{connection.settings_dict['NAME']}-wal")

    @contextmanager
    def limited(loops: list[Worker]) -> Iterator[None]:
        most = [resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)[1] for worker in loops]
        for worker, hard in zip(loops, most, strict=True):
            resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (min(log.stat().st_size, 4096), hard))
        time.sleep(0.2)  # a write that had begun comes to its end
        before = bench.open_rows()
        yield
        finding.expect(bench.open_rows() == before, "rows were written although no file may grow")
        for worker, hard in zip(loops, most, strict=True):
            resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (hard, hard))

    finding = Finding("no file of the workers may grow")
    return _endure(bench, finding, limited)


def disk_full(bench: Bench) -> Finding:
    """Fill the file system the outbox lies on to the last byte: workers are refused, and with room all is sent."""
    finding = Finding("disk full")
    refusals = 0
    with _file_system(bench.folder / "disk") as disk, _outbox_on(disk):
        filler = disk / "filler"

        @contextmanager
        def full(loops: list[Worker]) -> Iterator[None]:
            nonlocal refusals
            before = sum(map(_refusals, loops))
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            _fill(filler)
            refused = bench.wait_until(lambda: sum(map(_refusals, loops)) > before, 15)
            finding.expect(refused, "no worker was refused by the full disk: nothing was tried")
            left = os.statvfs(disk)
            finding.expect(left.f_bfree == 0, f"{left.f_bfree} blocks were free")
            yield
            filler.unlink()
            refusals += sum(map(_refusals, loops)) - before

        _endure(bench, finding, full, database={"NAME": connection.settings_dict["NAME"]})
    finding.figures |= {"refused writes": refusals}
    return finding


def repeatable_read(bench: Bench) -> Finding:
    """Let the database refuse whatever another transaction has changed since the snapshot was taken."""
    return _conflicts(bench, "REPEATABLE READ")


def serializable(bench: Bench) -> Finding:
    """Let the database refuse whatever would not have happened one after the other."""
    return _conflicts(bench, "SERIALIZABLE")


def _conflicts(bench: Bench, isolation: str) -> Finding:
    """Claim, record, sweep, write and cancel at once; kill a worker now and then, so that leases lapse too."""
    finding = Finding(f"conflicts under {isolation}")
    rounds = 8 if bench.small else 40
    surroundings: dict[str, Any] = {
        "database": {"OPTIONS": {**connection.settings_dict["OPTIONS"], **_isolated(bench.database, isolation)}},
        # many small transactions, each with more than one kind of outcome
        "kit": {
            "LEASE_SECONDS": 10,
            "CHUNK_SIZE": CONFLICT_CHUNK_SIZE,
            "RETRY_BASE_SECONDS": 0.2,
            "RETRY_CAP_SECONDS": 1.0,
        },
    }
    for browser in bench.browsers[::4]:
        bench.push_service.script(browser.endpoint, Fault(status=500, times=4 * rounds))
    hosts = [bench.start(write_and_cancel, **surroundings) for _ in range(2)]
    loops = [bench.start(deliver_and_count, **surroundings) for _ in range(6)]
    kills = len(hosts)
    for number in range(MOST_ROUNDS * rounds):
        if number >= rounds and _conflicts_noted(bench):
            break
        bench.send(100, max_retries=100)
        time.sleep(bench.random.uniform(0.2, 0.6))  # they meet at ever other moments
        if number % 5 == 2:
            bench.kill(loops.pop(0))
            loops.append(bench.start(deliver_and_count, **surroundings))
            kills += 1
    finding.expect(all(worker.is_alive for worker in [*hosts, *loops]), "a process died of a conflict")
    for worker in hosts:
        bench.kill(worker)
    bench.settle(finding)
    finding.expect(all(worker.is_alive for worker in loops), "a worker died of a conflict")
    bench.stop_workers()
    bench.push_service.clear_faults()
    logs = {log: log.read_text(errors="replace") for log in sorted(bench.folder.glob("worker-*.log"))}
    host_logs = {worker.log for worker in hosts}
    noted = _conflicts_noted(bench)
    conflicts = Counter(f"{code} in {'requests' if log in host_logs else 'workers'}" for log, code in noted)
    gave_up = sum("does not answer" in text for text in logs.values())
    cancelled = bench.rows.filter(status="cancelled").count()
    finding.expect(conflicts, "no conflict occurred: nothing was tried")
    finding.expect(not gave_up, f"{gave_up} workers gave up on a conflict")
    finding.expect(cancelled, "no row was cancelled: nothing was tried")
    finding.figures |= {"kills": kills, "cancelled": cancelled, **dict(sorted(conflicts.items()))}
    finding.figures |= {"requests failed": sum(logs[log].count(REQUEST_FAILED) for log in host_logs)}
    bench.judge(finding, may_be_cancelled=True)
    return finding


def deliver_and_count() -> None:
    """`deliver_push --loop` that prints each conflict."""
    _print_conflicts()
    workers.deliver_for_ever()


def write_and_cancel() -> None:
    """What hosts do in requests: write, look what is waiting, cancel that; a request starts over on a conflict."""
    _print_conflicts()
    subscriptions = get_subscription_model().objects.order_by("pk")
    while True:
        try:
            result = retry_on_conflict(lambda: services.send(subscriptions, "Shortly", max_retries=100))
            retry_on_conflict(partial(_cancel_what_waits, result))
        except OperationalError:
            print(REQUEST_FAILED, flush=True)
        time.sleep(0.05)  # the workers shall have time to send some


def _cancel_what_waits(result: services.SendResult) -> None:
    with transaction.atomic():
        if result.notifications.filter(status="pending").exists():
            services.cancel(result)


class _ConflictPrinter(logging.Handler):
    """Prints the database's code of each conflict that was tried again."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OperationalError) and is_conflict(error):
            print(f"conflict {error_code(error)}", flush=True)


def _conflicts_noted(bench: Bench) -> list[tuple[Path, str]]:
    """Each conflict so far: whose log names it, and the database's code."""
    return [
        (log, code)
        for log in sorted(bench.folder.glob("worker-*.log"))
        for code in re.findall(r"^conflict (\w+)", log.read_text(errors="replace"), re.MULTILINE)
    ]


def _print_conflicts() -> None:
    logger = logging.getLogger("django_webpush_kit")
    logger.setLevel(logging.INFO)
    logger.addHandler(_ConflictPrinter())
    logger.addHandler(_warnings())


def _warnings() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    return handler


def _isolated(database: str, isolation: str) -> dict[str, Any]:
    """The connection's options for an isolation level."""
    if database == "postgresql":
        # Django's own option, isolation_level, leaves single statements outside of transactions as they are
        level = isolation.lower().replace(" ", r"\ ")
        return {"options": f"-c default_transaction_isolation={level}"}
    with connection.cursor() as cursor:
        cursor.execute("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'")
        # what is the rule from MariaDB 11.6 on
        strict = {"init_command": "SET innodb_snapshot_isolation = ON"} if cursor.fetchall() else {}
    return {"isolation_level": isolation.lower(), **strict}


def _endure(bench: Bench, finding: Finding, trouble: Trouble, **surroundings: Any) -> Finding:
    """Let two workers deliver while the trouble comes and goes, and judge."""
    times = 2 if bench.small else 8
    with latency(bench.push_service, 0.1):
        loops = [bench.start(**surroundings) for _ in range(2)]
        for _ in range(times):
            bench.send(200)
            sending = bench.rows.filter(status="sending")
            bench.wait_until(sending.exists)
            time.sleep(bench.random.uniform(0, 0.2))  # trouble comes at any moment of a chunk
            with trouble(loops):
                bench.note_in_hand()
                time.sleep(bench.random.uniform(0.1, 3.0))  # shorter and longer than what is tried again lasts
            bench.settle(finding)
    finding.expect(all(worker.is_alive for worker in loops), "a worker died of it")
    bench.stop_workers()
    finding.figures |= {"times": times}
    bench.judge(finding)
    return finding


@contextmanager
def _file_system(folder: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Impossible("there is no `mount`") from error
    if done.returncode:
        raise Impossible(f"no file system may be mounted here ({done.stderr.strip() or done.returncode})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def _outbox_on(disk: Path) -> Iterator[None]:
    """Let this process work with a copy of the database on another disk."""
    usual, place = connection.settings_dict["NAME"], str(disk / "outbox.sqlite3")
    with closing(sqlite3.connect(usual)) as source:
        source.execute("VACUUM INTO ?", [place])  # without the room that earlier faults' rows have left
    connection.close()
    connection.settings_dict["NAME"] = place
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = usual


def _fill(filler: Path) -> None:
    """Write until the disk takes not one more byte."""
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 512, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def _refusals(worker: Worker) -> int:
    """How often the worker said that it was refused."""
    return worker.log.read_text(errors="replace").count("database or disk is full")

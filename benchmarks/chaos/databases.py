"""Databases that are away, busy or full: rows are tried again or left claimable, and workers outlive it."""

from __future__ import annotations

import resource
import sqlite3
import time
from pathlib import Path

from django.conf import settings
from django.db import connection

from benchmarks.chaos.bench import Bench, latency
from benchmarks.chaos.proxy import Proxy
from benchmarks.chaos.verdict import Finding

PORTS = {"postgresql": 5432, "mariadb": 3306}


def database_away(bench: Bench) -> Finding:
    """Cut every connection to the database, again and again: no worker dies, and nothing is lost."""
    finding = Finding("database gone for a while")
    outages = 3 if bench.small else 12
    with Proxy(int(connection.settings_dict["PORT"] or PORTS[bench.database])) as proxy:
        way = {"HOST": "127.0.0.1", "PORT": str(proxy.port)}
        with latency(bench.push_service, 0.02):
            loops = [bench.start(database=way) for _ in range(2)]
            for _ in range(outages):
                bench.send(100)
                time.sleep(bench.random.uniform(0.2, 0.8))
                proxy.mode = "refuse"
                bench.note_in_hand()
                time.sleep(bench.random.uniform(0.1, 3.0))
                proxy.mode = "pass"
            bench.settle(finding)
        finding.expect(all(worker.is_alive for worker in loops), "a worker died with the database")
        bench.stop_workers()
    finding.figures |= {"outages": outages}
    bench.judge(finding)
    return finding


def sqlite_busy(bench: Bench) -> Finding:
    """Hold SQLite's write lock longer than workers wait for it: they try again later."""
    finding = Finding("SQLite locked by another process")
    locks = 3 if bench.small else 12
    way = {"OPTIONS": {**settings.DATABASES["default"]["OPTIONS"], "timeout": 0.1}}
    with latency(bench.push_service, 0.02):
        loops = [bench.start(database=way) for _ in range(2)]
        other = sqlite3.connect(connection.settings_dict["NAME"], timeout=30, isolation_level=None)
        for _ in range(locks):
            bench.send(100)
            time.sleep(bench.random.uniform(0, 0.4))
            other.execute("BEGIN IMMEDIATE")
            bench.note_in_hand()
            time.sleep(bench.random.uniform(0.2, 3.0))
            other.execute("COMMIT")
        other.close()
        bench.settle(finding)
    finding.expect(all(worker.is_alive for worker in loops), "a worker died of a lock")
    bench.stop_workers()
    finding.figures |= {"locks": locks}
    bench.judge(finding)
    return finding


def disk_full(bench: Bench) -> Finding:
    """Let no file of the workers grow, then let it: they try again later, and nothing counts as sent that was not."""
    finding = Finding("disk full")
    times = 2 if bench.small else 8
    log = Path(f"{connection.settings_dict['NAME']}-wal")
    with latency(bench.push_service, 0.02):
        loop = bench.start()
        for _ in range(times):
            bench.send(200)
            bench.wait_until(lambda: bench.rows.filter(status="sending").exists())
            _, most = resource.prlimit(loop.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(loop.pid, resource.RLIMIT_FSIZE, (min(log.stat().st_size, 4096), most))
            time.sleep(0.2)
            bench.note_in_hand()
            before = bench.open_rows()
            time.sleep(bench.random.uniform(0.5, 3.0))
            finding.expect(bench.open_rows() == before, "rows were written to a full disk")
            bench.note_in_hand()
            resource.prlimit(loop.pid, resource.RLIMIT_FSIZE, (most, most))
            bench.settle(finding)
    finding.expect(loop.is_alive, "the worker died of a full disk")
    bench.stop_workers()
    finding.figures |= {"times": times}
    bench.judge(finding)
    return finding

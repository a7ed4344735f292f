"""Fills an outbox, lets three workers deliver it to two limited push services, and prints what each got."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.pacing.processes import SERVICES, URGENT_SECONDS
from benchmarks.pacing.service import LimitedServices
from django_webpush_kit.protocol.vapid import VapidKey

ROOT = Path(__file__).parents[2]
LIMIT = 1000
WINDOW_SECONDS = 60
WORKERS = 3
ROWS = 100_000


def main() -> None:
    """Run the bench with the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pacing", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--windows", type=int, default=3, help="minutes; the first is for learning (default: 3)")
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    with _database(options.database) as environment:
        environment |= {
            "DJANGO_SETTINGS_MODULE": "benchmarks.pacing.settings",
            "VAPID_PRIVATE_KEY": VapidKey.generate().pem(),
            "BENCH_SEND_RATES": json.dumps({SERVICES[0]: f"{LIMIT}/m"}),
        }
        with LimitedServices(LIMIT, WINDOW_SECONDS) as services:
            _process("fill", services.port, options.rows, environment).wait()
            services.started = time.time()
            urgent = _deliver(services, options.windows, environment)
    print(_table(services, options.windows, urgent))


def _deliver(services: LimitedServices, windows: int, environment: dict[str, str]) -> dict[str, float]:
    """Let the workers deliver during the windows; returns when each one-time password was written, by token."""
    number = int(windows * WINDOW_SECONDS / URGENT_SECONDS)
    sender = _process("urgent", services.port, number, environment)
    workers = [_process("worker", services.port, 0, environment) for _ in range(WORKERS)]
    time.sleep(max(services.started + windows * WINDOW_SECONDS - time.time(), 0))
    for process in [sender, *workers]:
        process.terminate()
    output = sender.communicate()[0]
    for process in workers:
        process.communicate()
    return {line["token"]: line["moment"] for line in map(json.loads, output.splitlines()[:-1])}


def _table(services: LimitedServices, windows: int, urgent: dict[str, float]) -> str:
    lines = [
        "| push service | minute | of the allowance used | answered 429 | urgent: median | 95th percentile |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for service in SERVICES:
        for window in range(windows):
            requests = [
                one for one in services.requests if one.service == service and services.window(one.moment) == window
            ]
            accepted = sum(one.status == 201 for one in requests)
            refused = len(requests) - accepted
            waits = sorted(_waits(services, service, window, urgent))
            lines.append(
                f"| {service} | {window + 1} | {accepted / LIMIT:.1%} | {refused / max(len(requests), 1):.1%} "
                f"| {_figures(waits)} |"
            )
    return "\n".join(lines)


def _figures(waits: list[float]) -> str:
    if not waits:
        return "none was written | "
    return f"{statistics.median(waits):.2f} s | {waits[int(len(waits) * 0.95)]:.2f} s"


def _waits(services: LimitedServices, service: str, window: int, urgent: dict[str, float]) -> Iterator[float]:
    """How long the one-time passwords that were written in a window took; those that never arrived count as a day."""
    arrived = {one.token: one.moment for one in reversed(services.requests) if one.status == 201}
    for token, moment in urgent.items():
        is_ours = int(token.removeprefix("urgent")) % len(SERVICES) == SERVICES.index(service)
        is_early = moment < max(urgent.values()) - 5  # on a busy machine fewer are written than planned
        if is_ours and is_early and services.window(moment) == window:
            yield arrived.get(token, moment + 86_400) - moment


def _process(task: str, port: int, number: int, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.pacing.processes", task, str(port), str(number)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


@contextmanager
def _database(vendor: str) -> Iterator[dict[str, Any]]:
    """An empty database; yields the environment of the processes that use it."""
    environment = {**os.environ, "BENCH_DATABASE": vendor}
    if vendor == "sqlite":
        with tempfile.TemporaryDirectory(prefix="webpush-bench-") as folder:
            yield {**environment, "BENCH_DATABASE_NAME": f"{folder}/bench.sqlite3"}
        return
    import psycopg

    name = f"webpush_kit_pacing_{os.getpid()}"
    with psycopg.connect(
        host=os.environ.get("BENCH_POSTGRESQL_HOST", "127.0.0.1"),
        user=os.environ.get("BENCH_POSTGRESQL_USER", "postgres"),
        password=os.environ.get("BENCH_POSTGRESQL_PASSWORD", ""),
        dbname="postgres",
        autocommit=True,
    ) as server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield {**environment, "BENCH_DATABASE_NAME": name}
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


if __name__ == "__main__":
    main()

"""`python -m benchmarks.chaos [--small] [--database NAME] [--only FAULT]`: try every fault that can be tried here.

SQLite needs nothing. PostgreSQL, MariaDB, Redis and RabbitMQ take part when they listen on loopback and their driver is
installed (`TEST_*` in tests/settings.py says where and as whom).
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.chaos.tables import table

PLACES = {
    "sqlite": ("sqlite3", 0),
    "postgresql": ("psycopg", 5432),
    "mariadb": ("MySQLdb", 3306),
    "django-q2 over orm": ("django_q", 0),
    "django-q2 over redis": ("django_q", 6379),
    "celery over redis": ("celery", 6379),
    "celery over rabbitmq": ("celery", 5672),
}
"""Module and port that a database or a queue needs."""

DATABASES = ("sqlite", "postgresql", "mariadb")
QUEUES = tuple(place for place in PLACES if place not in DATABASES)


@dataclass(frozen=True, slots=True)
class Run:
    """One process of the bench: a database, and a queue or ""."""

    database: str
    queue: str = ""


def main() -> int:
    """Run, print the table, and say whether a promise broke."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description="Try to lose a notification.")
    parser.add_argument("--small", action="store_true", help="a few kills of each kind instead of hundreds")
    parser.add_argument("--database", action="append", choices=DATABASES, help="only this one; may be repeated")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="FAULT",
        help="only this one, or this group: anybody; may be repeated",
    )
    parser.add_argument("--jobs", type=int, default=1, help="how many databases and queues to try at once")
    parser.add_argument("--seed", help="what is random: the same moments to kill, as far as machines repeat themselves")
    options = parser.parse_args()
    here = [place for place in PLACES if _is_here(place)]
    wanted = options.database or DATABASES
    arguments = ["--small"] * options.small + [f"--only={name}" for name in options.only]
    arguments += [f"--seed={options.seed}"] if options.seed else []
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        results = Path(folder) / "results.jsonl"
        results.touch()

        def try_all(run: Run, part: str) -> bool:
            command = [sys.executable, "-m", "benchmarks.chaos.one", run.database, "--queue", run.queue]
            places = ["--results", str(results), "--part", part]
            return subprocess.run([*command, *places, *arguments], check=False).returncode == 0

        plan = list(_plan([place for place in here if place not in DATABASES or place in wanted]))
        with ThreadPoolExecutor(options.jobs) as pool:
            held = list(pool.map(partial(try_all, part="untimed"), plan))
        # what promises seconds is tried alone
        held += [try_all(run, part="timed") for run in plan if not run.queue]
        findings = sorted(map(json.loads, results.read_text().splitlines()), key=lambda one: one["place"])
    tried = [finding for finding in findings if not finding["impossible"]]
    print("\n".join(["", *table(tried)]))
    print(f"\nTook {(time.monotonic() - started) / 60:.0f} minutes.")
    for finding in findings:
        if finding["impossible"]:
            print(f"Not tried: {finding['fault']}: {finding['impossible']}")
        for promise in finding["broken"]:
            print(f"BROKEN: {finding['fault']}, {finding['database']}: {promise}")
    runner = [] if shutil.which("node") else ["node, so that no service worker was asked what it shows twice"]
    for missing in [*(place for place in PLACES if place not in here), *runner]:
        print(f"Not tried, as it is not here: {missing}")
    if not tried:
        print("\nNothing was tried: see --only, and FAULTS in benchmarks/chaos/faults.py.")
        return 1
    print(f"\n{'Nothing was lost.' if all(held) else 'A PROMISE BROKE.'}")
    return int(not all(held))


def _is_here(place: str) -> bool:
    module, port = PLACES[place]
    if find_spec(module) is None or (port == 6379 and find_spec("redis") is None):
        return False
    with socket.socket() as probe:
        return not port or probe.connect_ex(("127.0.0.1", port)) == 0


def _plan(here: list[str]) -> Iterator[Run]:
    """Every database without a queue, then every queue with every database."""
    for queue in ("", *(place for place in here if place in QUEUES)):
        for database in DATABASES:
            if database in here:
                yield Run(database, queue)


if __name__ == "__main__":
    sys.exit(main())

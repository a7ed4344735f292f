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
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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
    parser.add_argument("--only", action="append", default=[], metavar="FAULT", help="only this one; may be repeated")
    parser.add_argument("--seed", help="what is random: the same moments to kill, as far as machines repeat themselves")
    options = parser.parse_args()
    here = [place for place in PLACES if _is_here(place)]
    wanted = options.database or DATABASES
    arguments = ["--small"] * options.small + [f"--only={name}" for name in options.only]
    arguments += [f"--seed={options.seed}"] if options.seed else []
    is_well = True
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        results = Path(folder) / "results.jsonl"
        results.touch()
        for run in _plan([place for place in here if place not in DATABASES or place in wanted]):
            command = [sys.executable, "-m", "benchmarks.chaos.one", run.database, "--queue", run.queue]
            done = subprocess.run([*command, "--results", str(results), *arguments], check=False)
            is_well = is_well and done.returncode == 0
        findings = [json.loads(line) for line in results.read_text().splitlines()]
    print("\n".join(["", *_table(findings)]))
    runner = [] if shutil.which("node") else ["node, so that no service worker was asked what it shows twice"]
    for missing in [*(place for place in PLACES if place not in here), *runner]:
        print(f"Not tried, as it is not here: {missing}")
    if not findings:
        print("\nNothing was tried: see --only, and FAULTS in benchmarks/chaos/faults.py.")
        return 1
    print(f"\n{'Nothing was lost.' if is_well else 'A PROMISE BROKE.'}")
    return int(not is_well)


def _is_here(place: str) -> bool:
    module, port = PLACES[place]
    if find_spec(module) is None or (port == 6379 and find_spec("redis") is None):
        return False
    with socket.socket() as probe:
        return not port or probe.connect_ex(("127.0.0.1", port)) == 0


def _plan(here: list[str]) -> Iterator[Run]:
    """Every database without a queue; every queue on one database, on another each time."""
    databases = [place for place in here if place in DATABASES]
    for database in databases:
        yield Run(database)
    for number, queue in enumerate(place for place in here if place in QUEUES):
        yield Run(databases[number % len(databases)], queue)


def _table(findings: list[dict[str, Any]]) -> Iterator[str]:
    yield "| fault | database | figures | |"
    yield "|---|---|---|---|"
    for finding in findings:
        figures = ", ".join(f"{value} {name}" for name, value in finding["figures"].items())
        verdict = "held" if not finding["broken"] else "BROKEN: " + "; ".join(finding["broken"])
        yield f"| {finding['fault']} | {finding['database']} | {figures} | {verdict} |"
    kills, lost, twice = (
        sum(finding["figures"].get(name, 0) for finding in findings) for name in ("kills", "lost", "shown twice")
    )
    yield f"| all | | {kills} kills, {lost} lost, {twice} shown twice | |"


if __name__ == "__main__":
    sys.exit(main())

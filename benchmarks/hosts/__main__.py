"""`python -m benchmarks.hosts [--small] [--only LINE]`: outgrow one machine, and lose parts of the others.

Starts a PostgreSQL and a RabbitMQ of its own, and up to three hosts with Celery workers, each in a network namespace.
Needs Linux, root, `ip` and `setpriv`, the programs of PostgreSQL and RabbitMQ, and Celery and psycopg.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.chaos.tables import table
from benchmarks.hosts import machine
from django_webpush_kit.protocol.vapid import generate_vapid_keys

NAMES = ("rate", "host-lost", "host-cut", "partition", "broker-restart", "database-restart")
MAX_HOSTS = 3
KIT = {
    "TASK_BACKEND": "django_webpush_kit.task_backends.CeleryBackend",
    # a request that times out on a busy machine is tried again soon
    "RETRY_BASE_SECONDS": 0.5,
    "RETRY_CAP_SECONDS": 3.0,
    "MAX_RETRIES": 100,
}
BROWSERS = 20


def main() -> int:
    """Run the lines and print their table; 1 when a promise broke, 2 when the bench cannot run here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hosts", description="Several machines, on one.")
    parser.add_argument("--small", action="store_true", help="two hosts, fewer rows, each fault once")
    parser.add_argument("--only", action="append", choices=NAMES, default=[], help="only this line; may be repeated")
    options = parser.parse_args()
    missing = machine.missing()
    if missing:
        print(f"The bench of several machines cannot run here. It needs {missing}.", file=sys.stderr)
        return 2
    started = time.monotonic()
    try:
        findings = list(_run(options.only or NAMES, small=options.small))
    except KeyboardInterrupt:
        print("Interrupted. Everything that the bench had started is removed.", file=sys.stderr)
        return 130
    print("\n".join(["", *table([asdict(finding) for finding in findings])]))
    print(f"\nTook {(time.monotonic() - started) / 60:.0f} minutes; {os.cpu_count()} cores for all hosts together.")
    for finding in findings:
        for promise in finding.broken:
            print(f"BROKEN: {finding.fault}: {promise}")
    is_broken = any(finding.broken for finding in findings)
    print(f"\n{'A PROMISE BROKE.' if is_broken else 'Nothing was lost.'}")
    return int(is_broken)


def _run(names: tuple[str, ...] | list[str], *, small: bool) -> Iterator[Any]:
    """Yield the finding of each line."""
    subnet = machine.free_subnet()
    _set_environment(database=f"{subnet}.2", broker=f"{subnet}.3")

    import django

    django.setup()
    import_module("benchmarks.hosts.celery_app")
    from benchmarks.hosts.lines import LINES, rate

    with _stopped_once(), tempfile.TemporaryDirectory(prefix="hosts-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the servers run as users of their own
        with _cluster(folder, subnet) as cluster:
            for line in names:
                if line == "rate":
                    for number in (1, 2) if small else range(1, MAX_HOSTS + 1):
                        yield _try(line, lambda trial, n=number: rate(trial, n, small=small), cluster, small=small)
                else:
                    yield _try(line, lambda trial, n=line: LINES[n](trial, small=small), cluster, small=small)


@contextmanager
def _cluster(folder: Path, subnet: str) -> Iterator[Any]:
    """The servers with an empty database, and the hosts."""
    from django.db import connection

    from benchmarks.chaos import lapses
    from benchmarks.hosts.cluster import Cluster
    from benchmarks.hosts.network import Network
    from benchmarks.hosts.servers import PostgreSQL, RabbitMQ

    with Network(subnet) as network:
        database = PostgreSQL(network.add("database"), folder / "postgresql")
        broker = RabbitMQ(network.add("broker"), folder / "rabbitmq")
        hosts = [network.add(f"host{number}") for number in range(1, MAX_HOSTS + 1)]
        try:
            database.start()
            broker.start()
            os.environ["TEST_DATABASE_NAME"] = connection.creation.create_test_db(verbosity=0, serialize=False)
            lapses.install()
            yield Cluster(network, database, broker, hosts)
        finally:
            connection.close()
            for server in (broker, database):
                server.kill()


def _try(name: str, line: Any, cluster: Any, *, small: bool) -> Any:
    from benchmarks.chaos.bench import Bench
    from benchmarks.chaos.verdict import Finding
    from benchmarks.hosts.cluster import Trial
    from benchmarks.hosts.lines import PATIENT

    started = time.monotonic()
    kit = PATIENT if name == "rate" else None
    with (
        tempfile.TemporaryDirectory(prefix="hosts-") as folder,
        Trial(cluster, Bench(Path(folder), small=small, browsers=BROWSERS), kit) as trial,
    ):
        try:
            finding = line(trial)
        except Exception as error:  # noqa: BLE001  # the other lines are still to be tried
            traceback.print_exc()
            finding = Finding(name, broken=[f"the bench itself failed: {error!r}"])
    finding.database = "postgresql"
    finding.figures["s"] = round(time.monotonic() - started)
    figures = ", ".join(f"{value} {figure}" for figure, value in finding.figures.items())
    print(f"{'BROKEN' if finding.broken else 'ok '} {finding.fault}: {figures}", flush=True)
    return finding


def _set_environment(*, database: str, broker: str) -> None:
    """What the processes on all hosts have in common: they inherit it."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "benchmarks.hosts.settings",
        "TEST_DATABASE": "postgresql",
        "TEST_POSTGRESQL_HOST": database,
        "TEST_POSTGRESQL_USER": "postgres",
        "TEST_POSTGRESQL_PASSWORD": "",
        "TEST_RABBITMQ_URL": f"amqp://guest:guest@{broker}:5672//",
        "VAPID_PRIVATE_KEY": generate_vapid_keys()["private_key"],
        "CHAOS_TASKS": "celery",
        "CHAOS_BROKER": "rabbitmq",
        "CHAOS_QUEUE": f"hosts-{os.getpid()}",
        "CHAOS_KIT": json.dumps(KIT),
    }


@contextmanager
def _stopped_once() -> Iterator[None]:
    """Let Ctrl-C or SIGTERM end the bench once; while everything is removed, both are ignored."""

    def stop(number: int, frame: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(1)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())

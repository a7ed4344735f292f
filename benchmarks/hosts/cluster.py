"""Hosts full of Celery workers, and the bench that sends to them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from django.db import OperationalError, connection

from benchmarks.chaos.bench import Bench
from benchmarks.chaos.proxy import Proxy
from benchmarks.chaos.settings import QUEUE
from benchmarks.chaos.verdict import Finding
from benchmarks.chaos.workers import Worker
from benchmarks.hosts.network import Host, Network
from benchmarks.hosts.servers import PostgreSQL, RabbitMQ

PROCESSES = 2
SCHEDULERS = 2
"""So many hosts run `celery beat` too, so that the loss of one does not end the sweep."""

READY_SECONDS = 240.0
APPLICATION = ("-m", "celery", "-A", "benchmarks.hosts.celery_app")


@dataclass(frozen=True, slots=True)
class Cluster:
    """What every line of the bench has: the two servers and the workers' hosts."""

    network: Network
    database: PostgreSQL
    broker: RabbitMQ
    hosts: list[Host]


class Trial:
    """One line of the bench: a push service, browsers, and so many hosts at work; a context manager."""

    def __init__(self, cluster: Cluster, bench: Bench, kit: Mapping[str, Any] | None = None) -> None:
        self.cluster = cluster
        self.bench = bench
        self._environment = {"CHAOS_KIT": json.dumps(kit)} if kit else {}
        self._stack = ExitStack()
        self.working: dict[Host, list[Worker]] = {}

    def __enter__(self) -> Trial:  # noqa: PYI034  # Self is not in Python 3.10
        push_service = self.bench.push_service
        push_service.hostname = self.cluster.network.address
        push_service.port = free_port()
        with ExitStack() as stack:
            proxy = stack.enter_context(Proxy(push_service.port, address=self.cluster.network.address))
            push_service.public_port = proxy.port
            stack.enter_context(self.bench)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        for host in self.cluster.hosts:
            host.kill_processes()
        self._stack.close()

    def start(self, number: int) -> list[Host]:
        """Start workers on so many hosts, and return these when all are ready."""
        hosts = self.cluster.hosts[:number]
        for position, host in enumerate(hosts):
            worker = ["worker", "-c", str(PROCESSES), "-n", f"{host.namespace}@%h", "--loglevel=INFO", "-Q", QUEUE]
            started = [self._run(host, *worker, "--without-mingle", "--without-gossip")]
            if position < SCHEDULERS:
                schedule = self.bench.folder / f"schedule-{host.namespace}"
                started.append(self._run(host, "beat", "--loglevel=INFO", "--pidfile=", "-s", str(schedule)))
            self.working[host] = started
        self.bench.wait_until(lambda: all(map(self._is_ready, hosts)) or self._ended(), READY_SECONDS)
        if self._ended() or not all(map(self._is_ready, hosts)):
            logs = [worker.log.read_text(errors="replace")[-1000:] for host in hosts for worker in self.working[host]]
            raise RuntimeError("The workers did not start:\n" + "\n".join(logs))
        return hosts

    def lose(self, host: Host) -> int:
        """Kill everything on a host; returns how many processes that were."""
        killed = host.kill_processes()
        for worker in self.working.pop(host, []):
            worker.wait(10)
            self.bench.workers.remove(worker)
        self.bench.note_in_hand()
        return killed

    def settle(self, finding: Finding, seconds: float = 240.0) -> float:
        """Wait until every row has come to an end; returns the seconds that took."""
        return round(self.bench.settle(finding, seconds), 1)

    def rows_in_hand(self) -> int:
        """How many rows are leased now."""
        return int(self.bench.rows.filter(status="sending").count())

    def expect_alive(self, finding: Finding) -> None:
        """No worker and no scheduler may have ended by itself."""
        ended = self._ended()
        finding.expect(not ended, f"processes ended by themselves: {', '.join(ended)}")

    def _ended(self) -> list[str]:
        """The logs of processes that have ended."""
        return [worker.log.name for started in self.working.values() for worker in started if not worker.is_alive]

    def _run(self, host: Host, *arguments: str) -> Worker:
        log = self.bench.next_log()
        worker = host.run_python(*APPLICATION, *arguments, log=log, environment=self._environment)
        self.bench.workers.append(worker)
        return worker

    def _is_ready(self, host: Host) -> bool:
        return " ready." in self.working[host][0].log.read_text(errors="replace")


def reconnect(seconds: float = 30.0) -> None:
    """Connect this process to the database again, which has been away."""
    until = time.monotonic() + seconds
    while True:
        connection.close()
        try:
            connection.ensure_connection()
        except OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)  # until the server accepts connections
        else:
            return


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

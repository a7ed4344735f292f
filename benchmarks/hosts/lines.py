"""The lines of the bench: what is done to the hosts, and what must come of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

from django.utils import timezone

from benchmarks.chaos.bench import latency
from benchmarks.chaos.settings import LEASE_SECONDS, MAX_IN_FLIGHT, WEBPUSH_KIT
from benchmarks.chaos.verdict import Finding
from benchmarks.hosts.cluster import PROCESSES, Trial, reconnect
from benchmarks.hosts.network import Host

LATENCY_SECONDS = 0.1
AWAY_SECONDS = 6.0
"""Longer than a lease and than what a connection waits: a shorter time tries less."""

PATIENT: dict[str, Any] = {
    **WEBPUSH_KIT,
    "LEASE_SECONDS": 120,
    "TRANSPORT": {"BACKEND": "auto", "OPTIONS": {"timeout": 30, "max_in_flight": MAX_IN_FLIGHT}},
}
"""For the rates: nothing is lost there, so nothing needs to be found soon."""

HOST_RATE = PROCESSES * MAX_IN_FLIGHT / LATENCY_SECONDS
"""Messages that a host sends in a second when it only waits for answers."""


def rate(trial: Trial, number: int, *, small: bool) -> Finding:
    """Let so many hosts deliver a backlog that falls due at once, and tell the rate of its middle."""
    finding = Finding(f"{number} host{'s' * (number > 1)} at work")
    rows = int(HOST_RATE * number * (4 if small else 12))
    with latency(trial.bench.push_service, LATENCY_SECONDS):
        trial.start(number)
        trial.bench.send(rows, scheduled_for=timezone.now() + timedelta(seconds=2 + rows / 300))
        trial.settle(finding, 300)
    moments = sorted(trial.bench.rows.filter(sent_at__isnull=False).values_list("sent_at", flat=True))
    first, last = len(moments) // 4, len(moments) * 3 // 4
    seconds = (moments[last] - moments[first]).total_seconds() if moments else 0
    trial.expect_alive(finding)
    trial.bench.judge(finding)
    finding.expect(not finding.figures["repeats"], "a row was sent twice although nothing was lost")
    finding.figures |= {"messages/s": round((last - first) / seconds) if seconds else 0}
    return finding


def host_cut(trial: Trial, *, small: bool) -> Finding:
    """Pull a host's cable while it has rows in flight, and put it back after its leases have lapsed."""
    return _part(trial, "a host's link is cut", lambda host: host.cut_off(), small=small)


def partition(trial: Trial, *, small: bool) -> Finding:
    """Let no packet through between a host and the database; it still reaches the push service and the broker."""
    database = trial.cluster.database.host
    return _part(trial, "a host cannot reach the database", lambda host: host.parted_from(database), small=small)


def host_lost(trial: Trial, *, small: bool) -> Finding:
    """Kill everything on the host that runs a scheduler, amid its work: the others send what it had in hand."""
    finding = Finding("a host is lost")
    with latency(trial.bench.push_service, LATENCY_SECONDS):
        first, *_others = trial.start(2 if small else 3)
        _send_and_wait(trial, finding, small=small)
        killed = trial.lose(first)
        finding.expect(killed, "nothing ran on the host: nothing was tried")
        seconds = trial.settle(finding)
    trial.expect_alive(finding)
    trial.bench.judge(finding)
    finding.figures |= {"kills": killed, "s until all was sent": seconds}
    return finding


def broker_restart(trial: Trial, *, small: bool) -> Finding:
    """Stop RabbitMQ, write rows meanwhile, kill it the second time: workers find it again, and all is sent."""
    return _restart(trial, "RabbitMQ is restarted", trial.cluster.broker, small=small)


def database_restart(trial: Trial, *, small: bool) -> Finding:
    """Stop PostgreSQL amid the work and start it again; the second time kill it, so that it has to recover."""
    return _restart(trial, "PostgreSQL is restarted", trial.cluster.database, small=small)


def _part(trial: Trial, name: str, part: Callable[[Host], AbstractContextManager[None]], *, small: bool) -> Finding:
    """Part the host that works first from something, let the others do its work, and see that it comes back."""
    finding = Finding(name)
    with latency(trial.bench.push_service, LATENCY_SECONDS):
        first, *others = trial.start(2 if small else 3)
        _send_and_wait(trial, finding, small=small)
        with part(first):
            trial.bench.note_in_hand()
            time.sleep(LEASE_SECONDS + AWAY_SECONDS)  # the host is away for longer than its leases
            seconds = trial.settle(finding)
        trial.expect_alive(finding)
        # what the host does alone shows that it is back
        for other in others:
            trial.lose(other)
        trial.bench.send(60)
        back = trial.settle(finding, 180)
    trial.expect_alive(finding)
    trial.bench.judge(finding, was_database_away=True)
    lapsed = finding.figures["left open"]
    finding.expect(lapsed, "the host had nothing in flight: nothing was tried")
    finding.figures |= {
        "s until the others had sent all": round(LEASE_SECONDS + AWAY_SECONDS + seconds, 1),
        "s until the host worked again": back,
    }
    return finding


def _restart(trial: Trial, name: str, server: Any, *, small: bool) -> Finding:
    finding = Finding(name)
    is_database = server is trial.cluster.database
    ways = [server.stop] if small else [server.stop, server.kill]
    seconds = []
    with latency(trial.bench.push_service, LATENCY_SECONDS):
        trial.start(2 if small else 3)
        for end in ways:
            _send_and_wait(trial, finding, small=small)
            trial.bench.note_in_hand()
            with _away(server, end, is_database=is_database):
                if not is_database:
                    started = time.monotonic()
                    trial.bench.send(40)  # the caller is not kept waiting
                    finding.expect(time.monotonic() - started < 20, "send() waited for the broker")
                time.sleep(AWAY_SECONDS)  # the server is away
            seconds.append(trial.settle(finding))
            # that the workers hear of new rows again
            trial.bench.send(40)
            trial.settle(finding)
    trial.expect_alive(finding)
    trial.bench.judge(finding, was_database_away=is_database)
    finding.figures |= {"times": len(ways), "s until all was sent": max(seconds)}
    return finding


@contextmanager
def _away(server: Any, end: Callable[[], None], *, is_database: bool) -> Any:
    end()
    try:
        yield
    finally:
        server.start()
        if is_database:
            reconnect()


def _send_and_wait(trial: Trial, finding: Finding, *, small: bool) -> None:
    """Let more rows fall due at once than the hosts send in a few seconds, and wait until they have many in hand."""
    hosts = len(trial.working)
    rows = int(HOST_RATE * hosts * (3 if small else 5))
    due = timezone.now() + timedelta(seconds=2 + rows / 200)
    trial.bench.send(rows, scheduled_for=due)
    time.sleep(max((due - timezone.now()).total_seconds(), 0))  # the rows become due
    in_hand = hosts * PROCESSES * MAX_IN_FLIGHT // 2
    is_at_work = trial.bench.wait_until(lambda: trial.rows_in_hand() >= in_hand, 60)
    finding.expect(is_at_work, "the hosts were not at work: nothing was tried")


LINES: dict[str, Callable[..., Finding]] = {
    "host-lost": host_lost,
    "host-cut": host_cut,
    "partition": partition,
    "broker-restart": broker_restart,
    "database-restart": database_restart,
}
"""Each line by its name on the command line; "rate" is beside them."""

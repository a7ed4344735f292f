"""The list of faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.chaos import (
    anybody,
    crossings,
    databases,
    kills,
    leases,
    network,
    odd_rows,
    odd_values,
    outages,
    replica,
    schedulers,
    sleepers,
    urgent,
    wakeups,
)
from benchmarks.chaos.bench import Bench
from benchmarks.chaos.verdict import Finding

ALL = ("sqlite", "postgresql", "mariadb")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: how it is called on the command line, how it is tried, on which databases and queues it exists.

    `queues` are "tasks over broker"; empty: no queue takes part. What promises seconds `is_timed`.
    """

    name: str
    attempt: Callable[[Bench], Finding]
    databases: tuple[str, ...] = ALL
    queues: tuple[str, ...] = ()
    browsers: int = 20
    is_timed: bool = False


FAULTS = [
    Fault("kill-loops", kills.kill_loops),
    Fault("kill-writers", kills.kill_writers),
    Fault("kill-fan-outs", kills.kill_fan_outs, browsers=120),
    Fault("kill-django-q2", kills.kill_django_q, queues=("django-q2 over orm", "django-q2 over redis")),
    Fault("kill-celery", kills.kill_celery, queues=("celery over redis", "celery over rabbitmq")),
    Fault("two-clusters", schedulers.two_django_q_clusters, queues=("django-q2 over orm", "django-q2 over redis")),
    Fault("two-beats", schedulers.two_celery_beats, queues=("celery over redis", "celery over rabbitmq")),
    Fault("oversleep", leases.oversleep),
    Fault("stop-in-transaction", leases.stop_in_transaction, databases=("postgresql", "mariadb")),
    Fault("claim-at-once", leases.claim_at_once),
    Fault("two-sweeps", leases.two_sweeps),
    Fault("poison-row", leases.poison_row),
    Fault("drop-wake-ups", wakeups.drop_wake_ups),
    Fault("crash-after-commit", wakeups.crash_after_commit),
    Fault("rotate-keys", wakeups.rotate_keys),
    Fault("answers", network.answers),
    Fault("connections", network.connections),
    Fault("database-away", databases.database_away, databases=("postgresql", "mariadb")),
    Fault("read-only", databases.read_only, databases=("postgresql",)),
    Fault("repeatable-read", databases.repeatable_read, databases=("postgresql", "mariadb")),
    Fault("serializable", databases.serializable, databases=("postgresql", "mariadb")),
    Fault("sqlite-busy", databases.sqlite_busy, databases=("sqlite",)),
    Fault("disk-full", databases.disk_full, databases=("sqlite",)),
    Fault("file-limit", databases.file_limit, databases=("sqlite",)),
    Fault("anybody-outages", outages.answers, browsers=10),
    Fault("anybody-ways", outages.ways, browsers=1),
    Fault("anybody-topics", sleepers.topics, browsers=10),
    Fault("anybody-replica", replica.behind, browsers=10),
    Fault("anybody-erasing", crossings.erasing, browsers=10),
    Fault("anybody-keys", crossings.keys, browsers=10),
    Fault("anybody-pausing", crossings.pausing, browsers=10),
    Fault("anybody-preferences", crossings.preferences, browsers=10),
    Fault("anybody-rows", odd_rows.stored, browsers=10, is_timed=True),
    Fault("anybody-recipients", odd_values.recipients, browsers=10, is_timed=True),
    Fault("anybody-messages", odd_values.messages, browsers=10, is_timed=True),
    Fault("anybody-sleepers", sleepers.sleepers, browsers=10, is_timed=True),
    Fault("anybody-turns", sleepers.turns, browsers=10, is_timed=True),
    Fault("anybody-code", anybody.code, browsers=10, is_timed=True),
    Fault("anybody-answers", anybody.answers, browsers=10, is_timed=True),
    Fault("anybody-services", anybody.push_services, is_timed=True),
    Fault("overtake", urgent.overtake, is_timed=True),
    Fault("overtake-fan-out", urgent.overtake_fan_out, is_timed=True),
]


def is_asked(fault: Fault, names: list[str]) -> bool:
    """Whether one of the names is that of the fault, or of its group ("anybody"); all are without names."""
    return not names or any(fault.name == name or fault.name.startswith(f"{name}-") for name in names)


def is_possible(fault: Fault, database: str, queue: str) -> bool:
    """Whether the fault exists on this database, with this queue ("": none)."""
    return database in fault.databases and (queue in fault.queues if queue else not fault.queues)

"""The list of faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.chaos import kills
from benchmarks.chaos.bench import Bench
from benchmarks.chaos.verdict import Finding

ALL = ("sqlite", "postgresql", "mariadb")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: how it is called on the command line, how it is tried, where it exists."""

    name: str
    attempt: Callable[[Bench], Finding]
    databases: tuple[str, ...] = ALL
    needs: tuple[str, ...] = ()
    browsers: int = 20


FAULTS = [
    Fault("kill-loops", kills.kill_loops),
]


def is_possible(fault: Fault, database: str) -> bool:
    """Whether this database has the fault, and everything it needs is here."""
    return database in fault.databases

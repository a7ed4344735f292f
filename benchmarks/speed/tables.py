"""The tables of the bench, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.speed.measure import Measurement

DJANGO_LIBRARIES = ("django-webpush", "django-push-notifications")


@dataclass(frozen=True, slots=True)
class Contest:
    """One line of the comparison; `peer` is the name of another library, "" for this one."""

    label: str
    database: str
    latency: int
    measurement: Measurement
    peer: str = ""


def medians(contests: Sequence[Contest]) -> list[Contest]:
    """Of the rounds of each contestant the one with the median rate."""
    rounds: dict[tuple[int, str, str], list[Contest]] = {}
    for contest in contests:
        rounds.setdefault((contest.latency, contest.label, contest.database), []).append(contest)
    return [sorted(several, key=lambda one: one.measurement.rate)[len(several) // 2] for several in rounds.values()]


def comparison(contests: Sequence[Contest]) -> str:
    """Every contestant at each latency, and how many times this library is as fast as the others."""
    rows = []
    for contest in contests:
        others = [one for one in contests if one.latency == contest.latency and one.peer]
        of_django = [one for one in others if one.peer in DJANGO_LIBRARIES]
        found = contest.measurement
        rows.append(
            (
                f"{contest.latency} ms",
                contest.label,
                contest.database,
                f"{found.rate:,.0f}",
                f"{found.microseconds:,.0f} us",
                f"{found.peak_megabytes:,.0f} MB",
                f"{found.floor_ratio:.2f}" if found.floor_ratio else "",
                "" if contest.peer else _times(found, others),
                "" if contest.peer else _times(found, of_django),
            )
        )
    head = (
        "latency",
        "way",
        "database",
        "messages/s",
        "CPU per message",
        "peak memory",
        "P-256 floor / CPU",
        "x best peer",
        "x Django libraries",
    )
    return _table(head, rows)


def scale(found: Iterable[tuple[str, dict[str, Any]]]) -> str:
    """What one worker does with ever more recipients."""
    head = (
        "database",
        "recipients",
        "enqueued/s",
        "CPU per row enqueued",
        "claim of 500",
        "delivered/s",
        "CPU per message",
        "peak memory",
    )
    rows = [
        (
            database,
            f"{figures['rows']:,.0f}",
            f"{figures['enqueue_rate']:,.0f}",
            f"{figures['enqueue_microseconds']:,.0f} us",
            f"{figures['claim_milliseconds']:.1f} ms",
            f"{figures['delivery_rate']:,.0f}",
            f"{figures['delivery_microseconds']:,.0f} us",
            f"{figures['peak_megabytes']:,.0f} MB",
        )
        for database, figures in found
    ]
    return _table(head, rows)


def workers(found: Iterable[tuple[str, int, dict[str, float]]]) -> str:
    """What several workers do with one backlog."""
    head = ("database", "workers", "messages/s", "x one worker", "CPU per message", "cores the workers keep busy")
    alone: dict[str, float] = {}
    rows = []
    for database, number, figures in found:
        alone.setdefault(database, figures["rate"])
        rows.append(
            (
                database,
                str(number),
                f"{figures['rate']:,.0f}",
                f"{figures['rate'] / alone[database]:.2f}",
                f"{figures['microseconds']:,.0f} us",
                f"{figures['busy']:.2f}",
            )
        )
    return _table(head, rows)


def _times(found: Measurement, others: Sequence[Contest]) -> str:
    best = max((other.measurement.rate for other in others), default=0.0)
    return f"{found.rate / best:.1f}" if best else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

"""The table of findings, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

COLUMNS = ("kills", "rows", "lost", "repeats", "left open", "shown twice")
RARE = ("unanswered", "overran")
_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mariadb": "MariaDB"}


def table(findings: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each finding; what not every fault has comes last."""
    yield f"| fault | database | {' | '.join(COLUMNS)} | and |"
    yield f"|---|---|{'---:|' * len(COLUMNS)}---|"
    for finding in findings:
        figures = {name: value for name, value in finding["figures"].items() if value or name not in RARE}
        figures.pop("s")
        columns = " | ".join(_figure(figures.pop(name, "")) for name in COLUMNS)
        rest = ", ".join(f"{_figure(value)} {name}" for name, value in figures.items())
        verdict = "**BROKEN** " if finding["broken"] else ""
        yield f"| {finding['fault']} | {_NAMES[finding['database']]} | {columns} | {verdict}{rest} |"
    sums = {name: sum(finding["figures"].get(name, 0) for finding in findings) for name in COLUMNS}
    yield f"| **all** | | {' | '.join(f'**{_figure(value)}**' for value in sums.values())} | |"


def _figure(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)

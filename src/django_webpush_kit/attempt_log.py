"""The log of an outbox row: what happened to it, one JSON line per step.

The column `attempt_log` of a row stays empty if the first attempt is accepted. Otherwise each wait, answer, lapsed
lease and end is appended by the UPDATE that stores it, so the log needs no query of its own. It keeps its last
`MAX_LENGTH` characters, which are about 25 steps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from enum import Enum
from typing import Any, NamedTuple

from django.db.models import F, Value
from django.db.models.functions import Concat, Right

MAX_LENGTH = 2000
"""Characters of a log. The oldest steps are dropped."""


class Step(str, Enum):
    """The kind of a step."""

    ANSWER = "answer"
    """The push service answered, or the request failed. Without `until`, it was the last attempt."""
    WAIT = "wait"
    """Postponed without an attempt."""
    END = "end"
    """Ended without an attempt."""
    LAPSE = "lapse"
    """A worker claimed the row and did not record an outcome."""
    CANCEL = "cancel"
    """Cancelled by the application or by staff."""
    RETRY = "retry"
    """Made pending again after it had failed."""


class Attempt(NamedTuple):
    """One step: its time, kind, HTTP status, reason, and the time of the next attempt."""

    at: datetime
    step: Step
    status: int | None
    reason: str
    until: datetime | None


def line(
    step: Step, *, at: datetime, status: int | None = None, reason: str = "", until: datetime | None = None
) -> str:
    """Return the line of one step, with its line break."""
    entry = [_seconds(at), step.value, status, reason, None if until is None else _seconds(until)]
    return json.dumps(entry, separators=(",", ":")) + "\n"


def with_line(text: str) -> Right:
    """Return the expression that appends a line to the log of the updated rows."""
    return Right(Concat(F("attempt_log"), Value(text)), MAX_LENGTH)


def attempts(log: str) -> list[Attempt]:
    """Parse a log, oldest step first. Lines that cannot be read are left out, such as a first line that was cut."""
    return list(_read(log))


def is_cut(log: str) -> bool:
    """Return whether older steps may have been dropped."""
    return len(log) >= MAX_LENGTH


def _read(log: str) -> Iterator[Attempt]:
    for text in log.splitlines():
        try:
            at, step, status, reason, until = json.loads(text)
            moment = None if until is None else _moment(until)
            yield Attempt(_moment(at), Step(step), None if status is None else int(status), str(reason), moment)
        except (ValueError, TypeError, OverflowError, OSError, RecursionError):
            continue


def _seconds(moment: datetime) -> float:
    return round(moment.timestamp(), 3)


def _moment(seconds: Any) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)

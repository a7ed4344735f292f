"""The rules of circuit breakers, as pure functions: pause a push service that fails for everybody, until it recovers.

A fault (refused credentials, a throttled request, no answer) first counts against its subscription only. The breaker
of a push service and VAPID key opens when `EVIDENCE` different subscriptions, or all of them, had the same kind of
fault and no message was accepted in between. While the breaker is open, one row at a time is sent as a probe. An
accepted message closes the breaker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple, TypeAlias

EVIDENCE = 3
"""Number of different subscriptions with the same kind of fault that opens the breaker."""

FIRST_PAUSE_SECONDS = 5.0
MAX_PAUSE_SECONDS = 300.0
MAX_RETRY_AFTER_SECONDS = 900.0
"""Longest pause between probes. If a push service asks for a longer one, it can repeat that to the next probe."""


class Pauses(NamedTuple):
    """The first and the longest pause between probes, in seconds."""

    first: float = FIRST_PAUSE_SECONDS
    longest: float = MAX_PAUSE_SECONDS


USUAL_PAUSES = Pauses()

SUSPICION_HOURS = 1
MAX_SUSPECTS = 100

PAUSED = "The push service is paused"
"""Reason of a row that is postponed until the next probe."""


class Fault(str, Enum):
    """Kinds of faults that can affect a whole push service."""

    CREDENTIALS = "credentials"
    THROTTLED = "throttled"
    OUTAGE = "outage"


class BreakerKey(NamedTuple):
    """Identifies a breaker."""

    push_service: str
    vapid_key_id: str


class Suspect(NamedTuple):
    """The last fault of a subscription."""

    fault: str
    moment: datetime


class Verdict(NamedTuple):
    """The conclusion from a fault.

    `paused_until` is the time of the next probe if the breaker is open. `is_own_fault` is true if messages of other
    subscriptions were accepted since this subscription's previous fault.
    """

    paused_until: datetime | None
    is_own_fault: bool


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state of one breaker; open while `paused_until` is set."""

    paused_until: datetime | None = None
    reason: str = ""
    failures: int = 0
    suspects: dict[str, Suspect] = field(default_factory=dict)
    accepted_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Return whether only probes may be sent."""
        return self.paused_until is not None

    def evidence(self, fault: str) -> set[str]:
        """Return the subscriptions with this kind of fault since the last accepted message."""
        return {name for name, suspect in self.suspects.items() if suspect.fault == fault and self._is_recent(suspect)}

    @property
    def has_evidence(self) -> bool:
        """Return whether any subscription had a fault since the last accepted message."""
        return any(map(self._is_recent, self.suspects.values()))

    def _is_recent(self, suspect: Suspect) -> bool:
        return self.accepted_at is None or suspect.moment > self.accepted_at


Change: TypeAlias = Callable[[Breaker], Breaker]


def accepted(breaker: Breaker, subscription: str, now: datetime) -> Breaker:
    """Return the breaker after an accepted message: closed and without evidence."""
    if not breaker.is_open and not breaker.has_evidence:
        return breaker
    suspects = {name: suspect for name, suspect in breaker.suspects.items() if name != subscription}
    return Breaker(suspects=suspects, accepted_at=now)


def faulted(
    breaker: Breaker,
    subscription: str,
    fault: Fault,
    *,
    reason: str,
    retry_after: float | None,
    probe: datetime | None,
    is_everybody: bool,
    now: datetime,
    retry_base: float = FIRST_PAUSE_SECONDS,
    pauses: Pauses = USUAL_PAUSES,
) -> Breaker:
    """Return the breaker after a fault.

    If the message was a probe, `probe` is the end of its lease. `is_everybody` is true if all subscriptions of this
    push service and key have the fault.
    Then fewer than `EVIDENCE` subscriptions pause for `retry_base` seconds at first, if that is shorter than usual.
    """
    suspects = _recent_suspects(breaker, now) | {subscription: Suspect(fault.value, now)}
    breaker = replace(breaker, suspects=suspects)
    if not breaker.is_open:
        if len(breaker.evidence(fault)) >= EVIDENCE:
            return _paused(breaker, fault, reason, retry_after, now, pauses)
        if is_everybody:
            first = min(retry_base, pauses.first)
            return _paused(breaker, fault, reason, retry_after, now, pauses._replace(first=first))
        return breaker
    if probe is not None and breaker.paused_until == probe:
        return _paused(breaker, fault, reason, retry_after, now, pauses)
    if retry_after is None or probe is not None or breaker.paused_until is None:
        return breaker
    stretched = now + timedelta(seconds=min(retry_after, MAX_RETRY_AFTER_SECONDS))
    return replace(breaker, paused_until=max(breaker.paused_until, stretched))


def probe_abandoned(breaker: Breaker, probe: datetime, now: datetime) -> Breaker:
    """Return the breaker after a probe without a result: the next probe may be sent at once."""
    return replace(breaker, paused_until=now) if breaker.paused_until == probe else breaker


def _paused(
    breaker: Breaker, fault: Fault, reason: str, retry_after: float | None, now: datetime, pauses: Pauses
) -> Breaker:
    """The breaker, open for the first pause; each failed probe doubles it, up to the longest."""
    seconds = min(pauses.first * 2.0 ** min(breaker.failures, 30), pauses.longest)
    seconds = max(seconds, min(retry_after or 0.0, MAX_RETRY_AFTER_SECONDS))
    return replace(
        breaker,
        paused_until=now + timedelta(seconds=seconds),
        reason=f"{fault.value}: {reason}"[:100],
        failures=breaker.failures + 1,
    )


def _recent_suspects(breaker: Breaker, now: datetime) -> dict[str, Suspect]:
    """Return the suspects of the last hour, at most `MAX_SUSPECTS`."""
    since = now - timedelta(hours=SUSPICION_HOURS)
    recent = [(name, suspect) for name, suspect in breaker.suspects.items() if suspect.moment > since]
    return dict(sorted(recent, key=lambda item: item[1].moment)[1 - MAX_SUSPECTS :])

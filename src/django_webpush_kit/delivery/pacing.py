"""Rate limits of push services: workers share permits to send, at a rate that is configured or learned.

`SEND_RATES` gives a push service a rate. A service that throttles teaches one: it starts at 95 % of the messages that
the service accepted in the last minute, falls by 5 % with each further throttling, and rises by 1 % a minute. It is
forgotten after `FORGET_AFTER` without throttling. A learned rate never exceeds the configured one.

Workers move `PushServiceState.permits_until` by one conditional UPDATE per chunk and service, so that the rate holds
for all of them together. A worker whose clock is ahead gets no permits beyond the rate; a moment far in the future is
ignored. `delivery.pace` has the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import outbox_database, retry_on_conflict
from django_webpush_kit.delivery.backlog import queue_backlog
from django_webpush_kit.delivery.breaker import FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, USUAL_PAUSES, Pauses
from django_webpush_kit.delivery.event_log import log_rate
from django_webpush_kit.delivery.pace import EVIDENCE_WINDOW, URGENT_SECONDS, Pace, Permits, next_second
from django_webpush_kit.exceptions import InvalidOption
from django_webpush_kit.models import PushServiceState, get_notification_model
from django_webpush_kit.outbox.rates import Rate
from django_webpush_kit.states import Lane, NotificationStatus

Result = TypeVar("Result")

WAITS = "Waits for the rate limit of the push service"
"""Why a row without a permit waits."""

TAKE_ATTEMPTS = 20
"""How often a worker tries to take permits when others are faster."""

EVIDENCE = 3
"""Different subscriptions that must be throttled before a rate is learned."""

EVIDENCE_SHARE = 0.02
"""The part of the answers that must be throttled: a few odd subscriptions say nothing about the push service."""

LATE = timedelta(seconds=2)
"""Messages may be recorded as accepted so long after the answer that taught the rate."""

PACED_PAUSE_SECONDS = 1.0
"""First pause of a push service that throttles although a rate is kept: it mostly ends with the next second."""

PROBE_SHARE = 0.01
"""While a push service with a rate refuses everything, probes take this part of the rate."""

UNAVAILABLE_STATUS = 503
"""This status may also mean an outage: it counts as throttling only while the service accepts other messages."""


@dataclass(slots=True)
class _Watch:
    """The answers of a push service since the first throttled one of the last `EVIDENCE_WINDOW`."""

    since: datetime
    throttled: set[Any] = field(default_factory=set)
    accepted: int = 0

    @property
    def is_evidence(self) -> bool:
        return len(self.throttled) >= max(EVIDENCE, self.accepted * EVIDENCE_SHARE)


class Pacing:
    """The rates of push services as this worker knows them; it takes permits and learns rates.

    `rates` maps each push service that has a rate to its messages per minute. `waits_until` is the last moment at which
    a row that this worker has put back is due again.
    """

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}
        self.waits_until: datetime | None = None
        self._configured = send_rates()
        self._paces: dict[str, Pace] = {}
        self._watches: dict[str, _Watch] = {}
        self._evidence: set[str] = set()

    def read(self, states: Iterable[PushServiceState]) -> None:
        """Note the stored states, as all workers see them."""
        self._paces = {state.push_service: Pace.of(state) for state in states if not state.vapid_key_id}
        self.rates = current_rates(self._configured, self._paces, timezone.now())

    @property
    def is_watching(self) -> bool:
        """Whether accepted messages are counted, because others were throttled."""
        return bool(self._watches)

    def take(self, push_service: str, rate: float, urgent: int, other: int) -> Permits:
        """Take permits for so many rows of a push service, at `rate` messages per minute."""
        permits = self._changed(push_service, lambda pace, now: pace.taken(rate, urgent, other, now))
        if permits is None:  # others are faster all the time; they send at the rate
            permits = Permits(urgent_moments=_soon(urgent), other_moments=_soon(other))
        self.waits_until = max(filter(None, (self.waits_until, permits.waits_until)), default=None)
        return permits

    def queue(self, push_service: str, rate: float, count: int) -> tuple[datetime, ...]:
        """Let so many rows of a paused push service wait for their turn; returns the moments at which they are due."""
        moments = self._changed(push_service, lambda pace, now: pace.queued(rate, count, now))
        return _soon(count) if moments is None else moments

    def queue_backlog(self, push_service: str, rate: float, reason: str) -> int:
        """Let further due rows of a push service wait for their turn, urgent ones excepted. Returns their number."""
        count, after = queue_backlog(push_service, rate, self._paces.get(push_service, Pace()), reason)
        if count:
            self._paces[push_service] = after
            self.waits_until = max(filter(None, (self.waits_until, after.waiting_until)), default=None)
        return count

    def _changed(self, push_service: str, change: Callable[[Pace, datetime], tuple[Result, Pace]]) -> Result | None:
        """Store what the change makes of the shared state and return its result; None if others are always faster."""
        for _ in range(TAKE_ATTEMPTS):
            before = self._paces.get(push_service, Pace())
            result, after = change(before, timezone.now())
            if _replace_permits(push_service, before, after):
                self._paces[push_service] = after
                return result
            self._paces[push_service] = Pace.of(_state(push_service))
        return None

    def pauses(self, push_service: str, status: int | None) -> Pauses:
        """The pauses between probes after throttling. With a rate they are short, because permits expire meanwhile."""
        rate = self.rates.get(push_service)
        if rate is None or status == UNAVAILABLE_STATUS:
            return USUAL_PAUSES
        longest = max(60 / (rate * PROBE_SHARE), FIRST_PAUSE_SECONDS)
        return Pauses(PACED_PAUSE_SECONDS, min(longest, MAX_PAUSE_SECONDS))

    def note_accepted(self, push_service: str) -> None:
        """Count a message that was accepted while others are throttled."""
        watch = self._watches.get(push_service)
        if watch is not None:
            watch.accepted += 1

    def note_throttled(self, push_service: str, subscription_id: Any, status: int | None, now: datetime) -> None:
        """Count a message that was throttled; with enough of them `write` learns a rate."""
        watch = self._watches.get(push_service)
        if watch is None or now - watch.since >= EVIDENCE_WINDOW:
            watch = self._watches[push_service] = _Watch(now)
        if status == UNAVAILABLE_STATUS and not watch.accepted:
            return
        watch.throttled.add(subscription_id)
        if watch.is_evidence:
            self._evidence.add(push_service)

    def write(self) -> None:
        """Store what was learned since the last call. The outcomes of this worker must have been written before."""
        evidence, self._evidence = self._evidence, set()
        now = timezone.now()
        for push_service in evidence:
            self._learn(push_service, now)
        self._watches = {name: watch for name, watch in self._watches.items() if now - watch.since < EVIDENCE_WINDOW}
        if evidence:
            self.rates = current_rates(self._configured, self._paces, now)

    def _learn(self, push_service: str, now: datetime) -> None:
        pace, configured = self._paces.get(push_service, Pace()), self._configured.get(push_service)
        seen = _accepted_in_last_minute(push_service, now)
        is_the_same = pace.learned_at is not None and not _has_accepted_since(push_service, pace.learned_at + LATE, now)
        if pace.throttled(seen, configured, now, is_the_same=is_the_same) != pace:
            learned = _store_throttling(push_service, seen, configured, now, is_the_same=is_the_same)
            self._paces[push_service] = learned
            if learned.learned is not None:
                log_rate(push_service, learned.learned)


@dataclass(frozen=True, slots=True)
class SendLimit:
    """The rate at which a push service is sent to, in messages per minute.

    `throttled_at` is when the push service last throttled, if the rate was learned; None if `SEND_RATES` gives it.
    """

    push_service: str
    per_minute: float
    throttled_at: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields, with the moment in ISO 8601."""
        throttled_at = None if self.throttled_at is None else self.throttled_at.isoformat()
        return {
            "push_service": self.push_service,
            "per_minute": round(self.per_minute, 1),
            "throttled_at": throttled_at,
        }

    def __str__(self) -> str:
        rate = f"{self.push_service} is sent at most {self.per_minute:,.0f} messages a minute"
        if self.throttled_at is None:
            return f"{rate} (SEND_RATES)."
        return f"{rate}, because it limits this site; it last did so at {self.throttled_at:%Y-%m-%d %H:%M %Z}."


def send_limits(states: Iterable[PushServiceState] | None = None) -> list[SendLimit]:
    """The rates in force now, by the name of the push service. `states` are the stored ones, if they were read."""
    now, configured = timezone.now(), send_rates()
    if states is None:
        states = PushServiceState.objects.using(outbox_database()).filter(vapid_key_id="", rate__isnull=False)
    paces = {state.push_service: Pace.of(state) for state in states if not state.vapid_key_id}
    limits = []
    for name, rate in sorted(current_rates(configured, paces, now).items()):
        is_learned = name not in configured or rate < configured[name]
        limits.append(SendLimit(name, rate, paces[name].learned_at if is_learned else None))
    return limits


def learned_rate(state: PushServiceState) -> float | None:
    """The learned rate of a stored state as it is now, in messages per minute."""
    return Pace.of(state).learned_rate(timezone.now())


def forget_rates(push_services: Iterable[str]) -> int:
    """Forget the learned rates of these push services: messages are sent as fast as possible, or by `SEND_RATES`.

    Returns how many rates were forgotten. A push service that still throttles teaches its rate again.
    """
    states = PushServiceState.objects.using(outbox_database())
    learned = states.filter(push_service__in=list(push_services), vapid_key_id="", rate__isnull=False)
    values = {"rate": None, "rate_changed_at": None, "waiting_until": None}
    return int(retry_on_conflict(lambda: learned.update(**values)))


def send_rates() -> dict[str, float]:
    """`SEND_RATES` in messages per minute; ImproperlyConfigured when a rate is malformed."""
    rates = {}
    for name, text in kit_settings.SEND_RATES.items():
        try:
            rates[name] = Rate.parse(text).per_second * 60
        except InvalidOption as error:
            raise ImproperlyConfigured(f'WEBPUSH_KIT["SEND_RATES"][{name!r}]: {error}.') from None
    return rates


def current_rates(configured: dict[str, float], paces: dict[str, Pace], now: datetime) -> dict[str, float]:
    """The push services that have a rate now, and their messages per minute."""
    rates = {name: paces.get(name, Pace()).rate(configured.get(name), now) for name in {*configured, *paces}}
    return {name: rate for name, rate in rates.items() if rate is not None}


def _soon(count: int) -> tuple[datetime, ...]:
    """One moment, the next in which there may be permits, for so many rows."""
    return (next_second(timezone.now() + timedelta(seconds=URGENT_SECONDS)),) * count


def _state(push_service: str) -> PushServiceState:
    """The stored state of a push service, made if there is none."""
    states = PushServiceState.objects.using(outbox_database())
    return retry_on_conflict(lambda: states.get_or_create(push_service=push_service, vapid_key_id="")[0])


def _states(push_service: str) -> Any:
    return PushServiceState.objects.using(outbox_database()).filter(push_service=push_service, vapid_key_id="")


def _replace_permits(push_service: str, before: Pace, after: Pace) -> bool:
    """Store the permits that were taken, unless another worker was faster."""
    unchanged = _states(push_service).filter(permits_until=before.permits_until, waiting_until=before.waiting_until)
    values = {"permits_until": after.permits_until, "waiting_until": after.waiting_until}
    return bool(retry_on_conflict(lambda: unchanged.update(**values)))


def _store_throttling(
    push_service: str, seen: int, configured: float | None, now: datetime, *, is_the_same: bool
) -> Pace:
    """Store the rate that throttling teaches; returns the state afterwards."""
    _state(push_service)

    def statements() -> Pace:
        with transaction.atomic(using=outbox_database()):
            state = _states(push_service).select_for_update().get()
            pace = Pace.of(state).throttled(seen, configured, now, is_the_same=is_the_same)
            _states(push_service).update(rate=pace.learned, rate_changed_at=pace.learned_at)
        return pace

    return retry_on_conflict(statements)


def _accepted_in_last_minute(push_service: str, now: datetime) -> int:
    return int(_accepted_since(push_service, now - timedelta(minutes=1), now).count())


def _has_accepted_since(push_service: str, moment: datetime, now: datetime) -> bool:
    """Whether the push service accepted a message since a moment; of a distant past the last minutes count."""
    return bool(_accepted_since(push_service, moment, now).exists())


def _accepted_since(push_service: str, moment: datetime, now: datetime) -> Any:
    rows = get_notification_model().objects.using(outbox_database())
    # a sent row keeps the end of its lease as `next_attempt_at`, by which the index finds it
    recent = rows.filter(
        status=NotificationStatus.SENT,
        lane__in=Lane.values,
        next_attempt_at__gt=max(moment, now - timedelta(minutes=1)),
    )
    return recent.filter(sent_at__gt=moment, subscription__push_service=push_service)

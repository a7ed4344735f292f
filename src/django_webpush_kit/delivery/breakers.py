"""The circuit breakers as one worker knows them. They are stored in `PushServiceState`, shared by all workers.

Workers read them once per chunk and write them with each group of outcomes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import outbox_database, retry_on_conflict
from django_webpush_kit.delivery.breaker import (
    EVIDENCE,
    MAX_RETRY_AFTER_SECONDS,
    SUSPICION_HOURS,
    USUAL_PAUSES,
    Breaker,
    BreakerKey,
    Change,
    Fault,
    Pauses,
    Suspect,
    Verdict,
    accepted,
    faulted,
    probe_abandoned,
)
from django_webpush_kit.delivery.containment import change_all
from django_webpush_kit.delivery.event_log import log_breaker
from django_webpush_kit.models import PushServiceState, get_notification_model, get_subscription_model
from django_webpush_kit.states import LANES, NotificationStatus

MOVED_AT_ONCE = 2000
"""Rows of one statement, when rows that wait for a probe become due earlier."""

LONGEST_PAUSE = timedelta(seconds=2 * MAX_RETRY_AFTER_SECONDS)
"""No worker pauses a push service for longer, even if its clock is a little ahead."""


class Breakers:
    """The breakers as last read by this worker, with its own unwritten changes applied."""

    def __init__(self) -> None:
        self._known: dict[BreakerKey, Breaker] = {}
        self._changes: dict[BreakerKey, list[Change]] = {}
        self._probes: dict[Any, tuple[BreakerKey, datetime]] = {}
        self.paused_by_hand: frozenset[str] = frozenset()
        """Push services that an operator has paused (see `delivery.manual_pause`)."""
        self._accepted_here: set[BreakerKey] = set()
        self.refresh()

    def refresh(self) -> list[PushServiceState]:
        """Read the changes of other workers. Unwritten changes of this worker still apply.

        Returns the stored states, those with a send rate included.
        """
        now = timezone.now()
        recently = now - timedelta(hours=SUSPICION_HOURS)
        active = Q(paused_until__isnull=False) | Q(paused_by_hand_at__isnull=False) | Q(updated_at__gt=recently)
        has_rate = Q(rate__isnull=False) | Q(permits_until__isnull=False)
        states = list(PushServiceState.objects.using(outbox_database()).filter(active | has_rate))
        self.paused_by_hand = frozenset(state.push_service for state in states if state.paused_by_hand_at)
        read = {BreakerKey(state.push_service, state.vapid_key_id): _credible(_read(state), now) for state in states}
        self._known = {key: breaker for key, breaker in read.items() if breaker != Breaker()}
        for key, changes in self._changes.items():
            self._known[key] = _apply(changes, self._known.get(key, Breaker()))
        return states

    @property
    def are_all_closed(self) -> bool:
        """Return whether no breaker is open and there is no evidence. This is the normal case."""
        return not self._known

    def paused_until(self, key: BreakerKey) -> datetime | None:
        """Return the time of the next probe, or None if the breaker is closed."""
        breaker = self._known.get(key)
        return None if breaker is None else breaker.paused_until

    def take_probe(self, key: BreakerKey, lease: timedelta, now: datetime) -> bool:
        """Return whether this worker may send a probe now. If so, no other probe is sent during `lease`."""
        breaker = self._known[key]
        if breaker.paused_until is None or breaker.paused_until > now:
            return False
        ends_at = now + lease
        mine = _states(key).filter(Q(paused_until=breaker.paused_until) | Q(paused_until__gt=now + LONGEST_PAUSE))
        if not retry_on_conflict(lambda: mine.update(paused_until=ends_at, updated_at=now)):
            self.refresh()
            return False
        self._known[key] = replace(breaker, paused_until=ends_at)
        return True

    def choose_probe(self, key: BreakerKey, rows: Iterable[Any]) -> Any:
        """Return the row to send as the probe. Rows of subscriptions without the fault are preferred."""
        breaker = self._known[key]
        rows = list(rows)
        chosen = next((row for row in rows if str(row.subscription_id) not in breaker.suspects), rows[0])
        if breaker.paused_until is not None:
            self._probes[chosen.pk] = (key, breaker.paused_until)
        return chosen

    def holds(self, row: Any) -> datetime | None:
        """Return the time of the next probe if the row has to wait for it, because it is not the probe itself."""
        if not self._known or row.pk in self._probes:
            return None
        return self.paused_until(BreakerKey(row.push_service, row.vapid_key_id))

    def accept(self, key: BreakerKey, row: Any, now: datetime) -> None:
        """Record that a message was accepted."""
        self._accepted_here.add(key)
        self._probes.pop(row.pk, None)
        breaker = self._known.get(key)
        if breaker is not None and (breaker.is_open or breaker.has_evidence):
            self._change(key, lambda breaker: accepted(breaker, str(row.subscription_id), now))

    def blame(
        self,
        key: BreakerKey,
        row: Any,
        fault: Fault,
        *,
        reason: str,
        retry_after: float | None,
        now: datetime,
        pauses: Pauses = USUAL_PAUSES,
    ) -> Verdict:
        """Record a fault and return the conclusion from it."""
        before = self._known.get(key, Breaker())
        name = str(row.subscription_id)
        probe = self._probes.pop(row.pk, (key, None))[1]
        is_everybody = not before.is_open and self._is_everybody(key, before.evidence(fault) | {name})
        self._change(
            key,
            lambda breaker: faulted(
                breaker,
                name,
                fault,
                reason=reason,
                retry_after=retry_after,
                probe=probe,
                is_everybody=is_everybody,
                now=now,
                retry_base=_retry_base(row),
                pauses=pauses,
            ),
        )
        if self._known[key].is_open and (probe is not None or not before.is_open):
            self.write()
        return Verdict(self._known[key].paused_until, self._is_own_fault(key, before, name, fault))

    def abandon_probe(self, row_key: Any) -> None:
        """Record that the row was not sent, or that its answer tells nothing about the push service."""
        if row_key in self._probes:
            key, ends_at = self._probes.pop(row_key)
            self._change(key, lambda breaker: probe_abandoned(breaker, ends_at, timezone.now()))

    def write(self) -> None:
        """Write the changes. If a probe is brought forward, the rows that wait for it are due earlier too."""
        while self._changes:
            key = next(iter(self._changes))
            before, after = retry_on_conflict(partial(_write, key, self._changes[key]))
            del self._changes[key]
            self._known[key] = after
            log_breaker(*key, before.paused_until, after.paused_until, after.reason)
            _move_waiting(before.paused_until, after.paused_until)

    def _change(self, key: BreakerKey, change: Change) -> None:
        self._known[key] = change(self._known.get(key, Breaker()))
        self._changes.setdefault(key, []).append(change)

    def _is_own_fault(self, key: BreakerKey, before: Breaker, name: str, fault: Fault) -> bool:
        """Return whether others were accepted since the last fault of the subscription.

        If many subscriptions were refused, this worker itself may be at fault (its clock, its VAPID subject) although
        other workers succeed. Then only messages that this worker sent count.
        """
        earlier = before.suspects.get(name)
        if earlier is None or before.accepted_at is None or earlier.moment > before.accepted_at:
            return False
        refused = {other for other, suspect in before.suspects.items() if suspect.fault == Fault.CREDENTIALS}
        is_worker_suspect = fault is Fault.CREDENTIALS and len(refused | {name}) >= EVIDENCE
        return not is_worker_suspect or key in self._accepted_here

    def _is_everybody(self, key: BreakerKey, names: set[str]) -> bool:
        if len(names) >= EVIDENCE:
            return True
        subscriptions = get_subscription_model().objects.using(outbox_database())
        there = subscriptions.filter(push_service=key.push_service, vapid_key_id=key.vapid_key_id, is_active=True)
        return not there.exclude(pk__in=names).exists()


def _retry_base(row: Any) -> float:
    given: float | None = row.options.retry_base
    return float(kit_settings.RETRY_BASE_SECONDS) if given is None else given


def _apply(changes: Iterable[Change], breaker: Breaker) -> Breaker:
    for change in changes:
        breaker = change(breaker)
    return breaker


def _states(key: BreakerKey) -> Any:
    return PushServiceState.objects.using(outbox_database()).filter(
        push_service=key.push_service, vapid_key_id=key.vapid_key_id
    )


def _write(key: BreakerKey, changes: list[Change]) -> tuple[Breaker, Breaker]:
    """Apply the changes to the stored state. Returns the breaker before and after."""
    with transaction.atomic(using=outbox_database()):
        state = _states(key).select_for_update().first()
        before = Breaker() if state is None else _read(state)
        after = _apply(changes, before)
        if after == before:
            return before, after
        if state is None:
            state, is_new = (
                _states(key)
                .select_for_update()
                .get_or_create(push_service=key.push_service, vapid_key_id=key.vapid_key_id)
            )
            if not is_new:  # another worker has stored it first
                before = _read(state)
                after = _apply(changes, before)
        is_for_breaker_alone = not _has_rate(state) and state.paused_by_hand_at is None
        if after == Breaker(accepted_at=after.accepted_at) and is_for_breaker_alone:
            state.delete(using=outbox_database())
        else:
            _store(state, after)
    return before, after


def _has_rate(state: PushServiceState) -> bool:
    return state.rate is not None or state.permits_until is not None


def _store(state: PushServiceState, breaker: Breaker) -> None:
    state.paused_until = breaker.paused_until
    state.reason = breaker.reason
    state.failures = breaker.failures
    state.suspects = {name: [fault, moment.isoformat()] for name, (fault, moment) in breaker.suspects.items()}
    state.accepted_at = breaker.accepted_at
    state.save(
        using=outbox_database(),
        update_fields=("paused_until", "reason", "failures", "suspects", "accepted_at", "updated_at"),
    )


def _credible(breaker: Breaker, now: datetime) -> Breaker:
    """Return the breaker; a pause that was written under a wrong clock, or by hand, ends now: with a probe."""
    if breaker.paused_until is None or breaker.paused_until <= now + LONGEST_PAUSE:
        return breaker
    return replace(breaker, paused_until=now)


def _read(state: PushServiceState) -> Breaker:
    return Breaker(
        paused_until=state.paused_until,
        reason=state.reason,
        failures=state.failures,
        suspects=dict(_read_suspects(state.suspects)),
        accepted_at=state.accepted_at,
    )


def _read_suspects(stored: Any) -> Iterator[tuple[str, Suspect]]:
    """Yield the stored suspects. Entries in an unknown form are skipped."""
    for name, value in stored.items() if isinstance(stored, dict) else ():
        try:
            fault, moment = Fault(value[0]), datetime.fromisoformat(value[1])
        except (TypeError, ValueError, LookupError):
            continue
        if timezone.is_aware(moment):
            yield name, Suspect(fault.value, moment)


def _move_waiting(before: datetime | None, after: datetime | None) -> None:
    """Make rows that wait for the probe at `before` due earlier: at the next probe, `after`, or now.

    The urgent ones come first, and no statement locks more than `MOVED_AT_ONCE` rows: there may be many thousands.
    """
    if before is None or (after is not None and after >= before):
        return
    rows = get_notification_model().objects.using(outbox_database())
    moment = after or timezone.now()
    for lane in LANES:
        waiting = rows.filter(status=NotificationStatus.PENDING, lane=lane, next_attempt_at=before).order_by("pk")
        change_all(waiting, partial(_make_due, before, moment), MOVED_AT_ONCE)


def _make_due(before: datetime, moment: datetime, keys: Sequence[Any]) -> int:
    # a claimed row has another moment; a test of the status would make SQLite read every pending row
    waiting = get_notification_model().objects.using(outbox_database()).filter(pk__in=keys, next_attempt_at=before)
    return int(retry_on_conflict(partial(waiting.update, next_attempt_at=moment)))

"""Check each claimed row again before sending, because preferences, users and subscriptions may have changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from django_webpush_kit.database import rows_of
from django_webpush_kit.delivery.backlog import MANY, hold_backlog
from django_webpush_kit.delivery.breaker import PAUSED, BreakerKey
from django_webpush_kit.delivery.claiming import Row
from django_webpush_kit.delivery.containment import raise_if_shared
from django_webpush_kit.delivery.manual_pause import PAUSED_BY_HAND, end_of_wait
from django_webpush_kit.delivery.pacing import WAITS
from django_webpush_kit.delivery.topics import NewestOfTopic
from django_webpush_kit.delivery.transitions import NO_TTL_PAUSE
from django_webpush_kit.delivery.transport import request_seconds
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.outbox.rows import QUIET_HOURS, SUPERSEDED
from django_webpush_kit.states import Lane, NotificationStatus
from django_webpush_kit.subscriptions.deactivation import EXPIRED, OWNER_CHANGED, deactivate_subscriptions
from django_webpush_kit.subscriptions.preferences import decide

if TYPE_CHECKING:
    from django_webpush_kit.delivery.outcomes import Recorder

PROBE_LEASE_SECONDS = 5.0
"""Added to the maximum time of a request. A probe without an outcome is considered lost after this time."""

CAP_WAIT_SECONDS = 2
"""Wait for the outcome of another message that may use up the daily cap."""


class Gate:
    """Yields the rows that may be sent now, and records the outcome of the others."""

    def __init__(self, rows: Sequence[Row], recorder: Recorder) -> None:
        self._rows = rows
        self._recorder = recorder
        self._breakers = recorder.breakers
        self._now = timezone.now()
        self._caps = recorder.caps
        self._caps.look_up(rows, self._now)
        self._topics = NewestOfTopic(rows)
        self._held: dict[BreakerKey, list[Row]] = {}
        self._rates = recorder.pacing.rates
        self._limited: dict[str, list[Row]] = {}

    def admitted(self) -> Iterator[Row]:
        """Yield the rows that may be sent now.

        Those of push services with a rate come later; those whose breaker is open come last, at most one as a probe.
        """
        for row in self._rows:
            if not self._is_admitted(row):
                continue
            if row.push_service in self._breakers.paused_by_hand:
                deadline = row.deadline or row.due + NO_TTL_PAUSE
                self._recorder.postponed(row, end_of_wait(deadline), PAUSED_BY_HAND)
            elif self._is_paused(row):
                self._held.setdefault(BreakerKey(row.push_service, row.vapid_key_id), []).append(row)
            elif self._is_within_cap(row):
                if self._rates and row.push_service in self._rates:
                    self._limited.setdefault(row.push_service, []).append(row)
                else:
                    yield row
        for push_service, rows in self._limited.items():
            yield from self._with_permits(push_service, rows)
        for key, rows in self._held.items():
            yield from filter(self._is_within_cap, self._from_held(key, rows))

    def _with_permits(self, push_service: str, rows: list[Row]) -> Iterator[Row]:
        """Those of the rows that the rate of their push service has permits for, the urgent ones first."""
        rate = self._rates.get(push_service)
        if rate is None:
            yield from rows
            return
        urgent, other = _by_urgency(rows)
        permits = self._recorder.pacing.take(push_service, rate, len(urgent), len(other))
        yield from urgent[: permits.urgent]
        yield from other[: permits.other]
        waiting = [*urgent[permits.urgent :], *other[permits.other :]]
        for row, moment in zip(waiting, permits.urgent_moments + permits.other_moments, strict=True):
            self._recorder.put_back(row, moment, WAITS)
        if len(permits.other_moments) >= MANY:
            pacing = self._recorder.pacing
            self._recorder.backlogs.take(push_service, lambda: pacing.queue_backlog(push_service, rate, WAITS))

    def _is_paused(self, row: Row) -> bool:
        if self._breakers.are_all_closed:
            return False
        return self._breakers.paused_until(BreakerKey(row.push_service, row.vapid_key_id)) is not None

    def _is_admitted(self, row: Row) -> bool:
        """Return whether the row may be sent now. An exception fails the row."""
        try:
            deadline = row.deadline
            refusal = self._refusal(row, deadline)
            if refusal:
                self._recorder.ended(row, *refusal)
                return False
            return self._is_wanted_now(row, deadline)
        except Exception as error:  # noqa: BLE001 - contained
            raise_if_shared(error)
            self._recorder.failed(row.pk, "Checking the row", error)
            return False

    def _refusal(self, row: Row, deadline: datetime | None) -> tuple[NotificationStatus, str] | None:
        if row.user_id != row.owner_id:
            return NotificationStatus.CANCELLED, OWNER_CHANGED
        if row.user_is_active is False:
            return NotificationStatus.CANCELLED, "The user is not active"
        if row.expiration_time is not None and row.expiration_time <= self._now:
            expired = rows_of(get_subscription_model()).expired(self._now)
            deactivate_subscriptions(expired.filter(pk=row.subscription_id), EXPIRED)
            return NotificationStatus.SUPPRESSED, f"The subscription is not active: {EXPIRED}"
        if not row.is_active:
            reason = row.deactivation_reason or "deactivated"
            return NotificationStatus.SUPPRESSED, f"The subscription is not active: {reason}"
        if row.problem:
            return NotificationStatus.FAILED, row.problem
        if row.topic and self._topics.supersedes(row):
            return NotificationStatus.CANCELLED, SUPERSEDED
        if deadline is not None and deadline <= self._now:
            return NotificationStatus.EXPIRED, "Not sent before its deadline"
        return None

    def _is_wanted_now(self, row: Row, deadline: datetime | None) -> bool:
        """Apply the subscriber's preferences and quiet hours."""
        if row.options.critical:
            return True
        decision = decide(row.preferences, row.timezone, type=row.type, due=self._now, deadline=deadline)
        if decision.suppressed:
            self._recorder.ended(row, NotificationStatus.SUPPRESSED, decision.suppressed)
        elif decision.until:
            self._recorder.postponed(row, _whole_second(decision.until), QUIET_HOURS)
        else:
            return True
        return False

    def _is_within_cap(self, row: Row) -> bool:
        """Apply the daily cap of the row's type. The row counts until it is known that it was not sent."""
        if row.options.critical:
            return True
        refusal = self._caps.refusal(row)
        if refusal.suppressed:
            self._recorder.ended(row, NotificationStatus.SUPPRESSED, refusal.suppressed)
        elif refusal.waits:
            until = _whole_second(self._now + timedelta(seconds=CAP_WAIT_SECONDS))
            self._recorder.postponed(row, until, "Waits for another message of its type")
        else:
            return True
        return False

    def _from_held(self, key: BreakerKey, rows: list[Row]) -> Iterator[Row]:
        """Yield all rows if the breaker has closed. Otherwise yield a probe if allowed, and postpone the other rows."""
        if self._breakers.paused_until(key) is None:
            yield from self._with_permits(key.push_service, rows)
            return
        probe = None
        lease = timedelta(seconds=request_seconds() + PROBE_LEASE_SECONDS)
        if self._breakers.take_probe(key, lease, timezone.now()):
            probe = self._breakers.choose_probe(key, rows)
        self._hold(key, [row for row in rows if row is not probe])
        if probe is not None:
            self._recorder.flush()  # its answer makes the rows that wait for it due: they must have been written
            yield probe

    def _hold(self, key: BreakerKey, rows: list[Row]) -> None:
        """Let rows wait until the next probe; those that the rate of their push service makes wait longer, for that.

        A large backlog of a push service with a rate would otherwise be claimed again with every probe, and delay the
        rows of others meanwhile. Urgent rows wait for the probe, to be the first to be sent.
        """
        until = self._breakers.paused_until(key) or timezone.now()
        rate = self._rates.get(key.push_service)
        urgent, other = (rows, []) if rate is None else _by_urgency(rows)
        for row in urgent:
            self._recorder.postponed(row, until, PAUSED)
        if rate is None:
            if len(rows) >= MANY:
                self._recorder.backlogs.take(key.push_service, lambda: hold_backlog(key, until, PAUSED))
        elif other:
            self._queue_held(key.push_service, rate, other, until)

    def _queue_held(self, push_service: str, rate: float, rows: list[Row], until: datetime) -> None:
        pacing = self._recorder.pacing
        for row, moment in zip(rows, pacing.queue(push_service, rate, len(rows)), strict=True):
            if moment <= until:
                self._recorder.postponed(row, until, PAUSED)
            else:
                self._recorder.put_back(row, moment, PAUSED)
        if len(rows) >= MANY:
            self._recorder.backlogs.take(push_service, lambda: pacing.queue_backlog(push_service, rate, PAUSED))


def _whole_second(moment: datetime) -> datetime:
    """Round up to a whole second, so that rows postponed to the same second are written together."""
    return moment.replace(microsecond=0) + timedelta(seconds=1)


def _by_urgency(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """The urgent rows, and the others."""
    urgent: list[Row] = []
    other: list[Row] = []
    for row in rows:
        (urgent if Lane.for_urgency(row.options.urgency) is Lane.HIGH else other).append(row)
    return urgent, other

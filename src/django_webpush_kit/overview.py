"""Query the current state of delivery for the dashboard and metrics: backlog, push services, workers, errors.

Every query reads a bounded number of rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.db.models import Exists, Q
from django.utils import timezone

from django_webpush_kit.database import clock_difference, outbox_database
from django_webpush_kit.delivery.breaker import Fault
from django_webpush_kit.delivery.heartbeats import SeenWorker, seconds_without_workers, seen_workers
from django_webpush_kit.delivery.pacing import SendLimit, send_limits
from django_webpush_kit.delivery.problems import is_in_use, is_paused
from django_webpush_kit.models import DailyStatistics, PushBroadcast, PushServiceState, get_notification_model
from django_webpush_kit.readable_rows import EARLIEST
from django_webpush_kit.single_statements import CountOf, FirstOf, LatestOf, all_rows, figures
from django_webpush_kit.states import Lane, NotificationStatus

COUNT_LIMIT = 100_000
"""Rows are counted up to this number, so that a large backlog does not slow down the page that shows it."""

MAX_BROADCASTS = 20
MAX_SERVICES = 50

ERROR_HOURS = 24
MAX_ERRORS = 2000
"""Maximum number of rows read per lane and status, latest first, to count the reasons of failures."""

REASONS_SHOWN = 10

LATEST_LEASES = 100


@dataclass(frozen=True, slots=True)
class LaneState:
    """How many rows of a lane are due (at most `COUNT_LIMIT`), and how long the oldest has waited."""

    lane: Lane
    due: int
    oldest_seconds: float

    @property
    def is_limit_reached(self) -> bool:
        """Whether there may be more rows."""
        return self.due >= COUNT_LIMIT


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A push service with its breaker and its rate; `key_id` is "" for the service as a whole.

    `state` is "open" (its breaker pauses it), "refused" (it refuses our credentials), "paused" (by hand) or "limited"
    (to a rate).
    """

    name: str
    key_id: str
    state: str
    reason: str
    until: datetime | None
    limit: SendLimit | None

    @property
    def has_learned_rate(self) -> bool:
        """Whether there is a rate that can be forgotten."""
        return self.limit is not None and self.limit.throttled_at is not None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the outbox still has to do: the due rows of each lane, and the unfinished rows by status.

    `unfinished` has the numbers of pending rows (due or not) and of rows being sent, each at most `COUNT_LIMIT`.
    `last_sent_at` is the result of the function of this name.
    """

    lanes: list[LaneState]
    unfinished: dict[str, int]
    last_sent_at: datetime | None


@dataclass
class Readings:
    """The state of delivery as one page or one call sees it. Each part is read once, when it is first asked for."""

    now: datetime = field(default_factory=timezone.now)

    @cached_property
    def clock_difference(self) -> float | None:
        """How many seconds the clock of this machine is ahead of the database's."""
        return clock_difference()

    @cached_property
    def workers(self) -> list[SeenWorker]:
        """The workers of the last day, the latest seen first. Raises DatabaseError if their table is missing."""
        return seen_workers(self.clock_difference)

    @cached_property
    def services(self) -> list[PushServiceState]:
        """The stored states of push services that are paused or have a learned rate."""
        stored = PushServiceState.objects.using(outbox_database())
        is_special = Q(paused_until__isnull=False) | Q(paused_by_hand_at__isnull=False) | Q(rate__isnull=False)
        return list(stored.filter(is_special).order_by("push_service", "vapid_key_id"))

    @property
    def paused_services(self) -> list[PushServiceState]:
        """The stored states of push services that are paused, by hand or by their breaker."""
        return [state for state in self.services if state.paused_until or state.paused_by_hand_at]

    @cached_property
    def backlog(self) -> Backlog:
        """The due and the unfinished rows."""
        return backlog(self.now)


def backlog(now: datetime | None = None) -> Backlog:
    """Count the due rows of each lane, the age of the oldest, and the unfinished rows."""
    now = now or timezone.now()
    rows = get_notification_model().objects.using(outbox_database()).order_by()
    statuses = (NotificationStatus.PENDING, NotificationStatus.SENDING)
    due = {f"due_{lane.value}": CountOf(due_rows(lane, now)[:COUNT_LIMIT]) for lane in Lane}
    others = {
        status.value: CountOf(rows.filter(status=status, lane__in=Lane.values)[:COUNT_LIMIT]) for status in statuses
    }
    found = figures(outbox_database(), {**due, **oldest_due(now), **others, **_latest_sent()})
    lanes = [
        LaneState(lane, found[f"due_{lane.value}"], _seconds_since(found[f"oldest_{lane.value}"], now)) for lane in Lane
    ]
    return Backlog(lanes, {status.value: found[status.value] for status in statuses}, _latest(found))


def due_rows(lane: Lane, now: datetime) -> Any:
    """Return the due rows of a lane."""
    rows = get_notification_model().objects.using(outbox_database())
    return rows.filter(status=NotificationStatus.PENDING, lane=lane, next_attempt_at__lte=now).order_by()


def oldest_due(now: datetime) -> dict[str, FirstOf]:
    """Return the expression for the oldest due time of each lane. Those that Python cannot read are left out."""
    return {
        f"oldest_{lane.value}": FirstOf(
            due_rows(lane, now).filter(next_attempt_at__gte=EARLIEST).order_by("next_attempt_at"), "next_attempt_at"
        )
        for lane in Lane
    }


def _seconds_since(moment: datetime | None, now: datetime) -> float:
    return 0.0 if moment is None else (now - moment).total_seconds()


def last_sent_at() -> datetime | None:
    """Return when a push service last accepted a message, or None if no row in the outbox was sent.

    Of each lane, the `LATEST_LEASES` rows whose leases ended last are read: the index has no time of sending.
    """
    return _latest(figures(outbox_database(), _latest_sent()))


def _latest_sent() -> dict[str, LatestOf]:
    rows = get_notification_model().objects.using(outbox_database()).filter(status=NotificationStatus.SENT)
    return {
        f"latest_{lane.value}": LatestOf(rows.filter(lane=lane).order_by("-next_attempt_at")[:LATEST_LEASES], "sent_at")
        for lane in Lane
    }


def _latest(found: dict[str, Any]) -> datetime | None:
    return max(filter(None, (found[f"latest_{lane.value}"] for lane in Lane)), default=None)


def was_ever_sent() -> bool:
    """Return whether a push service accepted a message since the installation, by the outbox or the statistics."""
    sent = get_notification_model().objects.filter(status=NotificationStatus.SENT, lane__in=Lane.values)
    counted = DailyStatistics.objects.filter(accepted__gt=0)
    return any(figures(outbox_database(), {"sent": Exists(sent), "counted": Exists(counted)}).values())


def service_states(readings: Readings | None = None) -> list[ServiceState]:
    """Return the push services that have an open breaker, a rate limit or a manual pause.

    As in health, a breaker that was not probed lately and a refusal of a key no longer in use do not count.
    """
    readings = readings or Readings()
    try:
        limits = {limit.push_service: limit for limit in send_limits(readings.services)}
    except ImproperlyConfigured:
        limits = {}  # checks report the setting
    rows = readings.paused_services[:MAX_SERVICES]
    states = [_state_of(row, limits) for row in rows if _is_stopped(row, readings.now)]
    named = {state.name for state in states if not state.key_id}
    states += [
        ServiceState(name, "", "limited", "", None, limit) for name, limit in limits.items() if name not in named
    ]
    return sorted(states, key=lambda state: (state.name, state.key_id))


def _is_stopped(row: PushServiceState, now: datetime) -> bool:
    if row.paused_by_hand_at is not None:
        return True
    return is_in_use(row.vapid_key_id) if _is_refusal(row) else is_paused(row, now)


def _is_refusal(row: PushServiceState) -> bool:
    return row.reason.startswith(Fault.CREDENTIALS.value)


def _state_of(row: PushServiceState, limits: dict[str, SendLimit]) -> ServiceState:
    if row.paused_by_hand_at is not None:
        state, until = "paused", None
    else:
        state, until = ("refused" if _is_refusal(row) else "open"), row.paused_until
    limit = None if row.vapid_key_id else limits.get(row.push_service)
    return ServiceState(row.push_service, row.vapid_key_id, state, row.reason, until, limit)


def workers(readings: Readings | None = None) -> list[SeenWorker]:
    """Return the workers of the last day, the latest seen first; none if their table is missing."""
    try:
        return (readings or Readings()).workers
    except DatabaseError:
        return []


def last_worker_seconds() -> float | None:
    """Return how long ago a worker was last seen, more than a day ago too, or None if none ever was."""
    try:
        return seconds_without_workers(clock_difference())
    except DatabaseError:
        return None


def open_broadcasts() -> list[PushBroadcast]:
    """Return the broadcasts that are pending, running or paused, the latest first."""
    status = PushBroadcast.Status
    rows = PushBroadcast.objects.using(outbox_database())
    return list(
        rows.filter(status__in=(status.PENDING, status.RUNNING, status.PAUSED)).order_by("-pk")[:MAX_BROADCASTS]
    )


def recent_errors(now: datetime | None = None) -> list[tuple[str, str, int]]:
    """Return (status, reason, count) of rows that failed or expired in the last 24 hours, the most frequent first.

    At most `MAX_ERRORS` rows of each lane and status are read, the latest by the end of their lease.
    """
    since = (now or timezone.now()) - timedelta(hours=ERROR_HOURS)
    rows = get_notification_model().objects.using(outbox_database())
    queries: list[Any] = [
        rows.filter(status=status, lane=lane, next_attempt_at__gt=since)
        .order_by("-next_attempt_at")
        .values_list("status", "failure_reason")[:MAX_ERRORS]
        for status in (NotificationStatus.FAILED, NotificationStatus.EXPIRED)
        for lane in Lane
    ]
    counts = Counter((status, reason) for status, reason in all_rows(outbox_database(), queries))
    return [(*kind, count) for kind, count in counts.most_common(REASONS_SHOWN)]

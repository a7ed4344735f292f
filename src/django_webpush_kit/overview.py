"""Query the current state of delivery for the dashboard and metrics: backlog, push services, workers, errors.

Every query reads a bounded number of rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone

from django_webpush_kit.database import clock_difference, outbox_database
from django_webpush_kit.delivery.breaker import Fault
from django_webpush_kit.delivery.heartbeats import SeenWorker, seconds_without_workers, seen_workers
from django_webpush_kit.delivery.pacing import SendLimit, send_limits
from django_webpush_kit.delivery.problems import is_in_use, is_paused
from django_webpush_kit.models import DailyStatistics, PushBroadcast, PushServiceState, get_notification_model
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


def lane_states(now: datetime | None = None) -> list[LaneState]:
    """Return the number and the age of the due rows of each lane."""
    now = now or timezone.now()
    rows = get_notification_model().objects.using(outbox_database())
    states = []
    for lane in Lane:
        due = rows.filter(status=NotificationStatus.PENDING, lane=lane, next_attempt_at__lte=now)
        oldest = due.order_by("next_attempt_at").values_list("next_attempt_at", flat=True).first()
        count = due.order_by()[:COUNT_LIMIT].count() if oldest is not None else 0
        states.append(LaneState(lane, count, 0.0 if oldest is None else (now - oldest).total_seconds()))
    return states


def last_sent_at() -> datetime | None:
    """Return when a push service last accepted a message, or None if no row in the outbox was sent.

    Of each lane, the `LATEST_LEASES` rows whose leases ended last are read: the index has no time of sending.
    """
    rows = get_notification_model().objects.using(outbox_database()).filter(status=NotificationStatus.SENT)
    moments: list[datetime] = []
    for lane in Lane:
        latest: Any = rows.filter(lane=lane).order_by("-next_attempt_at").values_list("sent_at", flat=True)
        moments += [moment for moment in latest[:LATEST_LEASES] if moment is not None]
    return max(moments, default=None)


def was_ever_sent() -> bool:
    """Return whether a push service accepted a message since the installation, by the outbox or the statistics."""
    if last_sent_at() is not None:
        return True
    return DailyStatistics.objects.using(outbox_database()).filter(accepted__gt=0).exists()


def unfinished() -> dict[str, int]:
    """Return the numbers of pending rows (due or not) and of rows being sent, each at most `COUNT_LIMIT`."""
    rows = get_notification_model().objects.using(outbox_database()).order_by()
    return {
        status.value: rows.filter(status=status, lane__in=Lane.values)[:COUNT_LIMIT].count()
        for status in (NotificationStatus.PENDING, NotificationStatus.SENDING)
    }


def service_states(now: datetime | None = None) -> list[ServiceState]:
    """Return the push services that have an open breaker, a rate limit or a manual pause.

    As in health, a breaker that was not probed lately and a refusal of a key no longer in use do not count.
    """
    now = now or timezone.now()
    try:
        limits = {limit.push_service: limit for limit in send_limits()}
    except ImproperlyConfigured:
        limits = {}  # checks report the setting
    is_special = Q(paused_until__isnull=False) | Q(paused_by_hand_at__isnull=False)
    stored = PushServiceState.objects.using(outbox_database()).filter(is_special)
    rows = stored.order_by("push_service", "vapid_key_id")[:MAX_SERVICES]
    states = [_state_of(row, limits) for row in rows if _is_stopped(row, now)]
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


def workers() -> list[SeenWorker]:
    """Return the workers of the last day, the latest seen first; none if their table is missing."""
    try:
        return seen_workers(clock_difference())
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
    counts: Counter[tuple[str, str]] = Counter()
    for status in (NotificationStatus.FAILED, NotificationStatus.EXPIRED):
        for lane in Lane:
            found = rows.filter(status=status, lane=lane, next_attempt_at__gt=since).order_by("-next_attempt_at")
            reasons: Any = found.values_list("failure_reason", flat=True)[:MAX_ERRORS]
            counts.update((status.value, reason) for reason in reasons)
    return [(*kind, count) for kind, count in counts.most_common(REASONS_SHOWN)]

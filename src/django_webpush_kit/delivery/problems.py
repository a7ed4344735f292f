"""Find what keeps notifications from being delivered, for health and the doctor; asks the database only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q

from django_webpush_kit.conf import kit_settings, vapid_keyring
from django_webpush_kit.database import outbox_database
from django_webpush_kit.delivery.breaker import Fault
from django_webpush_kit.delivery.heartbeats import SeenWorker
from django_webpush_kit.delivery.manual_pause import ALL_SERVICES
from django_webpush_kit.models import PushBroadcast, PushServiceState, get_notification_model
from django_webpush_kit.outbox.broadcasts import due_rows, stored_broadcasts

MAX_CLOCK_DIFFERENCE_SECONDS = 2.0

SERIOUS_CLOCK_DIFFERENCE_SECONDS = 30.0
"""From here on leases and deadlines are wrong by more than a request takes."""

DUE_GRACE_SECONDS = 5.0
"""A notification that is due for less may be claimed this very moment."""

LOST_KEY_SHARE = 0.01
SERIOUS_LOST_KEY_SHARE = 0.1
"""The part of the active subscriptions that may have an unknown VAPID key before it is a problem, and a serious one."""

FAILED_BROADCAST_HOURS = 24

MAX_BROADCASTS = 20
"""Unfinished broadcasts that are examined, the most urgent and oldest first."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in an area and how to mend it, as sentences. `is_serious`: not everything can be delivered."""

    area: str
    text: str
    mend: str
    is_serious: bool = True

    def __str__(self) -> str:
        return f"{self.text} {self.mend}"


def key_problems(active: int, lost: int) -> Iterator[Problem]:
    """Unusable VAPID keys, and `lost` of the `active` subscriptions made with a key that is not configured."""
    try:
        vapid_keyring()
    except ImproperlyConfigured as error:
        if active:  # before anybody has subscribed, push is merely not set up yet
            yield Problem("keys", f"Notifications cannot be sent: {error}", "Correct the setting.")
        return
    if lost and lost >= active * LOST_KEY_SHARE:
        yield Problem(
            "keys",
            f"{lost} of {active} active subscriptions were made with a VAPID key that is not configured.",
            "Add the former private key to VAPID_FALLBACK_PRIVATE_KEYS until browsers have renewed them.",
            is_serious=lost >= active * SERIOUS_LOST_KEY_SHARE,
        )


def service_problems(states: Sequence[PushServiceState], now: datetime) -> Iterator[Problem]:
    """Push services that are paused, by hand or by their breaker. Refused credentials of keys in use are serious."""
    for state in states:
        if state.paused_by_hand_at:
            name = "all push services" if state.push_service == ALL_SERVICES else state.push_service
            yield Problem(
                "services",
                f"Sending to {name} is paused by hand since {state.paused_by_hand_at:%Y-%m-%d %H:%M} UTC.",
                "Run `manage.py push_resume` to go on.",
                is_serious=False,
            )
        if state.reason.startswith(Fault.CREDENTIALS.value):
            if state.paused_until and is_in_use(state.vapid_key_id):
                yield Problem(
                    "services",
                    f"{state.push_service} refuses the VAPID key {state.vapid_key_id}.",
                    "Check the key pair and VAPID_SUBJECT.",
                )
        elif is_paused(state, now):
            yield Problem(
                "services",
                f"{state.push_service} is paused ({state.reason}); its notifications wait.",
                "They are sent when it works again. Check its status page, your firewall and your DNS.",
                is_serious=False,
            )


def is_paused(state: PushServiceState, now: datetime) -> bool:
    """Whether the breaker is open, and was probed lately: without traffic it stays open after the outage."""
    grace = timedelta(seconds=kit_settings.HEALTH_MAX_LAG_SECONDS)
    return state.paused_until is not None and state.paused_until > now - grace


def is_in_use(vapid_key_id: str) -> bool:
    """Whether messages are still signed with this key; an alarm about a former key is history."""
    try:
        return vapid_keyring().find(vapid_key_id) is not None
    except ImproperlyConfigured:
        return True


def clock_problems(difference: float | None, owner: str = "this machine") -> Iterator[Problem]:
    """A clock that differs from the database's by so many seconds (see `clock_difference`), and whose it is."""
    if difference is not None and abs(difference) > MAX_CLOCK_DIFFERENCE_SECONDS:
        direction = "ahead of" if difference > 0 else "behind"
        yield Problem(
            "clock",
            f"The clock of {owner} is {abs(difference):.0f} s {direction} the clock of the database. Leases, "
            "schedules and VAPID tokens depend on it.",
            "Synchronise the clocks of all machines, for example with chrony or systemd-timesyncd.",
            is_serious=abs(difference) > SERIOUS_CLOCK_DIFFERENCE_SECONDS,
        )


def worker_problems(workers: Sequence[SeenWorker], lag: float, *, has_queue: bool) -> Iterator[Problem]:
    """Workers that are gone, a scheduler that is silent, and workers whose clock is wrong.

    `lag` is how many seconds the oldest due notification waits, `has_queue` whether a scheduler runs the sweep. Without
    any heartbeat nothing is known: then the lag alone tells.
    """
    longest = kit_settings.HEALTH_MAX_LAG_SECONDS
    silence = min((worker.seen_seconds for worker in workers), default=0.0)
    is_due = lag > DUE_GRACE_SECONDS
    has_permanent = any(worker.row.is_loop or worker.row.ended_at is None for worker in workers)
    if silence > longest and (is_due or has_permanent):
        yield Problem(
            "workers",
            f"No worker has been seen for {silence:.0f} s{', and notifications are due' if is_due else ''}.",
            "Start deliver_push or the queue's workers, and read their log. If they run, they hang or cannot write to "
            "the database (is its disk full?).",
            is_serious=is_due,
        )
    elif has_queue:
        yield from _scheduler_problems(workers, longest)
    for worker in workers:
        if worker.seen_seconds <= longest and worker.row.ended_at is None:
            yield from clock_problems(worker.row.clock_difference, f"the worker {worker.row.name}")


def _scheduler_problems(workers: Sequence[SeenWorker], longest: float) -> Iterator[Problem]:
    """Workers that run, but are never told to look for rows that are due."""
    if not workers:
        return
    latest = max(worker.row.seen_at for worker in workers)
    sweeps = [worker.row.swept_at for worker in workers if worker.row.swept_at is not None]
    since = max(sweeps, default=min(worker.row.started_at for worker in workers))
    silence = (latest - since).total_seconds()
    if silence > longest:
        yield Problem(
            "scheduler",
            f"The scheduler has not started a sweep for {silence:.0f} s: retries and scheduled notifications wait.",
            "Run push_schedule (django-q2), start celery beat, or call send_scheduled_notifications every minute.",
            is_serious=False,
        )


def broadcast_problems(now: datetime) -> Iterator[Problem]:
    """Broadcasts that failed lately, and those that stand still.

    Broadcasts take turns: while one of them moves, the others may wait.
    """
    failed = stored_broadcasts().filter(
        status=PushBroadcast.Status.FAILED, finished_at__gte=now - timedelta(hours=FAILED_BROADCAST_HOURS)
    )
    for broadcast in failed.order_by("pk")[:MAX_BROADCASTS]:
        yield Problem(
            "broadcasts",
            f"Broadcast {broadcast.pk} ({broadcast.type}) failed: {broadcast.failure_reason}",
            f"Correct the cause, then resume it in the admin or with `push_broadcast --resume {broadcast.pk}`.",
            is_serious=False,
        )
    started = Q(status=PushBroadcast.Status.RUNNING) | Q(status=PushBroadcast.Status.PENDING, scheduled_for=None)
    due = started | Q(status=PushBroadcast.Status.PENDING, scheduled_for__lte=now)
    unfinished = list(stored_broadcasts().filter(due).order_by("lane", "pk")[:MAX_BROADCASTS])
    if any(_is_moving(broadcast, now) for broadcast in unfinished):
        return
    for broadcast in unfinished:
        yield Problem(
            "broadcasts",
            f"Broadcast {broadcast.pk} ({broadcast.type}) stands still at {broadcast.processed:,} recipients.",
            "Check that deliver_push or the queue's worker runs, and read its log.",
        )


def _is_moving(broadcast: PushBroadcast, now: datetime) -> bool:
    """Whether the broadcast was written to lately, or has a reason to wait."""
    since = now - timedelta(seconds=kit_settings.HEALTH_MAX_LAG_SECONDS)
    due = broadcast.started_at or max(broadcast.scheduled_for or broadcast.created_at, broadcast.created_at)
    signs = (due, broadcast.next_page_at, broadcast.lease_until)
    if any(sign is not None and sign > since for sign in signs):
        return True
    rows = get_notification_model().objects.using(outbox_database()).filter(batch=broadcast.batch)
    if rows.filter(created_at__gt=since).exists():
        return True
    return due_rows(broadcast) >= kit_settings.BROADCAST_AHEAD


def lag_problems(seconds: float, workers: Sequence[SeenWorker]) -> Iterator[Problem]:
    """Notifications that are due and not sent. `workers` tell whether workers are missing, or too slow."""
    if seconds > kit_settings.HEALTH_MAX_LAG_SECONDS:
        seen = min((worker.seen_seconds for worker in workers), default=float("inf"))
        is_running = seen <= kit_settings.HEALTH_MAX_LAG_SECONDS
        yield Problem(
            "lag",
            f"A notification has been due for {seconds:.0f} s.",
            f"A worker was seen {seen:.0f} s ago: read its log, and start more workers if it is busy."
            if is_running
            else "Check that deliver_push or the queue's worker runs.",
        )

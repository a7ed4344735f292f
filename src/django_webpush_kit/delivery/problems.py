"""Find problems that keep notifications from being delivered, for health and `push_doctor`, by database queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Exists, Q

from django_webpush_kit.conf import kit_settings, vapid_keyring
from django_webpush_kit.database import outbox_database
from django_webpush_kit.delivery.breaker import Fault
from django_webpush_kit.delivery.heartbeats import SeenWorker
from django_webpush_kit.delivery.manual_pause import ALL_SERVICES
from django_webpush_kit.models import PushBroadcast, PushServiceState, get_notification_model
from django_webpush_kit.outbox.broadcasts import due_rows, stored_broadcasts
from django_webpush_kit.single_statements import CountOf, figures

MAX_CLOCK_DIFFERENCE_SECONDS = 2.0

SERIOUS_CLOCK_DIFFERENCE_SECONDS = 30.0
"""A larger difference makes leases and deadlines wrong by more than the time of a request."""

DUE_GRACE_SECONDS = 5.0
"""A worker may be claiming a notification that became due less than this ago."""

WAITING_SECONDS = 30.0
"""A notification that has been due for longer is a problem if no worker runs."""

MISSED_SWEEPS_SECONDS = 150.0
"""Schedulers call a worker every minute. After this time without a heartbeat, two calls were missed."""

LATE_SWEEP_SECONDS = 75.0
"""After this time without a heartbeat, the next call of a scheduler is late."""

LOST_KEY_SHARE = 0.01
SERIOUS_LOST_KEY_SHARE = 0.1
"""Shares of active subscriptions with an unknown VAPID key that are a problem, and a serious one."""

FAILED_BROADCAST_HOURS = 24

MAX_BROADCASTS = 20
"""Maximum number of unfinished broadcasts to examine, most urgent and oldest first."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem and how to fix it, as sentences. It is serious if some notifications cannot be delivered."""

    area: str
    text: str
    fix: str
    is_serious: bool = True

    def __str__(self) -> str:
        return f"{self.text} {self.fix}"


def key_problems(active: int, lost: int) -> Iterator[Problem]:
    """Report unusable VAPID keys, and subscriptions (`lost` of `active`) made with a key that is not configured."""
    try:
        vapid_keyring()
    except ImproperlyConfigured as error:
        if active:  # without subscribers, push is not set up yet
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
    """Report push services that are paused, manually or by their breaker. Refusing a key in use is serious."""
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
    """Return whether the breaker is open and was probed recently. Without traffic, it stays open after an outage."""
    grace = timedelta(seconds=kit_settings.HEALTH_MAX_LAG_SECONDS)
    return state.paused_until is not None and state.paused_until > now - grace


def is_in_use(vapid_key_id: str) -> bool:
    """Return whether messages are still signed with this key. Problems of former keys do not matter."""
    try:
        return vapid_keyring().find(vapid_key_id) is not None
    except ImproperlyConfigured:
        return True


def clock_problems(difference: float | None, owner: str = "this machine") -> Iterator[Problem]:
    """Report a clock that differs from the database clock by `difference` seconds."""
    if difference is not None and abs(difference) > MAX_CLOCK_DIFFERENCE_SECONDS:
        direction = "ahead of" if difference > 0 else "behind"
        yield Problem(
            "clock",
            f"The clock of {owner} is {abs(difference):.0f} s {direction} the clock of the database. Leases, "
            "schedules and VAPID tokens depend on it.",
            "Synchronise the clocks of all machines, for example with chrony or systemd-timesyncd.",
            is_serious=abs(difference) > SERIOUS_CLOCK_DIFFERENCE_SECONDS,
        )


def worker_problems(
    workers: Sequence[SeenWorker], lag: float, *, start_hint: str, has_queue: bool, delivers_in_requests: bool
) -> Iterator[Problem]:
    """Report missing workers, a silent scheduler, and workers with a wrong clock.

    `lag` is the age of the oldest due notification in seconds, `start_hint` says how to start a worker, `has_queue`
    whether a scheduler runs the sweep. If requests deliver, no worker is missed until a notification is due. Without
    heartbeats, only the lag is known.
    """
    longest = kit_settings.HEALTH_MAX_LAG_SECONDS
    silence = min((worker.seen_seconds for worker in workers), default=0.0)
    is_due = lag > DUE_GRACE_SECONDS
    has_permanent = any(worker.row.is_loop or worker.row.ended_at is None for worker in workers)
    if silence > longest and (is_due or (has_permanent and not delivers_in_requests)):
        yield Problem(
            "workers",
            f"No worker has been seen for {silence:.0f} s{', and notifications are due' if is_due else ''}.",
            f"{start_hint} If workers run, they hang or cannot write to the database: read their log (is the disk of "
            "the database full?).",
            is_serious=is_due,
        )
    elif has_queue:
        yield from _scheduler_problems(workers, longest)
    for worker in workers:
        if worker.seen_seconds <= longest and worker.row.ended_at is None:
            yield from clock_problems(worker.row.clock_difference, f"the worker {worker.row.name}")


def idle_problems(
    workers: Sequence[SeenWorker], lag: float, due: int, *, start_hint: str, may_be_others: bool
) -> Iterator[Problem]:
    """Report `due` notifications, the oldest for `lag` seconds, that no worker will deliver.

    `start_hint` says how to start a worker, `may_be_others` whether a process without a heartbeat seems to deliver. If
    workers were seen in the last day, the problem becomes serious later, because they may be restarting.
    """
    longest = kit_settings.HEALTH_MAX_LAG_SECONDS
    # a project that tolerates more than the default may call workers less often
    missed = max(MISSED_SWEEPS_SECONDS, longest / 2)
    late = max(LATE_SWEEP_SECONDS, missed - LATE_SWEEP_SECONDS)
    if may_be_others or any(worker.is_expected_back(missed, late=late, lag=lag) for worker in workers):
        return
    what = f"1 notification has been due for {lag:.0f} s"
    if due > 1:
        what = f"{due:,} notifications are due, the oldest for {lag:.0f} s"
    seen = min((worker.seen_seconds for worker in workers), default=None)
    cause = ", and no worker runs" if seen is None else f"; the last worker was seen {seen:.0f} s ago"
    yield Problem("workers", f"{what}{cause}.", start_hint, is_serious=seen is None or lag > longest)


def _scheduler_problems(workers: Sequence[SeenWorker], longest: float) -> Iterator[Problem]:
    """Report workers that run, although no scheduler starts their sweep.

    The time counts from the last sweep, or from the start of the present workers if they were started later.
    """
    present = [worker for worker in workers if worker.row.ended_at is None and worker.seen_seconds <= longest]
    if not present:
        return
    latest = max(worker.row.seen_at for worker in present)
    sweeps = [worker.row.swept_at for worker in workers if worker.row.swept_at is not None]
    since = max([*sweeps, min(worker.row.started_at for worker in present)])
    silence = (latest - since).total_seconds()
    if silence > longest:
        yield Problem(
            "scheduler",
            f"The scheduler has not started a sweep for {silence:.0f} s: retries and scheduled notifications wait.",
            "Run push_schedule (django-q2), start celery beat, or call send_scheduled_notifications every minute.",
            is_serious=False,
        )


def broadcast_problems(now: datetime) -> Iterator[Problem]:
    """Report broadcasts that failed recently, and stalled ones.

    Broadcasts take turns: while one makes progress, the others may wait.
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
    if unfinished and _is_one_moving(unfinished, now):
        return
    for broadcast in unfinished:
        yield Problem(
            "broadcasts",
            f"Broadcast {broadcast.pk} ({broadcast.type}) is stalled at {broadcast.processed:,} recipients.",
            "Check that deliver_push or the queue's worker runs, and read its log.",
        )


def _is_one_moving(broadcasts: Sequence[PushBroadcast], now: datetime) -> bool:
    """Return whether one of the broadcasts made progress recently, or has a reason to wait."""
    since = now - timedelta(seconds=kit_settings.HEALTH_MAX_LAG_SECONDS)
    if any(sign > since for broadcast in broadcasts for sign in _signs(broadcast)):
        return True
    rows = get_notification_model().objects.using(outbox_database())
    written = rows.filter(batch__in=[broadcast.batch for broadcast in broadcasts], created_at__gt=since)
    due = {str(broadcast.pk): CountOf(due_rows(broadcast)) for broadcast in broadcasts}
    found = figures(outbox_database(), {"is_written": Exists(written), **due})
    return bool(found.pop("is_written")) or max(found.values()) >= kit_settings.BROADCAST_AHEAD


def _signs(broadcast: PushBroadcast) -> Iterator[datetime]:
    """Yield moments at which the broadcast was seen to move, or until which it waits."""
    due = broadcast.started_at or max(broadcast.scheduled_for or broadcast.created_at, broadcast.created_at)
    yield from filter(None, (due, broadcast.next_page_at, broadcast.lease_until))


def lag_problems(seconds: float, workers: Sequence[SeenWorker]) -> Iterator[Problem]:
    """Report due notifications that are not sent. `workers` shows whether workers are missing or too slow."""
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

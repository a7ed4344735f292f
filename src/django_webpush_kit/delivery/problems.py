"""Find what keeps notifications from being delivered, for health and the doctor; asks the database only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q

from django_webpush_kit.conf import kit_settings, vapid_keyring
from django_webpush_kit.database import clock_difference, outbox_database
from django_webpush_kit.delivery.breaker import Fault
from django_webpush_kit.delivery.manual_pause import ALL_SERVICES
from django_webpush_kit.models import PushBroadcast, PushServiceState, get_notification_model
from django_webpush_kit.outbox.broadcasts import due_rows, stored_broadcasts

MAX_CLOCK_DIFFERENCE_SECONDS = 2.0

SERIOUS_CLOCK_DIFFERENCE_SECONDS = 30.0
"""From here on leases and deadlines are wrong by more than a request takes."""

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


def clock_problems() -> Iterator[Problem]:
    """A clock of this machine that differs from the database's."""
    difference = clock_difference()
    if difference is not None and abs(difference) > MAX_CLOCK_DIFFERENCE_SECONDS:
        direction = "ahead of" if difference > 0 else "behind"
        yield Problem(
            "clock",
            f"The clock of this machine is {abs(difference):.0f} s {direction} the clock of the database. Leases, "
            "schedules and VAPID tokens depend on it.",
            "Synchronise the clocks of all machines, for example with chrony or systemd-timesyncd.",
            is_serious=abs(difference) > SERIOUS_CLOCK_DIFFERENCE_SECONDS,
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


def lag_problems(seconds: float, *, is_all_paused: bool) -> Iterator[Problem]:
    """Notifications that are due and not sent, unless an operator has paused all sending."""
    if seconds > kit_settings.HEALTH_MAX_LAG_SECONDS and not is_all_paused:
        yield Problem(
            "lag",
            f"A notification has been due for {seconds:.0f} s.",
            "Check that deliver_push or the queue's worker runs.",
        )

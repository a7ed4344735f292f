"""Pause all sending, or one push service, by hand; every worker reads this from `PushServiceState`.

Pending notifications stay in the outbox meanwhile. Each keeps its own deadline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from django_webpush_kit.database import outbox_database, retry_on_conflict
from django_webpush_kit.delivery.containment import change_all
from django_webpush_kit.delivery.event_log import log_pause
from django_webpush_kit.models import PushServiceState, get_notification_model
from django_webpush_kit.querysets import without_index
from django_webpush_kit.states import Lane, NotificationStatus

ALL_SERVICES = ""
"""The name of the state row that pauses all sending."""

WAIT_SECONDS = 300
"""How long a row of a paused service waits before a worker looks at it again; `resume` makes it due at once."""

PAUSED_BY_HAND = "Sending is paused by hand"
"""Why a row waits."""

MOVED_AT_ONCE = 1000
"""Rows that one statement makes due; it bounds how long the statement holds locks."""


def pause(push_service: str = ALL_SERVICES) -> bool:
    """Stop sending to a push service, or to all; False when it was paused already.

    Requests in flight are finished. Workers notice with their next chunk.
    """
    states = PushServiceState.objects.using(outbox_database())
    states.get_or_create(push_service=push_service, vapid_key_id="")
    mine = states.filter(push_service=push_service, vapid_key_id="", paused_by_hand_at=None)
    is_new = bool(retry_on_conflict(lambda: mine.update(paused_by_hand_at=timezone.now())))
    if is_new:
        log_pause(push_service, is_paused=True)
    return is_new


def resume(push_services: Iterable[str]) -> int:
    """End these pauses and make the rows due that waited for it; returns how many pauses were ended."""
    names = list(push_services)
    paused = _paused().filter(push_service__in=names)
    count = int(retry_on_conflict(lambda: paused.update(paused_by_hand_at=None)))
    if count:
        for name in names:
            log_pause(name, is_paused=False)
        _make_due()
    return count


def paused_by_hand() -> dict[str, datetime]:
    """The push services that are paused by hand, and since when; `ALL_SERVICES` stands for all sending."""
    return {
        state.push_service: state.paused_by_hand_at
        for state in _paused().order_by("push_service")
        if state.paused_by_hand_at
    }


def is_all_paused() -> bool:
    """Whether all sending is paused by hand."""
    return _paused().filter(push_service=ALL_SERVICES).exists()


def end_of_wait(deadline: datetime) -> datetime:
    """When a row of a paused service is looked at again: in `WAIT_SECONDS`, or earlier, well before its deadline."""
    now = timezone.now()
    seconds = min(WAIT_SECONDS, max(1.0, (deadline - now).total_seconds() / 2))
    return (now + timedelta(seconds=seconds)).replace(microsecond=0) + timedelta(seconds=1)


def _paused() -> QuerySet[PushServiceState]:
    return PushServiceState.objects.using(outbox_database()).filter(vapid_key_id="", paused_by_hand_at__isnull=False)


def _make_due() -> None:
    """Make the waiting rows due, also those of services that stay paused: these only wait anew."""
    rows = get_notification_model().objects.using(outbox_database())
    now = timezone.now()
    last = now + timedelta(seconds=WAIT_SECONDS + 2)
    waiting = rows.filter(next_attempt_at__gt=now, next_attempt_at__lte=last, failure_reason=PAUSED_BY_HAND)
    pending = waiting.filter(status=NotificationStatus.PENDING, lane__in=Lane.values)
    still_pending = waiting.filter(without_index("status", NotificationStatus.PENDING.value))

    def make_due(keys: Sequence[Any]) -> int:
        return int(retry_on_conflict(partial(still_pending.filter(pk__in=keys).update, next_attempt_at=now)))

    change_all(pending.order_by("next_attempt_at", "pk"), make_due, MOVED_AT_ONCE)

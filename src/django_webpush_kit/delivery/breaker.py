"""Breakers: a push service that says "wait", or refuses our credentials, is left alone by every worker.

The state lives in `PushServiceState`, so that all workers and the health page see it; it is read once per chunk.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from django_webpush_kit.database import outbox_database, retry_on_conflict
from django_webpush_kit.delivery.backoff import backoff_seconds
from django_webpush_kit.models import PushServiceState

THROTTLED = "throttled"
CREDENTIALS = "credentials"

MINIMUM_PAUSE_SECONDS = 1.0
MAXIMUM_PAUSE_SECONDS = 3600.0
CREDENTIALS_PAUSE_SECONDS = 300.0


class Breakers:
    """The pauses in force, as this worker knows them."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], PushServiceState] = {
            (state.push_service, state.vapid_key_id): state for state in PushServiceState.objects.all()
        }

    def paused_until(self, push_service: str, vapid_key_id: str, now: datetime | None = None) -> datetime | None:
        """When messages of this push service and VAPID key may be sent again; None when they may now."""
        if not self._states:
            return None
        now = now or timezone.now()
        ends = [
            state.paused_until
            for key in ((push_service, ""), (push_service, vapid_key_id))
            if (state := self._states.get(key)) and state.paused_until and state.paused_until > now
        ]
        return max(ends, default=None)

    def throttle(self, push_service: str, retry_after: float | None, reason: str, now: datetime) -> datetime:
        """Pause a push service for all workers; returns the end of the pause.

        The pause is what the service asked for, but never shorter than a backoff that grows with the pauses in a row.
        """
        known = self._states.get((push_service, ""))
        failures = known.failures if known else 0
        seconds = max(retry_after or 0.0, MINIMUM_PAUSE_SECONDS)
        if retry_after is None:
            seconds = max(seconds, backoff_seconds(failures, base=5, cap=MAXIMUM_PAUSE_SECONDS))
        return self._pause(push_service, "", seconds, f"{THROTTLED}: {reason}", now)

    def refuse_credentials(self, push_service: str, vapid_key_id: str, reason: str, now: datetime) -> datetime:
        """Pause a push service for one VAPID key, and leave an alarm that health shows until a message is accepted."""
        return self._pause(push_service, vapid_key_id, CREDENTIALS_PAUSE_SECONDS, f"{CREDENTIALS}: {reason}", now)

    def succeed(self, push_service: str, vapid_key_id: str, now: datetime) -> None:
        """Forget what was held against a push service that has just accepted a message."""
        if not self._states:
            return
        for key in ((push_service, ""), (push_service, vapid_key_id)):
            state = self._states.get(key)
            if state is not None and (state.paused_until is None or state.paused_until <= now):
                retry_on_conflict(PushServiceState.objects.filter(pk=state.pk, paused_until=state.paused_until).delete)
                del self._states[key]

    def _pause(self, push_service: str, vapid_key_id: str, seconds: float, reason: str, now: datetime) -> datetime:
        key = (push_service, vapid_key_id)
        end = now + timedelta(seconds=seconds)
        known = self._states.get(key)
        if (
            known
            and known.paused_until
            and known.paused_until >= end - timedelta(seconds=1)
            and known.paused_until > now
        ):
            return known.paused_until

        def statements() -> PushServiceState:
            with transaction.atomic(using=outbox_database()):
                state, _created = PushServiceState.objects.select_for_update().get_or_create(
                    push_service=push_service, vapid_key_id=vapid_key_id
                )
                _lengthen(state, end, reason, now)
            return state

        self._states[key] = state = retry_on_conflict(statements)
        return state.paused_until or end


def credentials_alarms() -> list[PushServiceState]:
    """The push services that refuse a VAPID key at present."""
    return list(PushServiceState.objects.filter(reason__startswith=CREDENTIALS))


def _lengthen(state: Any, end: datetime, reason: str, now: datetime) -> None:
    """Never shorten a pause another worker has set; count a failure only when no pause was in force."""
    in_force = state.paused_until is not None and state.paused_until > now
    if not in_force:
        state.failures += 1
    if not in_force or state.paused_until < end:
        state.paused_until = end
    state.reason = reason[:100]
    state.save()

"""Start, pause, resume and cancel broadcasts, and measure their progress. `delivery.fan_out` writes their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import outbox_database
from django_webpush_kit.exceptions import InvalidOption
from django_webpush_kit.models import PushBroadcast, get_notification_model
from django_webpush_kit.options import SendOptions
from django_webpush_kit.outbox import idempotency
from django_webpush_kit.outbox.audiences import check_audience
from django_webpush_kit.outbox.drafts import TemplateDraft
from django_webpush_kit.outbox.snapshots import freeze
from django_webpush_kit.states import UNFINISHED, NotificationStatus
from django_webpush_kit.task_backends import wake_on_commit
from django_webpush_kit.templating.context import plain_context

Status = PushBroadcast.Status


def start(
    type: str,  # noqa: A002  # the field's own name
    audience: str,
    context: Mapping[str, Any] | None,
    options: Mapping[str, Any],
    *,
    created_by: Any = None,
) -> PushBroadcast:
    """Check a broadcast and store it; the one that used the idempotency key before comes back instead."""
    parsed = SendOptions.parse(options)
    check_audience(audience)
    TemplateDraft(type, context, parsed).check()
    about_the_call = ("scheduled_for", "idempotency_key")
    stored = {name: value for name, value in options.items() if value is not None and name not in about_the_call}
    batch, database = uuid4(), outbox_database()
    with transaction.atomic(using=database):
        key, is_new = idempotency.reserve(parsed.idempotency_key, batch)
        if key is not None and not is_new:
            first = PushBroadcast.objects.filter(batch=key.batch).first()
            if first is None:
                raise InvalidOption(
                    f"idempotency_key {parsed.idempotency_key!r} was used for send(), not for a broadcast"
                )
            return first
        row = PushBroadcast.objects.create(
            batch=batch,
            type=type,
            audience=audience,
            context=freeze(plain_context(context or {})),
            options=freeze(stored),
            scheduled_for=parsed.scheduled_for,
            created_by=created_by,
        )
        wake_on_commit(batch, using=database)
    return row


def pause(broadcast: PushBroadcast) -> bool:
    """Stop a fan-out until it is resumed; False when it had ended."""
    return _switch(broadcast, (Status.PENDING, Status.RUNNING), Status.PAUSED)


def resume(broadcast: PushBroadcast) -> bool:
    """Continue a paused fan-out where it stopped; False when it was not paused."""
    broadcast.refresh_from_db()
    resumed = _switch(broadcast, (Status.PAUSED,), Status.RUNNING if broadcast.started_at else Status.PENDING)
    if resumed:
        wake_on_commit(broadcast.batch, using=outbox_database())
    return resumed


def stop(batch: UUID) -> None:
    """Cancel the broadcast of this batch, unless it has ended."""
    PushBroadcast.objects.filter(batch=batch).exclude(status__in=(Status.COMPLETED, Status.FAILED)).update(
        status=Status.CANCELLED, finished_at=timezone.now()
    )


@dataclass(frozen=True, slots=True)
class BroadcastProgress:
    """How far a broadcast is: recipients in all, rows written, rows that came to an end, and how fast.

    `rate` is ended rows per second since the start, `remaining` the seconds left at that rate; None while unknown.
    """

    total: int
    written: int
    ended: int
    rate: float | None
    remaining: float | None


def progress(broadcast: PushBroadcast) -> BroadcastProgress:
    """The progress of a broadcast as it stands in the database now."""
    broadcast.refresh_from_db()
    rows = get_notification_model().objects.filter(batch=broadcast.batch)
    waiting = rows.filter(status__in=UNFINISHED).count()
    ended = max(broadcast.queued - waiting, 0)
    if broadcast.started_at is None or not ended:
        return BroadcastProgress(broadcast.total, broadcast.queued, ended, None, None)
    rate = ended / max((timezone.now() - broadcast.started_at).total_seconds(), 0.001)
    left = max(broadcast.total - ended, 0)
    return BroadcastProgress(broadcast.total, broadcast.queued, ended, rate, left / rate)


def pending_rows(broadcast: Any) -> int:
    """How many rows of a broadcast wait to be sent; counts no further than `BROADCAST_AHEAD`."""
    waiting = get_notification_model().objects.filter(batch=broadcast.batch, status=NotificationStatus.PENDING)
    return waiting.values("pk")[: kit_settings.BROADCAST_AHEAD].count()


def _switch(broadcast: PushBroadcast, before: tuple[str, ...], after: str) -> bool:
    changed = PushBroadcast.objects.filter(pk=broadcast.pk, status__in=before).update(status=after)
    broadcast.refresh_from_db()
    return bool(changed)

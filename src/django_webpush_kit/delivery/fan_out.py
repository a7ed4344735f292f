"""Fanning a broadcast out: pages of its audience become outbox rows, a little ahead of delivery.

The rows of a page and the cursor that moves past it are written in one transaction, so a fan-out that is killed
anywhere continues without gaps or repeats. One worker fans out a broadcast at a time, under a lease; the others
deliver. No more than `BROADCAST_AHEAD` rows wait at once, so that the outbox stays small and urgent messages pass.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import outbox_database, retry_on_conflict
from django_webpush_kit.exceptions import WebPushKitError
from django_webpush_kit.models import (
    PushBroadcast,
    get_notification_model,
    get_subscription_model,
    get_template_model,
)
from django_webpush_kit.options import SendOptions
from django_webpush_kit.outbox.audiences import EVERYBODY, audience
from django_webpush_kit.outbox.batches import write_page
from django_webpush_kit.outbox.broadcasts import pending_rows
from django_webpush_kit.outbox.drafts import TemplateDraft
from django_webpush_kit.outbox.recipients import PAGE_SIZE, keyset_pages
from django_webpush_kit.outbox.snapshots import freeze_templates, thaw, thaw_templates
from django_webpush_kit.signals import emit, notifications_queued

FAN_OUT_SECONDS = 0.5
"""A worker fans out for this long before it delivers again: urgent messages may be waiting."""

LEASE_SECONDS = 60
"""How long a page of a fan-out may take; each page renews it. The setting of the same name bounds something else: a
chunk's requests to push services. A page is one transaction without any."""

Status = PushBroadcast.Status

_logger = logging.getLogger("django_webpush_kit")


def fan_out(give_up_at: float = float("inf")) -> int:
    """Write the next pages of a broadcast that is due; returns how many rows were written (0: nothing to do).

    Stops when `BROADCAST_AHEAD` rows wait, after a few seconds, or at `give_up_at` (time.monotonic()).
    """
    broadcast = _lease_next()
    if broadcast is None:
        return 0
    try:
        written = _write_pages(broadcast, min(give_up_at, time.monotonic() + FAN_OUT_SECONDS))
    except (WebPushKitError, ImproperlyConfigured, TypeError, ValueError) as error:
        _logger.exception("Broadcast %s cannot go on", broadcast.pk)
        reason = f"{type(error).__name__}: {error}"[:200]
        _change(broadcast, status=Status.FAILED, failure_reason=reason, finished_at=timezone.now())
        return 0
    finally:
        mine = PushBroadcast.objects.filter(pk=broadcast.pk, lease_token=broadcast.lease_token)
        retry_on_conflict(lambda: mine.update(lease_token=None, lease_until=None))
    return written


def _lease_next() -> PushBroadcast | None:
    """Take the oldest broadcast that is due and that no living worker fans out."""
    now = timezone.now()
    free = PushBroadcast.objects.filter(Q(lease_until=None) | Q(lease_until__lte=now)).filter(
        Q(status=Status.RUNNING) | Q(status=Status.PENDING) & (Q(scheduled_for=None) | Q(scheduled_for__lte=now))
    )
    for key in free.order_by("pk").values_list("pk", flat=True):
        token = uuid4()
        lease = {"lease_token": token, "lease_until": now + timedelta(seconds=LEASE_SECONDS)}
        if retry_on_conflict(lambda key=key, lease=lease: free.filter(pk=key).update(**lease)):  # type: ignore[misc]
            broadcast = PushBroadcast.objects.get(pk=key)
            if pending_rows(broadcast) < kit_settings.BROADCAST_AHEAD:
                return broadcast
            _change(broadcast, lease_token=None, lease_until=None)
    return None


def _write_pages(broadcast: PushBroadcast, give_up_at: float) -> int:
    members = audience(broadcast.audience, broadcast.type)
    if broadcast.status == Status.PENDING:
        _start(broadcast, members)
    draft = TemplateDraft(
        broadcast.type,
        thaw(broadcast.context),
        SendOptions.parse(thaw(broadcast.options)),
        templates=thaw_templates(broadcast.texts["templates"]),
    )
    room = kit_settings.BROADCAST_AHEAD - pending_rows(broadcast)
    after = get_subscription_model()._meta.pk.to_python(broadcast.cursor) if broadcast.cursor else None
    if draft.needs_user:
        members = members.select_related("user")
    written = 0
    for page in keyset_pages(members, after=after, size=min(PAGE_SIZE, kit_settings.BROADCAST_AHEAD)):
        if not _write(broadcast, page, draft):
            return written
        written += len(page)
        if written >= room or time.monotonic() >= give_up_at:
            return written
    _change(broadcast, status=Status.COMPLETED, finished_at=timezone.now())
    broadcast.refresh_from_db()
    emit(notifications_queued, get_notification_model(), batch=broadcast.batch, result=broadcast)
    return written


def _start(broadcast: PushBroadcast, members: QuerySet[Any]) -> None:
    """Freeze the texts and count the audience."""
    everybody = get_subscription_model().objects.active().count() if broadcast.audience == EVERYBODY else None
    total = members.count()
    broadcast.texts = {"templates": freeze_templates(get_template_model().objects.filter(type=broadcast.type))}
    broadcast.status = Status.RUNNING
    _change(
        broadcast,
        status=Status.RUNNING,
        texts=broadcast.texts,
        started_at=timezone.now(),
        total=total,
        suppressed=max((everybody or total) - total, 0),
    )


def _write(broadcast: PushBroadcast, page: list[Any], draft: TemplateDraft) -> bool:
    """Write one page and move the cursor past it; False when the broadcast was paused, cancelled or taken over."""
    now = timezone.now()

    def statements() -> bool:
        with transaction.atomic(using=outbox_database()):
            moved = PushBroadcast.objects.filter(
                pk=broadcast.pk, lease_token=broadcast.lease_token, status=Status.RUNNING
            ).update(cursor=str(page[-1].pk), lease_until=now + timedelta(seconds=LEASE_SECONDS))
            if not moved:
                return False
            counts = write_page(page, draft, batch=broadcast.batch, now=now, keep_suppressed=False)
            PushBroadcast.objects.filter(pk=broadcast.pk).update(
                queued=F("queued") + counts.queued + counts.deferred, suppressed=F("suppressed") + counts.suppressed
            )
            return True

    return retry_on_conflict(statements)


def _change(broadcast: PushBroadcast, **values: Any) -> None:
    """Write to a broadcast that is still this worker's."""
    mine = PushBroadcast.objects.filter(pk=broadcast.pk, lease_token=broadcast.lease_token)
    retry_on_conflict(lambda: mine.exclude(status=Status.CANCELLED).update(**values))

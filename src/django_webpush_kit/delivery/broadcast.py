"""Fanning a broadcast out: pages of its audience become outbox rows, a little ahead of delivery.

The rows of a page and the cursor that moves past it are written in one transaction, so a fan-out that is killed
anywhere continues without gaps or repeats. One worker fans out a broadcast at a time, under a lease; the others
deliver. No more than `BROADCAST_AHEAD` rows wait at once, so that the outbox stays small and urgent messages pass.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.fields.json import KeyTransform
from django.utils import timezone
from django.utils.module_loading import import_string

from django_webpush_kit.base_models import NotificationStatus
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.delivery.database import outbox_database, retry_on_conflict
from django_webpush_kit.delivery.enqueue import TemplateDraft, write_page
from django_webpush_kit.delivery.frozen import freeze_templates, thaw, thaw_templates
from django_webpush_kit.delivery.options import SendOptions
from django_webpush_kit.delivery.recipients import PAGE_SIZE, belonging_to, keyset_pages
from django_webpush_kit.exceptions import InvalidOption, WebPushKitError
from django_webpush_kit.models import (
    PushBroadcast,
    get_notification_model,
    get_subscription_model,
    get_template_model,
)
from django_webpush_kit.signals import emit, notifications_queued
from django_webpush_kit.task_backends.base import get_task_backend

EVERYBODY = "all"
OPTED_IN = "opted-in"
"""The built-in audiences: all who have not opted out of the type, and those who opted in to it explicitly."""

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
    if written > kit_settings.CHUNK_SIZE:
        get_task_backend().wake_all()
    return written


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
    waiting = rows.filter(status__in=(NotificationStatus.PENDING, NotificationStatus.SENDING)).count()
    ended = max(broadcast.queued - waiting, 0)
    if broadcast.started_at is None or not ended:
        return BroadcastProgress(broadcast.total, broadcast.queued, ended, None, None)
    rate = ended / max((timezone.now() - broadcast.started_at).total_seconds(), 0.001)
    left = max(broadcast.total - ended, 0)
    return BroadcastProgress(broadcast.total, broadcast.queued, ended, rate, left / rate)


def audience(name: str, type_: str) -> QuerySet[Any]:
    """The active subscriptions of a named audience, less those who opted out of the notification type.

    "all" and "opted-in" are built in; others are functions in the setting `AUDIENCES` that return a queryset of users
    or of subscriptions.
    """
    wanted: QuerySet[Any] = get_subscription_model().objects.active()
    if name not in (EVERYBODY, OPTED_IN):
        wanted = belonging_to(wanted, _audience_function(name)())
    is_on_by_default = kit_settings.NOTIFICATION_TYPES.get(type_, {}).get("default", True)
    wanted = wanted.annotate(_wants=KeyTransform(type_, KeyTransform("categories", "preferences")))
    if name == OPTED_IN or not is_on_by_default:
        return wanted.filter(_wants=True)
    return wanted.filter(Q(_wants=True) | Q(_wants__isnull=True))


def audience_names() -> list[str]:
    """The audiences there are: the built-in ones, then those of the setting `AUDIENCES`."""
    return [EVERYBODY, OPTED_IN, *sorted(kit_settings.AUDIENCES)]


def check_audience(name: str) -> None:
    """Raise `InvalidOption` when there is no such audience."""
    if name not in (EVERYBODY, OPTED_IN):
        _audience_function(name)


def pending_rows(broadcast: Any) -> int:
    """How many rows of a broadcast wait to be sent; counts no further than `BROADCAST_AHEAD`."""
    waiting = get_notification_model().objects.filter(batch=broadcast.batch, status=NotificationStatus.PENDING)
    return waiting.values("pk")[: kit_settings.BROADCAST_AHEAD].count()


def _audience_function(name: str) -> Callable[[], QuerySet[Any]]:
    function = kit_settings.AUDIENCES.get(name)
    if function is None:
        known = ", ".join(sorted(audience_names()))
        raise InvalidOption(f"audience {name!r} is unknown; built in, or in the setting AUDIENCES, are: {known}")
    found: Callable[[], QuerySet[Any]] = import_string(function) if isinstance(function, str) else function
    return found


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

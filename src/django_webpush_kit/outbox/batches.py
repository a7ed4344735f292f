"""Write one message to all its recipients: one row per subscription, in pages, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from django_webpush_kit.database import outbox_database
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.options import SendOptions
from django_webpush_kit.outbox import idempotency
from django_webpush_kit.outbox.drafts import Draft
from django_webpush_kit.outbox.lifetime import deadline
from django_webpush_kit.outbox.recipients import subscription_pages
from django_webpush_kit.signals import emit, notifications_queued
from django_webpush_kit.states import Lane, NotificationStatus
from django_webpush_kit.subscriptions.preferences import Decision, decide, recipient_zone, wall_clock_instant
from django_webpush_kit.task_backends import wake_on_commit

INSERT_SIZE = 500

SUPERSEDED = "Superseded by a newer notification with the same topic"


@dataclass(frozen=True, slots=True)
class SendResult:
    """What one call wrote: rows due now, rows due later, recipients that did not want it.

    `batch` is on every row. `reused` is true when the idempotency key had been used: then nothing was written, and
    the counts are those of the first call.
    """

    batch: UUID
    queued: int = 0
    deferred: int = 0
    suppressed: int = 0
    reused: bool = False

    @property
    def notifications(self) -> QuerySet[Any]:
        """The rows of the batch."""
        return get_notification_model().objects.filter(batch=self.batch)


def write_batch(to: Any, make_draft: Callable[[], Draft], options: SendOptions) -> SendResult:
    """Write one row per active subscription of `to`: the idempotency key first, then a page of rows at a time."""
    batch, now, database = uuid4(), timezone.now(), outbox_database()
    with transaction.atomic(using=database):
        key, is_new = idempotency.reserve(options.idempotency_key, batch)
        if key is not None and not is_new:
            return SendResult(key.batch, key.queued, key.deferred, key.suppressed, reused=True)
        draft = make_draft()
        counts = Counts()
        for page in subscription_pages(to, with_users=draft.needs_user):
            counts += write_page(page, draft, batch=batch, now=now)
        if key is not None:
            idempotency.keep_counts(
                key, {"queued": counts.queued, "deferred": counts.deferred, "suppressed": counts.suppressed}
            )
    result = SendResult(batch, counts.queued, counts.deferred, counts.suppressed)
    # outside the block: a savepoint of its own would keep the wake-ups of one transaction apart
    _announce(result, database)
    return result


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of recipients: due now, due later, not wanted."""

    queued: int = 0
    deferred: int = 0
    suppressed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.queued + other.queued, self.deferred + other.deferred, self.suppressed + other.suppressed)


def write_page(
    subscriptions: Sequence[Any], draft: Draft, *, batch: UUID, now: datetime, keep_suppressed: bool = True
) -> Counts:
    """Insert one row per subscription, in the caller's transaction, and return what became of them.

    A suppressed recipient gets a row with the reason, unless `keep_suppressed` is false: then it is only counted.
    """
    notification = get_notification_model()
    rows = [_row(notification, subscription, draft, batch, now) for subscription in subscriptions]
    suppressed = [row for row in rows if row.status == NotificationStatus.SUPPRESSED]
    kept = rows if keep_suppressed else [row for row in rows if row.status == NotificationStatus.PENDING]
    _supersede(notification, [row for row in rows if row.topic and row.status == NotificationStatus.PENDING])
    notification.objects.bulk_create(kept, batch_size=INSERT_SIZE)
    queued = sum(row.status == NotificationStatus.PENDING and row.next_attempt_at <= now for row in rows)
    return Counts(queued, len(rows) - queued - len(suppressed), len(suppressed))


def _row(notification: Any, subscription: Any, draft: Draft, batch: UUID, now: datetime) -> Any:
    content = draft.content_for(subscription)
    options = content.options
    scheduled = options.scheduled_for
    if options.scheduled_local is not None:
        scheduled = wall_clock_instant(options.scheduled_local, recipient_zone(subscription.timezone))
    due = max(scheduled, now) if scheduled else now
    decision = Decision()
    if not options.critical:
        decision = decide(
            subscription.preferences,
            subscription.timezone,
            type=draft.type,
            due=due,
            deadline=deadline(due, options, options.expires_at),
        )
    return notification(
        subscription_id=subscription.pk,
        template_id=content.template_id,
        user_id=subscription.user_id,
        batch=batch,
        type=draft.type,
        language=content.language,
        title=content.title,
        body=content.body,
        data=options.data or {},
        options=content.row_options,
        topic=options.topic or "",
        status=NotificationStatus.SUPPRESSED if decision.suppressed else NotificationStatus.PENDING,
        failure_reason=decision.suppressed,
        lane=Lane.for_urgency(options.urgency),
        scheduled_for=scheduled,
        next_attempt_at=decision.until or due,
        expires_at=options.expires_at,
        max_retries=content.max_retries,
        created_at=now,
    )


def _supersede(notification: Any, rows: Sequence[Any]) -> None:
    """Cancel what still waits for the same subscriptions under the topics that are being written."""
    by_topic: dict[str, list[Any]] = {}
    for row in rows:
        by_topic.setdefault(row.topic, []).append(row.subscription_id)
    for topic, subscriptions in by_topic.items():
        notification.objects.filter(topic=topic, subscription__in=subscriptions).cancel(SUPERSEDED)


def _announce(result: SendResult, database: str) -> None:
    model = get_notification_model()
    if result.queued:
        wake_on_commit(result.batch, using=database)
    if notifications_queued.has_listeners(model):
        announce = partial(emit, notifications_queued, model, batch=result.batch, result=result)
        transaction.on_commit(announce, using=database, robust=True)

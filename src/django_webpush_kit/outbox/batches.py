"""Write one message to all its recipients: one row per subscription, in pages, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.db import DatabaseError, transaction
from django.utils import timezone

from django_webpush_kit.base_models import AbstractPushNotification
from django_webpush_kit.database import call_on_commit, outbox_database, retry_on_conflict
from django_webpush_kit.exceptions import WebPushKitError
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.options import SendOptions
from django_webpush_kit.outbox import idempotency
from django_webpush_kit.outbox.drafts import Draft
from django_webpush_kit.outbox.recipients import Recipients, find_recipients
from django_webpush_kit.outbox.rows import Counts, Failures, build_page, insert_page, lock_recipients
from django_webpush_kit.querysets import PushNotificationQuerySet
from django_webpush_kit.signals import emit, notifications_queued
from django_webpush_kit.task_backends import wake_on_commit


@dataclass(frozen=True, slots=True)
class SendResult:
    """What one call wrote: rows due now, rows due later, rows of recipients that did not want the message.

    `failed` counts subscriptions that were skipped, because the message could not be rendered or stored for them.
    `recipients` are the users and subscriptions that `to` named; `unreachable` is how many of them have no active
    subscription. Every row has `batch`. `reused` is true if the idempotency key had been used: then nothing was
    written, and the counts are those of the first call.
    """

    batch: UUID
    queued: int = 0
    deferred: int = 0
    suppressed: int = 0
    reused: bool = False
    failed: int = 0
    recipients: int = field(default=0, compare=False)
    unreachable: int = field(default=0, compare=False)

    @property
    def notifications(self) -> PushNotificationQuerySet[AbstractPushNotification]:
        """The rows of the batch."""
        return get_notification_model().objects.using(outbox_database()).filter(batch=self.batch)


def write_batch(to: Any, make_draft: Callable[[], Draft], options: SendOptions) -> SendResult:
    """Write one row per active subscription of `to`: the idempotency key first, then a page of rows at a time.

    After a conflict with another transaction it starts over, unless the caller has opened a transaction or `to` can be
    read only once.
    """
    write = partial(_write, to, make_draft, options)
    result = write() if isinstance(to, Iterator) else retry_on_conflict(write)
    if not result.reused:
        # outside the transaction: a savepoint of its own would keep the wake-ups of one transaction apart
        _announce(result, outbox_database())
    return result


def _write(to: Any, make_draft: Callable[[], Draft], options: SendOptions) -> SendResult:
    batch = uuid4()
    with transaction.atomic(using=outbox_database()):
        key, is_new = idempotency.reserve(options.idempotency_key, batch)
        if key is not None and not is_new:
            return SendResult(key.batch, reused=True, **{name: getattr(key, name) for name in COUNTS})
        draft = make_draft()
        recipients = find_recipients(to)
        counts = _write_pages(recipients, draft, batch)
        reach = recipients.reach()
        result = SendResult(
            batch,
            queued=counts.queued,
            deferred=counts.deferred,
            suppressed=counts.suppressed,
            failed=counts.failed,
            recipients=reach.recipients,
            unreachable=reach.unreachable,
        )
        if key is not None:
            idempotency.keep_counts(key, {name: getattr(result, name) for name in COUNTS})
    return result


COUNTS = ("queued", "deferred", "suppressed", "failed", "recipients", "unreachable")
"""The counts that later calls with the idempotency key return."""


def _write_pages(recipients: Recipients, draft: Draft, batch: UUID) -> Counts:
    """Write page after page. If a mistake of the caller failed all recipients, its exception is raised, not logged."""
    now, failures = timezone.now(), Failures()
    counts = Counts()
    for page in recipients.pages(with_users=draft.needs_user):
        living = lock_recipients(page)
        counts += insert_page(build_page(living, draft, batch=batch, now=now, note=failures.add), note=failures.add)
        counts += Counts(failed=len(page) - len(living))
    failures.add(recipients.failures)
    counts += Counts(failed=len(recipients.failures), error=next(iter(recipients.failures), None))
    is_written = counts.queued or counts.deferred or counts.suppressed
    if isinstance(counts.error, WebPushKitError | TypeError | DatabaseError) and not is_written:
        raise counts.error
    failures.log()
    return counts


def _announce(result: SendResult, database: str) -> None:
    model = get_notification_model()
    if result.queued:
        wake_on_commit(result.batch, using=database)
    if notifications_queued.has_listeners(model):
        announce = partial(emit, notifications_queued, model, batch=result.batch, result=result)
        call_on_commit(announce, using=database)

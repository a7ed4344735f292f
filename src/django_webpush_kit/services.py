"""The public API: what host code calls.

    send_templated("order_shipped", to=user, context={"number": order.number}, url=order.get_absolute_url())

Every call writes its rows in the caller's transaction and wakes the workers once after commit; nothing is sent if the
transaction rolls back. What becomes of a message is recorded in its row, never raised. Caller mistakes are exceptions
under `WebPushKitError`, wrong options a TypeError or `InvalidOption`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet
from django.utils import timezone as django_timezone

from django_webpush_kit.base_models import NotificationStatus
from django_webpush_kit.delivery.broadcast import check_audience
from django_webpush_kit.delivery.database import outbox_database
from django_webpush_kit.delivery.enqueue import Counts, Draft, PlainDraft, TemplateDraft, write_page
from django_webpush_kit.delivery.frozen import freeze
from django_webpush_kit.delivery.options import SendOptions
from django_webpush_kit.delivery.preferences import BLOCKED, check_preferences
from django_webpush_kit.delivery.recipients import subscription_pages
from django_webpush_kit.delivery.registration import BrowserSubscription, register
from django_webpush_kit.delivery.subscriptions import deactivate_subscriptions
from django_webpush_kit.exceptions import InvalidOption, InvalidSubscription
from django_webpush_kit.models import (
    IdempotencyKey,
    PushBroadcast,
    get_notification_model,
    get_subscription_model,
)
from django_webpush_kit.privacy import erase_user as erase_user
from django_webpush_kit.privacy import export_user as export_user
from django_webpush_kit.querysets import PushNotificationQuerySet
from django_webpush_kit.rendering import plain_context
from django_webpush_kit.signals import emit, notifications_queued
from django_webpush_kit.task_backends import wake_on_commit

NOT_SENT = (
    NotificationStatus.FAILED,
    NotificationStatus.EXPIRED,
    NotificationStatus.SUPPRESSED,
    NotificationStatus.CANCELLED,
)

CANCELLED = "Cancelled by the application"

CANCEL_SIZE = 1000


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


def send(to: Any, title: str, body: str = "", *, type: str | None = None, **options: Any) -> SendResult:  # noqa: A002
    """Queue one message for every active subscription of `to`.

    `to` is a user, a subscription, or an iterable or queryset of either. The options are those of
    `delivery.options.SendOptions`; an unknown one is a TypeError.
    """
    parsed = SendOptions.parse(options)
    return _enqueue(to, lambda: PlainDraft(title, body, type or "", parsed), parsed)


def send_templated(
    type: str,  # noqa: A002  # the public name
    to: Any,
    context: Mapping[str, Any] | None = None,
    **options: Any,
) -> SendResult:
    """Queue the message of a notification template, in each recipient's language, for each active subscription of `to`.

    Raises `TemplateNotFound`, `TemplateRenderError`, `PayloadTooLarge`, `InvalidRecipient`, and TypeError for a context
    value that is not plain. Explicit options win over the template's.
    """
    parsed = SendOptions.parse(options)
    return _enqueue(to, lambda: TemplateDraft(type, context, parsed), parsed)


def broadcast(
    type: str,  # noqa: A002  # the public name
    audience: str = "all",
    context: Mapping[str, Any] | None = None,
    *,
    scheduled_for: datetime | None = None,
    idempotency_key: str | None = None,
    created_by: Any = None,
    **options: Any,
) -> PushBroadcast:
    """Send a template's message to a stored audience, fanned out by the workers; returns at once.

    `audience` is "all", "opted-in" (those who chose the type) or a name from the setting `AUDIENCES`. The texts are
    frozen when the fan-out starts. Pause, resume and cancel with the functions of these names; counters are on the
    returned row. Raises as `send_templated` does.
    """
    parsed = SendOptions.parse({"scheduled_for": scheduled_for, "idempotency_key": idempotency_key, **options})
    check_audience(audience)
    TemplateDraft(type, context, parsed)
    stored = {name: value for name, value in options.items() if value is not None}
    batch, database = uuid4(), outbox_database()
    with transaction.atomic(using=database):
        key = _reserve(parsed.idempotency_key, batch)
        if isinstance(key, SendResult):
            first = PushBroadcast.objects.filter(batch=key.batch).first()
            if first is None:
                raise InvalidOption(f"idempotency_key {idempotency_key!r} was used for send(), not for a broadcast")
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


def pause_broadcast(broadcast: PushBroadcast) -> bool:
    """Stop a fan-out until it is resumed; what is already queued is still sent. False when it had ended."""
    return _switch(broadcast, (PushBroadcast.Status.PENDING, PushBroadcast.Status.RUNNING), PushBroadcast.Status.PAUSED)


def resume_broadcast(broadcast: PushBroadcast) -> bool:
    """Go on with a paused fan-out where it stopped. False when it was not paused."""
    broadcast.refresh_from_db()
    state = PushBroadcast.Status.RUNNING if broadcast.started_at else PushBroadcast.Status.PENDING
    resumed = _switch(broadcast, (PushBroadcast.Status.PAUSED,), state)
    if resumed:
        wake_on_commit(broadcast.batch, using=outbox_database())
    return resumed


def subscribe(
    *,
    endpoint: str,
    p256dh: str,
    auth: str,
    user: Any = None,
    preferences: Mapping[str, Any] | None = None,
    user_agent: str = "",
    language: str = "",
    timezone: str = "",
    expiration_time: datetime | None = None,
    ip_address: str | None = None,
) -> Any:
    """Store a browser's subscription for `user` (None: anonymous) and return it.

    The same endpoint with the same keys is the same browser: it moves to `user`, and what was pending for the owner
    before is cancelled. The same endpoint with other keys is refused. Raises `InvalidSubscription` naming the field.
    """
    owner = _checked_owner(user)
    browser = BrowserSubscription.check(
        endpoint=endpoint,
        p256dh=p256dh,
        auth=auth,
        expiration_time=expiration_time,
        preferences=preferences,
        language=language,
        timezone=timezone,
        user_agent=user_agent,
        ip_address=ip_address,
    )
    return register(browser, user=owner).subscription


def unsubscribe(subscription: Any, *, reason: str = "") -> None:
    """End a subscription: it is kept, inactive, with the reason; what is pending for it is suppressed."""
    keys = get_subscription_model().objects.filter(pk=subscription.pk)
    reason = reason or "unsubscribed"
    with transaction.atomic(using=outbox_database()):
        deactivate_subscriptions(keys, reason)
        get_notification_model().objects.filter(subscription=subscription.pk, status=NotificationStatus.PENDING).update(
            status=NotificationStatus.SUPPRESSED, failure_reason=f"The subscription is not active: {reason}"[:200]
        )
    subscription.refresh_from_db()


def update_preferences(subscription: Any, preferences: Mapping[str, Any]) -> Any:
    """Replace a subscription's preferences; raises `InvalidSubscription` naming the field that is wrong."""
    subscription.preferences = check_preferences(preferences)
    subscription.save(update_fields=["preferences"])
    return subscription


def cancel(target: Any = None, *, idempotency_key: str | None = None) -> int:
    """Cancel what is still pending; returns how many rows that were.

    `target` is a batch UUID, a `SendResult`, a broadcast, a notification, or a queryset of notifications. With
    `idempotency_key` it is the batch written under that key, and the key may be used again.
    """
    if (target is None) == (idempotency_key is None):
        raise TypeError("cancel() takes a target or an idempotency_key, one of them")
    with transaction.atomic(using=outbox_database()):
        if idempotency_key is None:
            return _cancel(target)
        kept = (
            IdempotencyKey.objects.select_for_update().filter(key_hash=IdempotencyKey.hash_of(idempotency_key)).first()
        )
        if kept is None:
            return 0
        kept.delete()
        return _cancel(kept.batch)


async def abroadcast(type: str, *arguments: Any, **options: Any) -> PushBroadcast:  # noqa: A002  # the public name
    """Run `broadcast` for async callers."""
    return await sync_to_async(partial(broadcast, type, *arguments, **options))()


async def asend(to: Any, title: str, body: str = "", **options: Any) -> SendResult:
    """Run `send` for async callers."""
    return await sync_to_async(partial(send, to, title, body, **options))()


async def asend_templated(
    type: str,  # noqa: A002  # the public name
    to: Any,
    context: Mapping[str, Any] | None = None,
    **options: Any,
) -> SendResult:
    """Run `send_templated` for async callers."""
    return await sync_to_async(partial(send_templated, type, to, context, **options))()


class PushNotificationService:
    """`send` and `send_templated` with results as dicts: `{"success": True, ...}` or `{"success": False, "error"}`."""

    def send_notification(
        self,
        subscription: Any,
        title: str,
        body: str = "",
        data: dict[str, Any] | None = None,
        template_type: str | None = None,
    ) -> dict[str, Any]:
        """Queue one message for one subscription; on success `notification_id` is its row's key."""
        return self._as_dict(send(subscription, title, body, type=template_type, data=data))

    def send_templated_notification(
        self, subscription: Any, template_type: str, context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Queue a template's message for one subscription; on success `notification_id` is its row's key."""
        return self._as_dict(send_templated(template_type, subscription, context))

    def send_bulk_notifications(
        self,
        subscriptions: Any,
        title: str,
        body: str = "",
        data: dict[str, Any] | None = None,
        template_type: str | None = None,
    ) -> dict[str, Any]:
        """Queue one message for many; `sent` counts rows queued, `blocked` recipients who did not want it."""
        result = send(subscriptions, title, body, type=template_type, data=data)
        return {
            "success": True,
            "batch": str(result.batch),
            "sent": result.queued + result.deferred,
            "blocked": result.suppressed,
        }

    def _as_dict(self, result: SendResult) -> dict[str, Any]:
        row = result.notifications.first()
        if row is None:
            return {"success": False, "error": "The subscription is not active"}
        if row.status in NOT_SENT:
            return {"success": False, "error": row.failure_reason or BLOCKED, "notification_id": row.pk}
        return {"success": True, "notification_id": row.pk}


def _checked_owner(user: Any) -> Any:
    """The user a subscription shall belong to; None for nobody, and for `request.user` of who is not signed in."""
    if user is None or getattr(user, "is_anonymous", False) is True:
        return None
    if not isinstance(user, get_user_model()):
        raise InvalidSubscription(f"user must be a user or None, not {type(user).__name__}.", field="user")
    if user.pk is None or user._state.adding:  # noqa: SLF001  # Django documents `_state.adding`
        raise InvalidSubscription("The user must be saved before a subscription can belong to them.", field="user")
    return user


def _enqueue(to: Any, make_draft: Callable[[], Draft], options: SendOptions) -> SendResult:
    """Write one batch: the idempotency key first, then a page of rows at a time, all in one transaction."""
    batch, now, database = uuid4(), django_timezone.now(), outbox_database()
    with transaction.atomic(using=database):
        key = _reserve(options.idempotency_key, batch)
        if isinstance(key, SendResult):
            return key
        draft = make_draft()
        counts = Counts()
        for page in subscription_pages(to, with_users=draft.needs_user):
            counts += write_page(page, draft, batch=batch, now=now)
        result = SendResult(batch, counts.queued, counts.deferred, counts.suppressed)
        if key is not None:
            IdempotencyKey.objects.using(database).filter(pk=key.pk).update(
                queued=counts.queued, deferred=counts.deferred, suppressed=counts.suppressed
            )
    # outside the block: a savepoint of its own would keep the wake-ups of one transaction apart
    _announce(result, database)
    return result


def _reserve(key: str | None, batch: UUID) -> IdempotencyKey | SendResult | None:
    """Insert the idempotency key; when it had been used, the first call's result comes back instead.

    A concurrent call with the same key waits here for the first one's transaction to end.
    """
    if key is None:
        return None
    database = outbox_database()
    try:
        with transaction.atomic(using=database):
            return IdempotencyKey.objects.using(database).create(key=key, batch=batch)
    except IntegrityError:
        # a locking read sees what has been committed since this transaction began, where the database keeps snapshots
        first = IdempotencyKey.objects.using(database).select_for_update().get(key_hash=IdempotencyKey.hash_of(key))
        return SendResult(first.batch, first.queued, first.deferred, first.suppressed, reused=True)


def _announce(result: SendResult, database: str) -> None:
    model = get_notification_model()
    if result.queued:
        wake_on_commit(result.batch, using=database)
    if notifications_queued.has_listeners(model):
        announce = partial(emit, notifications_queued, model, batch=result.batch, result=result)
        transaction.on_commit(announce, using=database, robust=True)


def _cancel(target: Any) -> int:
    model = get_notification_model()
    if not (isinstance(target, QuerySet) and issubclass(target.model, model)):
        return int(_cancellable(target).cancel(CANCELLED))
    # by key, in groups: a queryset may be sliced, combined or joined, and no database takes any number of parameters
    keys = list(target.values_list("pk", flat=True))
    groups = (keys[start : start + CANCEL_SIZE] for start in range(0, len(keys), CANCEL_SIZE))
    return sum(model.objects.filter(pk__in=group).cancel(CANCELLED) for group in groups)


def _cancellable(target: Any) -> PushNotificationQuerySet:
    model = get_notification_model()
    if isinstance(target, model):
        return model.objects.filter(pk=target.pk)
    if isinstance(target, PushBroadcast | SendResult):
        target = target.batch
    if isinstance(target, str):
        try:
            target = UUID(target)
        except ValueError:
            raise InvalidOption(f"cancel(): {target!r} is not a batch UUID") from None
    if isinstance(target, UUID):
        _stop_broadcast(target)
        return model.objects.filter(batch=target)
    found = type(target).__name__ if not isinstance(target, Model) else f"a {type(target).__name__} object"
    raise TypeError(f"cancel() takes a batch UUID, a broadcast, a notification or a queryset of these, not {found}")


def _stop_broadcast(batch: UUID) -> None:
    ended = (PushBroadcast.Status.COMPLETED, PushBroadcast.Status.FAILED)
    PushBroadcast.objects.filter(batch=batch).exclude(status__in=ended).update(
        status=PushBroadcast.Status.CANCELLED, finished_at=django_timezone.now()
    )


def _switch(broadcast: PushBroadcast, before: tuple[str, ...], after: str) -> bool:
    changed = PushBroadcast.objects.filter(pk=broadcast.pk, status__in=before).update(status=after)
    broadcast.refresh_from_db()
    return bool(changed)

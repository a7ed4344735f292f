"""The public API: what host code calls.

    send_templated("order_shipped", to=user, context={"number": order.number}, url=order.get_absolute_url())

Every call writes its rows in the caller's transaction and wakes the workers once after commit; nothing is sent if the
transaction rolls back. What becomes of a message is recorded in its row, never raised. Caller mistakes are exceptions
under `WebPushKitError`, wrong options a TypeError or `InvalidOption`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.db.models import Model, QuerySet

from django_webpush_kit.database import outbox_database, rows_of
from django_webpush_kit.exceptions import InvalidOption, InvalidSubscription
from django_webpush_kit.legacy_service import PushNotificationService as PushNotificationService
from django_webpush_kit.models import PushBroadcast, get_notification_model
from django_webpush_kit.options import SendOptions
from django_webpush_kit.outbox import broadcasts, idempotency
from django_webpush_kit.outbox.batches import SendResult as SendResult
from django_webpush_kit.outbox.batches import write_batch
from django_webpush_kit.outbox.drafts import PlainDraft, TemplateDraft
from django_webpush_kit.outbox.recipients import on_primary
from django_webpush_kit.privacy import erase_user as erase_user
from django_webpush_kit.privacy import export_user as export_user
from django_webpush_kit.querysets import PushNotificationQuerySet
from django_webpush_kit.subscriptions.deactivation import deactivate_subscriptions
from django_webpush_kit.subscriptions.preferences import store_preferences
from django_webpush_kit.subscriptions.registration import BrowserSubscription, ByUser, register

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.utils.functional import Promise
    from typing_extensions import Unpack

    from django_webpush_kit.base_models import AbstractPushNotification, AbstractPushSubscription
    from django_webpush_kit.options import BroadcastOptionsDict, SendOptionsDict

    Recipient: TypeAlias = AbstractBaseUser | AbstractPushSubscription
    To: TypeAlias = Recipient | Iterable[Recipient]
    Cancellable: TypeAlias = UUID | str | SendResult | PushBroadcast | AbstractPushNotification | QuerySet[Any]

CANCELLED = "Cancelled by the application"

CANCEL_SIZE = 1000


def send(
    to: To,
    title: str | Promise,
    body: str | Promise = "",
    *,
    type: str | None = None,  # noqa: A002  # the public name
    **options: Unpack[SendOptionsDict],
) -> SendResult:
    """Queue one message for every active subscription of `to`.

    `to` is a user, a subscription, or an iterable or queryset of either. The options are the fields of
    `options.SendOptions`; an unknown one is a TypeError. A recipient whose row cannot be written is counted in
    `SendResult.failed`; a mistake that all recipients share is raised.
    """
    parsed = SendOptions.parse(options)
    return write_batch(to, lambda: PlainDraft(title, body, type or "", parsed), parsed)


def send_templated(
    type: str,  # noqa: A002  # the public name
    to: To,
    context: Mapping[str, Any] | None = None,
    **options: Unpack[SendOptionsDict],
) -> SendResult:
    """Queue the message of a notification template, in each recipient's language, for each active subscription of `to`.

    Raises `TemplateNotFound`, `TemplateRenderError`, `PayloadTooLarge`, `InvalidRecipient`, and TypeError for a context
    value that is not plain. What goes wrong for some recipients only is counted in `SendResult.failed`. Explicit
    options win over the template's.
    """
    parsed = SendOptions.parse(options)
    return write_batch(to, lambda: TemplateDraft(type, context, parsed), parsed)


def broadcast(
    type: str,  # noqa: A002  # the public name
    audience: str = "all",
    context: Mapping[str, Any] | None = None,
    *,
    scheduled_for: datetime | None = None,
    idempotency_key: str | None = None,
    rate: str | None = None,
    created_by: AbstractBaseUser | None = None,
    **options: Unpack[BroadcastOptionsDict],
) -> PushBroadcast:
    """Send a template's message to a stored audience, fanned out by the workers; returns at once.

    `audience` is "all", "opted-in" (those who chose the type) or a name from the setting `AUDIENCES`. `rate`, such as
    "5000/m", spreads the messages over time. The texts are frozen when the fan-out starts. Pause, resume and cancel
    with the functions of these names; counters are on the returned row. Raises as `send_templated` does, and
    `InvalidOption` for context values that cannot be stored.
    """
    given = {"scheduled_for": scheduled_for, "idempotency_key": idempotency_key, **options}
    return broadcasts.start(type, audience, context, given, rate=rate, created_by=created_by)


def pause_broadcast(broadcast: PushBroadcast) -> bool:
    """Stop a fan-out until it is resumed; rows that are already queued are still sent. False when it had ended."""
    return broadcasts.pause(broadcast)


def resume_broadcast(broadcast: PushBroadcast) -> bool:
    """Continue a paused or failed fan-out where it stopped. False when it was neither.

    A broadcast that failed before it wrote a row starts over, with the templates as they stand then.
    """
    return broadcasts.resume(broadcast)


def subscribe(
    *,
    endpoint: str,
    p256dh: str,
    auth: str,
    user: AbstractBaseUser | AnonymousUser | None = None,
    preferences: Mapping[str, Any] | None = None,
    user_agent: str | None = "",
    language: str | None = "",
    timezone: str | None = "",
    expiration_time: datetime | float | None = None,
    ip_address: str | None = None,
) -> AbstractPushSubscription:
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
    subscription: AbstractPushSubscription = register(browser, ByUser(owner)).subscription
    return subscription


def unsubscribe(subscription: AbstractPushSubscription, *, reason: str = "") -> None:
    """End a subscription: it is kept, inactive, with the reason.

    Its pending notifications are suppressed when they are due, unless the browser has subscribed again by then. A
    subscription that was deleted, or belongs to somebody else by now, is left alone.
    """
    rows = rows_of(type(subscription))
    deactivate_subscriptions(rows.filter(pk=subscription.pk, user=subscription.user_id), reason or "unsubscribed")
    with suppress(ObjectDoesNotExist):
        subscription.refresh_from_db(using=outbox_database())


def update_preferences(
    subscription: AbstractPushSubscription, preferences: Mapping[str, Any]
) -> AbstractPushSubscription:
    """Replace a subscription's preferences; raises `InvalidSubscription` naming the field that is wrong."""
    if not store_preferences(subscription, preferences):
        raise InvalidSubscription("The subscription was deleted, or belongs to somebody else by now.")
    return subscription


def cancel(target: Cancellable | None = None, *, idempotency_key: str | None = None) -> int:
    """Cancel pending notifications; returns how many there were.

    `target` is a batch UUID, a `SendResult`, a broadcast, a notification, or a queryset of notifications. With
    `idempotency_key` it is the batch written under that key, and the key may be used again.
    """
    if (target is None) == (idempotency_key is None):
        raise TypeError("cancel() takes exactly one of target and idempotency_key")
    with transaction.atomic(using=outbox_database()):
        if idempotency_key is None:
            return _cancel(target)
        batch = idempotency.release(idempotency_key)
        return 0 if batch is None else _cancel(batch)


async def asend(
    to: To,
    title: str | Promise,
    body: str | Promise = "",
    *,
    type: str | None = None,  # noqa: A002  # the public name
    **options: Unpack[SendOptionsDict],
) -> SendResult:
    """Run `send` for async callers."""
    return await sync_to_async(send)(to, title, body, type=type, **options)


async def asend_templated(
    type: str,  # noqa: A002  # the public name
    to: To,
    context: Mapping[str, Any] | None = None,
    **options: Unpack[SendOptionsDict],
) -> SendResult:
    """Run `send_templated` for async callers."""
    return await sync_to_async(send_templated)(type, to, context, **options)


async def abroadcast(
    type: str,  # noqa: A002  # the public name
    audience: str = "all",
    context: Mapping[str, Any] | None = None,
    *,
    scheduled_for: datetime | None = None,
    idempotency_key: str | None = None,
    rate: str | None = None,
    created_by: AbstractBaseUser | None = None,
    **options: Unpack[BroadcastOptionsDict],
) -> PushBroadcast:
    """Run `broadcast` for async callers."""
    return await sync_to_async(broadcast)(
        type,
        audience,
        context,
        scheduled_for=scheduled_for,
        idempotency_key=idempotency_key,
        rate=rate,
        created_by=created_by,
        **options,
    )


def _checked_owner(user: Any) -> Any:
    """The user a subscription shall belong to; None for nobody, and for `request.user` of who is not signed in."""
    if user is None or getattr(user, "is_anonymous", False) is True:
        return None
    if not isinstance(user, get_user_model()):
        raise InvalidSubscription(f"user must be a user or None, not {type(user).__name__}.", field="user")
    if user.pk is None or user._state.adding:  # noqa: SLF001  # Django documents `_state.adding`
        raise InvalidSubscription("The user must be saved before a subscription can belong to them.", field="user")
    return user


def _cancel(target: Any) -> int:
    model = get_notification_model()
    if not (isinstance(target, QuerySet) and issubclass(target.model, model)):
        return int(_cancellable(target).cancel(CANCELLED))
    # by key, in groups: a queryset may be sliced, combined or joined, and no database takes any number of parameters
    keys = list(on_primary(target).values_list("pk", flat=True))
    groups = (keys[start : start + CANCEL_SIZE] for start in range(0, len(keys), CANCEL_SIZE))
    rows = model.objects.using(outbox_database())
    return sum(rows.filter(pk__in=group).cancel(CANCELLED) for group in groups)


def _cancellable(target: Any) -> PushNotificationQuerySet:
    model = get_notification_model()
    rows = model.objects.using(outbox_database())
    if isinstance(target, model):
        return rows.filter(pk=target.pk)
    if isinstance(target, PushBroadcast | SendResult):
        target = target.batch
    if isinstance(target, str):
        try:
            target = UUID(target)
        except ValueError:
            raise InvalidOption(f"cancel(): {target!r} is not a batch UUID") from None
    if isinstance(target, UUID):
        broadcasts.stop(target)
        return rows.filter(batch=target)
    found = type(target).__name__ if not isinstance(target, Model) else f"a {type(target).__name__} object"
    raise TypeError(
        "cancel() takes a batch UUID, a SendResult, a broadcast, a notification or a queryset of notifications, "
        f"not {found}"
    )

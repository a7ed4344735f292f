"""The public API: functions to send notifications and to manage subscriptions.

    send_templated("order_shipped", to=user, context={"number": order.number}, url=order.get_absolute_url())

Every call writes its rows in the caller's transaction and wakes the workers once after commit. Nothing is sent if the
transaction rolls back. Delivery results are recorded in the row, never raised. Mistakes of the caller raise a
`WebPushKitError`; unknown options raise TypeError and invalid values `InvalidOption`.
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
from django.db.models import Model, QuerySet

from django_webpush_kit.database import atomic_with_retry, outbox_database, rows_of
from django_webpush_kit.exceptions import InvalidOption, InvalidSubscription
from django_webpush_kit.legacy_service import PushNotificationService as PushNotificationService
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model
from django_webpush_kit.options import SendOptions
from django_webpush_kit.outbox import broadcasts, idempotency
from django_webpush_kit.outbox.batches import SendResult as SendResult
from django_webpush_kit.outbox.batches import write_batch
from django_webpush_kit.outbox.drafts import PlainDraft, TemplateDraft
from django_webpush_kit.outbox.recipients import on_primary
from django_webpush_kit.privacy import erase_user as erase_user
from django_webpush_kit.privacy import export_user as export_user
from django_webpush_kit.querysets import PushNotificationQuerySet
from django_webpush_kit.states import UNSUBSCRIBED
from django_webpush_kit.subscriptions.browsers import BrowserSubscription, checked_text
from django_webpush_kit.subscriptions.deactivation import deactivate_subscriptions
from django_webpush_kit.subscriptions.preferences import store_preferences
from django_webpush_kit.subscriptions.registrants import ByUser
from django_webpush_kit.subscriptions.registration import register

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
    `options.SendOptions`; an unknown option raises TypeError. `SendResult.failed` counts recipients whose row could
    not be written. A mistake that affects all recipients is raised.
    """
    parsed = SendOptions.parse(options)
    return write_batch(to, lambda: PlainDraft(title, body, "" if type is None else type, parsed), parsed)


def send_templated(
    type: str,  # noqa: A002  # the public name
    to: To,
    context: Mapping[str, Any] | None = None,
    **options: Unpack[SendOptionsDict],
) -> SendResult:
    """Queue a template's message for every active subscription of `to`, in the language of each recipient.

    Raises `TemplateNotFound`, `TemplateRenderError`, `PayloadTooLarge`, `InvalidRecipient`, and TypeError for a context
    value that is not plain. Errors that affect only some recipients are counted in `SendResult.failed`. Options of the
    call override the template's options.
    """
    parsed = SendOptions.parse(options)
    return write_batch(to, lambda: TemplateDraft(type, context, parsed), parsed)


def broadcast(
    type: str,  # noqa: A002  # the public name
    audience: str = "all",
    context: Mapping[str, Any] | None = None,
    **options: Unpack[BroadcastOptionsDict],
) -> PushBroadcast:
    """Start a broadcast of a template's message and return it at once. Workers write the rows in the background.

    `audience` is "all", "opted-in" (subscribers who opted in to the type) or a name from the setting `AUDIENCES`. The
    options are those of `send_templated`, `rate` and `created_by`: `rate`, such as "5000/m", spreads the messages over
    time, and `created_by` is the user shown in the admin. Later edits of the template do not change a running
    broadcast. The returned row holds the counters; see also `pause_broadcast`, `resume_broadcast` and `cancel`. Raises
    the exceptions of `send_templated`, and `InvalidOption` for context values that cannot be stored.
    """
    rate, created_by = options.pop("rate", None), options.pop("created_by", None)
    return broadcasts.start(type, audience, context, options, rate=rate, created_by=created_by)


def pause_broadcast(broadcast: PushBroadcast) -> bool:
    """Pause a broadcast. Rows that are already queued are still sent. Returns False if it had ended."""
    _check_class("pause_broadcast()", broadcast, PushBroadcast)
    return broadcasts.pause(broadcast)


def resume_broadcast(broadcast: PushBroadcast) -> bool:
    """Resume a paused or failed broadcast where it stopped. Returns False if it was neither, or was deleted.

    A broadcast that failed before it wrote a row starts again with the current templates.
    """
    _check_class("resume_broadcast()", broadcast, PushBroadcast)
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

    A known endpoint with the same keys is the same browser. It moves to `user`, and notifications pending for the
    previous owner are cancelled. A known endpoint with other keys raises `KeyMismatch`. Raises `InvalidSubscription`
    that names the field for other invalid values.
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
    """Deactivate a subscription. The row is kept with the reason.

    Its pending notifications are suppressed when they are due, unless the browser subscribes again before then. Does
    nothing if the subscription was deleted or has moved to another user.
    """
    _check_class("unsubscribe()", subscription, get_subscription_model())
    text = checked_text("reason", reason) or UNSUBSCRIBED
    same = rows_of(type(subscription)).filter(pk=subscription.pk, user=subscription.user_id)
    deactivate_subscriptions(same, text)
    with suppress(ObjectDoesNotExist):
        subscription.refresh_from_db(using=outbox_database())


def update_preferences(
    subscription: AbstractPushSubscription, preferences: Mapping[str, Any]
) -> AbstractPushSubscription:
    """Replace a subscription's preferences. Raises `InvalidSubscription` that names the invalid field."""
    _check_class("update_preferences()", subscription, get_subscription_model())
    if not store_preferences(subscription, preferences):
        raise InvalidSubscription("The subscription was deleted or has moved to another user.")
    return subscription


def cancel(target: Cancellable | None = None, *, idempotency_key: str | None = None) -> int:
    """Cancel pending notifications and return their number.

    `target` is a batch UUID, a `SendResult`, a broadcast, a notification, or a queryset of notifications.
    `idempotency_key` cancels the batch written under that key, and the key can be used again.
    """
    if (target is None) == (idempotency_key is None):
        raise TypeError("cancel() takes exactly one of target and idempotency_key")
    return _cancel(target) if idempotency_key is None else _cancel_key(idempotency_key)


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
    **options: Unpack[BroadcastOptionsDict],
) -> PushBroadcast:
    """Run `broadcast` for async callers."""
    return await sync_to_async(broadcast)(type, audience, context, **options)


def _checked_owner(user: Any) -> Any:
    """Return the owner of a new subscription: a saved user, or None for None and for an anonymous `request.user`."""
    if user is None or getattr(user, "is_anonymous", False) is True:
        return None
    if not isinstance(user, get_user_model()):
        raise InvalidSubscription(f"user must be a user or None, not {type(user).__name__}.", field="user")
    if user.pk is None or user._state.adding:  # noqa: SLF001  # Django documents `_state.adding`
        raise InvalidSubscription("The user must be saved before a subscription can belong to them.", field="user")
    return user


@atomic_with_retry
def _cancel_key(idempotency_key: str) -> int:
    batch = idempotency.release(idempotency_key)
    return 0 if batch is None else _cancel(batch)


@atomic_with_retry
def _cancel(target: Any) -> int:
    model = get_notification_model()
    if not (isinstance(target, QuerySet) and issubclass(target.model, model)):
        return int(_cancellable(target).cancel(CANCELLED))
    # by primary key: a queryset may be sliced, combined or joined; in chunks: databases limit the parameters
    keys = list(on_primary(target).values_list("pk", flat=True))
    groups = (keys[start : start + CANCEL_SIZE] for start in range(0, len(keys), CANCEL_SIZE))
    rows = model.objects.using(outbox_database())
    return sum(rows.filter(pk__in=group).cancel(CANCELLED) for group in groups)


def _cancellable(target: Any) -> PushNotificationQuerySet[AbstractPushNotification]:
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
    raise TypeError(
        "cancel() takes a batch UUID, a SendResult, a broadcast, a notification or a queryset of notifications, "
        f"not {_name_of(target)}"
    )


def _check_class(call: str, value: Any, model: type[Model]) -> None:
    if not isinstance(value, model):
        raise TypeError(f"{call} takes a {model.__name__}, not {_name_of(value)}")


def _name_of(value: Any) -> str:
    name = type(value).__name__
    return f"a {name} object" if isinstance(value, Model) else name

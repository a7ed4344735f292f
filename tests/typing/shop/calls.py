"""Every service, called as a project may call it; nothing here is an error."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_webpush_kit import services
from django_webpush_kit.base_models import AbstractPushNotification, AbstractPushSubscription
from django_webpush_kit.delivery.engine import DeliveryReport, deliver_due
from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.models import (
    PushBroadcast,
    PushSubscription,
    get_analytics_model,
    get_notification_model,
    get_subscription_model,
    get_template_model,
)
from django_webpush_kit.querysets import PushNotificationQuerySet
from django_webpush_kit.services import SendResult
from tests.typing.shop.models import Browser, Letter


def send(user: User, browser: Browser) -> SendResult:
    services.send(user, "Hello")
    services.send(browser, _("Hello"), _("World"), type="news")
    services.send([user, user], "Hello")
    services.send(User.objects.filter(is_staff=True), "Hello")
    services.send(Browser.objects.all(), "Hello")
    return services.send(
        user,
        "Hello",
        data={"order": 7},
        url="/orders/7",
        icon="/icon.png",
        badge="/badge.png",
        image="/image.png",
        tag="order-7",
        actions=[{"action": "track", "title": "Track", "url": "/orders/7/track"}, {"action": "no", "title": "No"}],
        silent=False,
        require_interaction=True,
        renotify=True,
        vibrate=[100, 50],
        app_badge=1,
        dir="rtl",
        timestamp=timezone.now(),
        language="de",
        ttl=timedelta(hours=1),
        urgency="high",
        topic="order-7",
        scheduled_for=timezone.now(),
        scheduled_local=datetime(2030, 1, 1, 9),  # noqa: DTZ001  # each recipient's own clock
        expires_at=timezone.now(),
        critical=True,
        idempotency_key="order-7",
        max_retries=5,
        retry_base=1.5,
        retry_cap=timedelta(minutes=5),
    )


def send_templated(user: User) -> tuple[UUID, int, bool]:
    result = services.send_templated("order_shipped", user, {"number": 7}, ttl=60)
    return result.batch, result.queued + result.deferred + result.suppressed, result.reused


def broadcast(user: User) -> PushBroadcast:
    row = services.broadcast("news", "all", {"x": 1}, scheduled_for=timezone.now(), created_by=user, urgency="low")
    if services.pause_broadcast(row):
        services.resume_broadcast(row)
    return row


def cancel(letter: Letter, row: PushBroadcast) -> int:
    return (
        services.cancel(letter)
        + services.cancel(row)
        + services.cancel(UUID(int=1))
        + services.cancel(Letter.objects.all())
        + services.cancel(idempotency_key="order-7")
    )


def subscribe(user: User | AnonymousUser) -> AbstractPushSubscription:
    try:
        row = services.subscribe(endpoint="https://example.com", p256dh="x", auth="x", user=user)
    except InvalidSubscription as error:
        raise ValueError(error.field) from error
    services.update_preferences(row, {"categories": {"news": False}})
    services.unsubscribe(row, reason="moved")
    return row


async def from_async_code(user: User) -> list[UUID]:
    first = await services.asend(user, "Hello", urgency="very-low")
    second = await services.asend_templated("order_shipped", user, {"number": 7}, dir="auto")
    third = await services.abroadcast("news", idempotency_key="news-1")
    return [first.batch, second.batch, third.batch]


def models() -> tuple[type[AbstractPushSubscription], type[AbstractPushNotification]]:
    get_template_model().objects.all()
    get_analytics_model().objects.all()
    get_subscription_model().objects.filter(language="de").active().for_user(1).count()
    get_notification_model().objects.due().exclude(type="news").cancel("no longer needed")
    return get_subscription_model(), get_notification_model()


def querysets(user: User) -> tuple[str, str]:
    browser = Browser.objects.active().for_user(user).filter(language="de").get()
    letter = Letter.objects.pending().order_by("pk").due().earliest()
    default = PushSubscription.objects.active().get()
    every: PushNotificationQuerySet[Letter] = Letter.objects.filter(type="news")
    return browser.nickname + default.endpoint, letter.campaign + every.get().campaign


def deliver() -> DeliveryReport:
    return deliver_due(100, seconds=30)

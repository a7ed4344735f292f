"""The other libraries, each as its documentation says: `python -m benchmarks.speed.peers NAME PORT MESSAGES`."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command

from benchmarks.speed.browsers import endpoint, keys, payload, subscription
from benchmarks.speed.measure import measure, report

IN_FLIGHT = 100
WARM_UP = 5


def webpush_loop(port: int, messages: int, session: Any = None) -> Callable[[], int]:
    """`pywebpush.webpush()` for one subscription after the other."""
    from pywebpush import webpush

    def send(number: int) -> bool:
        options = {} if session is None else {"requests_session": session}
        answer = webpush(
            subscription(port, number),
            payload(),
            vapid_private_key=settings.VAPID_PRIVATE_KEY,
            vapid_claims={"sub": f"mailto:{settings.CONTACT}"},
            ttl=2419200,
            **options,
        )
        return bool(answer.status_code == 201)

    return _each(send, messages)


def webpush_session(port: int, messages: int) -> Callable[[], int]:
    """The same with one requests Session."""
    import requests

    return webpush_loop(port, messages, requests.Session())


def django_webpush(port: int, messages: int) -> Callable[[], int]:
    """django-webpush: `send_user_notification` to a user with so many browsers."""
    from django.contrib.auth import get_user_model
    from webpush import send_user_notification
    from webpush.models import PushInformation, SubscriptionInfo

    user = get_user_model().objects.create(username="ada")

    def subscribe(numbers: Iterable[int]) -> None:
        PushInformation.objects.all().delete()
        browsers = SubscriptionInfo.objects.bulk_create(
            SubscriptionInfo(browser="chrome", endpoint=endpoint(port, number), **keys(number)) for number in numbers
        )
        PushInformation.objects.bulk_create(PushInformation(user=user, subscription=browser) for browser in browsers)

    def send() -> int:
        send_user_notification(user, {"message": payload()}, ttl=2419200)
        return messages

    subscribe(range(WARM_UP))
    send()
    subscribe(range(messages))
    return send


def django_push_notifications(port: int, messages: int) -> Callable[[], int]:
    """django-push-notifications: `send_message` of a queryset of devices."""
    from push_notifications.models import WebPushDevice

    devices = WebPushDevice.objects.bulk_create(
        WebPushDevice(browser="CHROME", registration_id=endpoint(port, number), **keys(number))
        for number in range(messages)
    )
    for device in devices[:WARM_UP]:
        device.send_message(payload())

    def send() -> int:
        answers = WebPushDevice.objects.get_queryset().send_message(payload())
        return sum(answer.get("success", 0) for answer in answers)

    return send


def webpush_async(port: int, messages: int) -> Callable[[], int]:
    """`pywebpush.webpush_async` with one aiohttp session, 100 in flight."""
    import aiohttp
    from pywebpush import webpush_async

    async def work(session: aiohttp.ClientSession, numbers: Iterable[int]) -> int:
        accepted = 0
        for number in numbers:
            answer = await webpush_async(
                subscription(port, number),
                payload(),
                vapid_private_key=settings.VAPID_PRIVATE_KEY,
                vapid_claims={"sub": f"mailto:{settings.CONTACT}"},
                ttl=2419200,
                aiohttp_session=session,
            )
            accepted += answer.status == 201
        return accepted

    async def send() -> int:
        context = ssl.create_default_context(cafile=settings.CA_BUNDLE)
        connector = aiohttp.TCPConnector(limit=IN_FLIGHT, ssl=context)
        async with aiohttp.ClientSession(connector=connector) as session:
            numbers = iter(range(messages))
            return sum(await asyncio.gather(*(work(session, numbers) for _ in range(IN_FLIGHT))))

    return lambda: asyncio.run(send())


def webpush_rs(port: int, messages: int) -> Callable[[], int]:
    """webpush-rs (Rust): `send_one` in a pool of threads, 100 in flight."""
    import webpush_rs

    os.environ["SSL_CERT_FILE"] = settings.CA_BUNDLE  # its OpenSSL is linked in, and reads this
    pool = ThreadPoolExecutor(IN_FLIGHT)
    body = payload().encode()

    def send(number: int) -> bool:
        status = webpush_rs.send_one(
            endpoint(port, number),
            *(keys(number)[name] for name in ("p256dh", "auth")),
            settings.VAPID_PRIVATE_KEY,
            f"mailto:{settings.CONTACT}",
            body,
        )
        return bool(status == 201)

    list(pool.map(send, range(WARM_UP)))
    return lambda: sum(pool.map(send, range(messages)))


PEERS: dict[str, Callable[[int, int], Callable[[], int]]] = {
    "webpush": webpush_loop,
    "webpush-session": webpush_session,
    "django-webpush": django_webpush,
    "django-push-notifications": django_push_notifications,
    "webpush-async": webpush_async,
    "webpush-rs": webpush_rs,
}


def _each(send: Callable[[int], bool], messages: int) -> Callable[[], int]:
    for number in range(WARM_UP):
        send(number)
    return lambda: sum(map(send, range(messages)))


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.speed.settings"
    django.setup()
    call_command("migrate", verbosity=0)
    name, port, messages = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    report(measure(PEERS[name](port, messages)))

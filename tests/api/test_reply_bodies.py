"""What a push service writes into its replies is a stranger's text: it reaches no user, log, admin page or table."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin import site
from django.core.management import CommandError, call_command
from django.core.serializers import serialize
from django.urls import reverse

from django_webpush_kit import services
from django_webpush_kit.analytics import NotificationAnalyticsService
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.health import get_health
from django_webpush_kit.models import (
    PushServiceState,
    get_analytics_model,
    get_notification_model,
    get_subscription_model,
    get_template_model,
)
from django_webpush_kit.signals import post_send
from django_webpush_kit.testing import Fault
from tests.api.conftest import ApiClient
from tests.transports.conftest import needs_pycurl
from tests.transports.fault_server import FaultServer

MARK = "stranger-9f3a"
TEXT = f"<script>{MARK}</script>"

HEADERS = {
    "Content-Type": f"text/{MARK}; charset={MARK}",
    "Location": f"https://evil.example/{TEXT}",
    "Retry-After": TEXT,
    "Server": TEXT,
    "Set-Cookie": f"{MARK}={MARK}",
    "WWW-Authenticate": TEXT,
    "X-Reason": TEXT,
    "X-WNS-Continue-After": TEXT,
    "X-WNS-Error-Description": TEXT,
    "X-WNS-NotificationStatus": TEXT,
    "X-WNS-Status": TEXT,
}

REPLIES = [
    (201, ""),
    (403, "VAPID BadJwtToken"),
    (503, ""),
    *(pytest.param(status, "", marks=pytest.mark.slow) for status in (301, 308, 400, 401, 403, 404, 406, 410, 413)),
    *(pytest.param(status, "", marks=pytest.mark.slow) for status in (418, 429, 500)),
    *(pytest.param(status, "too large", marks=pytest.mark.slow) for status in (400, 401, 403)),
    *(pytest.param(status, "VAPID BadJwtToken", marks=pytest.mark.slow) for status in (400, 401)),
]
"""A status, and words in the body that say what it means."""

MALFORMED = {
    "no HTTP": f"{TEXT}\r\n\r\n",
    "version": f"HTTP/{MARK} 201 Created\r\n\r\n",
    "status": f"HTTP/1.1 {MARK} {TEXT}\r\n\r\n",
    "reason phrase": f"HTTP/1.1 503 {TEXT}\r\nContent-Length: 0\r\n\r\n",
    "header": f"HTTP/1.1 503 X\r\n{TEXT}\r\n\r\n",
    "header name": f"HTTP/1.1 503 X\r\n{TEXT}: x\r\nContent-Length: 0\r\n\r\n",
    "length": f"HTTP/1.1 503 X\r\nContent-Length: {MARK}\r\n\r\n",
    "encoding": f"HTTP/1.1 503 X\r\nContent-Encoding: gzip\r\nContent-Length: {len(TEXT)}\r\n\r\n{TEXT}",
    "transfer encoding": f"HTTP/1.1 503 X\r\nTransfer-Encoding: {MARK}\r\n\r\n{TEXT}",
    "chunk": f"HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n{TEXT}\r\n",
    "charset": "HTTP/1.1 503 \udcff\udcfe " + f"{TEXT}\r\nX-\udcff: {TEXT}\r\n\r\n",
}
"""Replies that libraries like to quote in their errors."""

pytestmark = pytest.mark.django_db(transaction=True)


class Listener(logging.Handler):
    """Everything that is logged: the text with its traceback, and all that the record carries."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {vars(record)!r}")


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What any logger says at any level, also one that keeps its records to itself."""
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    before = [(logger, logger.level, logger.disabled) for logger in loggers]
    listener = Listener()
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.disabled = False
        logger.addHandler(listener)
    yield listener.lines
    for logger, level, disabled in before:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.disabled = disabled


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What receivers of `post_send` are given."""
    answers: list[str] = []

    def receive(answer: Any, outcome: str, **_: Any) -> None:
        answers.append(f"{outcome} {answer!r}")

    post_send.connect(receive)
    yield answers
    post_send.disconnect(receive)


@pytest.fixture(params=[pytest.param("CurlTransport", marks=needs_pycurl), "PyWebPushTransport"])
def transport(request: Any, push_settings: Callable[..., None]) -> str:
    """A transport that sends over the network, to loopback too."""
    path = f"django_webpush_kit.transports.{request.param}"
    push_settings(
        TRANSPORT={"BACKEND": path, "OPTIONS": {"timeout": 5}},
        TASK_BACKEND="django_webpush_kit.task_backends.NullBackend",
        ALLOW_PRIVATE_ENDPOINTS=True,
        MAX_RETRIES=1,
        STATISTICS_CACHE_SECONDS=0,
    )
    return path


def everything_shown(staff: ApiClient, owner: ApiClient, subscription: Any) -> Iterator[tuple[str, str]]:
    """Every page, answer, output and row that there is, by name."""
    for model in {*apps.get_app_config("webpush_kit").get_models(), *swappable_models()}:
        yield f"{model.__name__} rows", serialize("json", model.objects.all())
        yield from admin_pages(staff, model)
    for name, client in (("staff", staff), ("owner", owner), ("stranger", ApiClient())):
        yield f"health for {name}", client.call("GET", "health").content.decode()
        yield f"config for {name}", client.call("GET", "config").content.decode()
    yield "test", owner.on("POST test", subscription.endpoint).content.decode()
    yield "preferences", owner.on("GET preferences", subscription.endpoint).content.decode()
    yield "subscriptions", owner.call("GET", "subscriptions").content.decode()
    yield "subscribe", owner.subscribe({"subscription": subscription.subscription_info}).content.decode()
    yield "health", repr(get_health(details=True))
    service = NotificationAnalyticsService()
    for statistics in ("notification", "engagement", "type", "daily"):
        yield statistics, repr(getattr(service, f"get_{statistics}_stats")())
    yield "export", repr(services.export_user(subscription.user))
    for command in (["push_stats", "--json"], ["push_doctor", "--json"], ["push_export", subscription.user.username]):
        out = StringIO()
        try:
            call_command(*command, stdout=out, stderr=out)
        except CommandError as error:
            out.write(str(error))
        yield command[0], out.getvalue()


def swappable_models() -> set[Any]:
    return {get_subscription_model(), get_template_model(), get_notification_model(), get_analytics_model()}


def admin_pages(staff: ApiClient, model: Any) -> Iterator[tuple[str, str]]:
    if not site.is_registered(model):
        return
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    paths = [reverse(f"{name}_changelist")]
    if model is get_notification_model():
        paths.append(reverse(f"{name}_statistics"))
    for key in model.objects.values_list("pk", flat=True):
        paths += [reverse(f"{name}_{page}", args=[key]) for page in ("change", "history", "delete")]
    for path in paths:
        answer = staff.get(path)
        assert answer.status_code in (200, 403), path  # some may not be deleted
        yield path, answer.content.decode()


def assert_nowhere(seen: dict[str, str]) -> None:
    assert [name for name, text in seen.items() if MARK in text] == []


def deliver(subscription: Any) -> Any:
    """Send a message, and once more what is to be retried; returns its row."""
    result = services.send(subscription, "Hello", tag="hello")
    deliver_due(seconds=20)
    PushServiceState.objects.update(paused_until=None)
    result.notifications.filter(status="pending").update(next_attempt_at="2020-01-01T00:00:00Z")
    deliver_due(seconds=20)
    return result.notifications.get()


@pytest.mark.thorough
@pytest.mark.parametrize(("status", "words"), REPLIES)
def test_response_bodies_and_headers_are_not_stored_or_logged(
    transport: str,
    fake_push_service: Any,
    fake_browser: Callable[..., Any],
    user: Any,
    make_user: Any,
    login: Any,
    logged: list[str],
    told: list[str],
    status: int,
    words: str,
) -> None:
    browser = fake_browser()
    browser.subscribe()
    subscription = services.subscribe(user=user, **browser.subscription_fields)
    body = json.dumps({"reason": TEXT, "message": words or TEXT}).encode() + TEXT.encode()
    fault = Fault(status=status, headers=HEADERS, body=body, times=None)
    fake_push_service.script(subscription.endpoint, fault)
    row = deliver(subscription)
    assert {request.status for request in fake_push_service.requests} == {status}
    assert row.response_status == status
    staff = login(make_user(is_staff=True, is_superuser=True))
    seen = dict(everything_shown(staff, login(user), subscription))
    if row.failure_reason:
        assert row.failure_reason in seen[f"/admin/{row._meta.app_label}/{row._meta.model_name}/{row.pk}/change/"]
    assert_nowhere({**seen, "signals": repr(told), "logs": "\n".join(logged)})
    assert told


@pytest.mark.slow
@pytest.mark.parametrize("reply", MALFORMED)
def test_malformed_responses_are_not_stored_or_logged(
    transport: str, make_subscription: Any, user: Any, make_user: Any, login: Any, logged: list[str], reply: str
) -> None:
    raw = MALFORMED[reply].encode("utf-8", "surrogateescape")
    with FaultServer() as server:
        subscription = make_subscription(user, endpoint=server.url(f"/raw/{raw.hex()}"))
        row = deliver(subscription)
        assert server.received
    assert row.status != "sent" or row.response_status
    staff = login(make_user(is_staff=True, is_superuser=True))
    assert_nowhere({**dict(everything_shown(staff, login(user), subscription)), "logs": "\n".join(logged)})

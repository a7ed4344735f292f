"""What a push service writes into its replies is a stranger's text: it reaches no user, log, admin page or table."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core.serializers import serialize

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import PushServiceState, get_notification_model, get_subscription_model
from django_webpush_kit.signals import post_send
from django_webpush_kit.testing import Fault

TEXT = "<script>stranger-9f3a</script>"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("transport", ["CurlTransport", "PyWebPushTransport"])
@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 406, 410, 413, 429, 500, 503, 201])
def test_reply_bodies_and_headers_go_nowhere(
    fake_push_service: Any,
    fake_browser: Callable[..., Any],
    kit: Callable[..., None],
    user: Any,
    login: Any,
    make_user: Any,
    caplog: Any,
    transport: str,
    status: int,
) -> None:
    if transport == "CurlTransport":
        pytest.importorskip("pycurl")
    backend = {"BACKEND": f"django_webpush_kit.transports.{transport}", "OPTIONS": {}}
    if fake_push_service.tls:
        backend["OPTIONS"] = {"ca_bundle": fake_push_service.ca_bundle}
    kit(TRANSPORT=backend, TASK_BACKEND="django_webpush_kit.task_backends.NullBackend")
    caplog.set_level(logging.DEBUG)
    browser = fake_browser()
    browser.subscribe()
    subscription = services.subscribe(user=user, **browser.subscription_fields)
    headers = {"X-Reason": TEXT, "Location": f"https://evil.example/{TEXT}", "X-WNS-Status": TEXT, "Retry-After": TEXT}
    fault = Fault(status=status, headers=headers, body=TEXT.encode(), times=None)
    fake_push_service.script(subscription.endpoint, fault)
    answers: list[Any] = []

    def receive(answer: Any, **_: Any) -> None:
        answers.append(answer)

    post_send.connect(receive)
    try:
        services.send(subscription, "Hello", max_retries=0)
        deliver_due(seconds=20)
    finally:
        post_send.disconnect(receive)
    staff = login(make_user(is_staff=True, is_superuser=True))
    client = login(user)
    seen = [
        *(serialize("json", model.objects.all()) for model in (get_notification_model(), get_subscription_model())),
        serialize("json", PushServiceState.objects.all()),
        staff.call("GET", "health").content.decode(),
        client.on("POST test", subscription.endpoint).content.decode(),
        caplog.text,
        repr(answers),
    ]
    assert [request.status for request in fake_push_service.requests] == [status]
    assert get_notification_model().objects.exclude(response_status=None).exists()
    assert not [text for text in seen if "stranger-9f3a" in text]

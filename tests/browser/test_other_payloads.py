"""What other servers send, shown by the shipped worker in real browsers: nothing that can be shown is lost."""

from __future__ import annotations

import json
import shutil

import pytest

from django_webpush_kit.protocol.encryption import encrypt
from tests.browser.lab import forget_origin, open_lab, visit_lab
from tests.browser.waiting import wait_until
from tests.testing.application_server import ApplicationServer

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

LINK = "/pages/other/"

PAYLOADS = {
    "a number as text": ("12345", {"title": "localhost", "body": "12345"}),
    "quoted text": ('"quoted"', {"title": "localhost", "body": "quoted"}),
    "a list": ("[1,2]", {"title": "localhost", "body": "[1,2]"}),
    "plain text": ("Just text ✓", {"title": "localhost", "body": "Just text ✓"}),
    "JSON without a title": ('{"body": "No title"}', {"title": "localhost", "body": "No title"}),
    "FCM with data only": (
        json.dumps({"data": {"title": "FCM data", "body": "of an app", "link": LINK}, "from": "1", "priority": "high"}),
        {"title": "FCM data", "body": "of an app"},
    ),
    "FCM with a notification": (
        json.dumps({"notification": {"title": "FCM", "body": "full"}, "fcmOptions": {"link": LINK}}),
        {"title": "FCM", "body": "full"},
    ),
    "django-webpush": (
        json.dumps({"head": "Head", "body": "of django-webpush", "url": LINK}),
        {"title": "Head", "body": "of django-webpush"},
    ),
    "Angular": (
        json.dumps(
            {"notification": {"title": "Angular", "data": {"onActionClick": {"default": {"url": LINK}}}, "body": ""}}
        ),
        {"title": "Angular", "body": ""},
    ),
}


@pytest.fixture(scope="module", params=["firefox", "chromium"])
def sender(request, new_studio, tmp_path_factory):
    """A browser, and a function that sends it text as another server would, to a subscription of our worker."""
    browser = request.getfixturevalue(request.param)
    folder = shutil.copytree(new_studio, tmp_path_factory.mktemp("payloads") / "studio")
    server = ApplicationServer()
    with open_lab(browser, folder) as studio:
        visit_lab(browser, studio)
        subscription = browser.run(
            """
            await navigator.serviceWorker.register("/api/v1/push/service-worker.js", { scope: "/" });
            const registration = await navigator.serviceWorker.ready;
            const options = { userVisibleOnly: true, applicationServerKey: arguments[0] };
            return (await registration.pushManager.subscribe(options)).toJSON();
            """,
            server.public_key,
        )
        endpoint = subscription["endpoint"]
        address = browser.push_service.local_address(endpoint) if browser.name == "chromium" else ""

        def send(text: str) -> int:
            return server.post(endpoint, encrypt(text.encode(), **subscription["keys"]), address=address)

        yield browser, send
        forget_origin(browser, studio)


@pytest.mark.parametrize("kind", PAYLOADS)
def test_a_payload_of_another_sender_is_shown(sender, kind):
    browser, send = sender
    text, expected = PAYLOADS[kind]
    assert send(text) == 201
    shown = browser.wait_for_notification(expected["title"])
    assert shown["body"] == expected["body"]
    if LINK in text and "data" in shown:  # Chromium's is read from the desktop
        assert shown["data"]["webpush_kit"]["navigate"].endswith(LINK)
    browser.dismiss_notification(expected["title"])
    wait_until(lambda: expected["title"] not in browser.on_screen(), "its end: the next one may have the same title")

"""A real Chromium uses its own PushManager against a fake of Google's side: subscribe, receive, show, click."""

from __future__ import annotations

import pytest

from django_webpush_kit.protocol.endpoints import EndpointPolicy
from django_webpush_kit.transports import PushRequest
from tests.browser.chromium import Chromium
from tests.browser.gcm_transport import GCMTransport
from tests.browser.site import Site
from tests.browser.waiting import wait_until
from tests.testing.application_server import ApplicationServer

pytestmark = pytest.mark.browser


def subscribe(chromium: Chromium, site: Site, server: ApplicationServer):
    chromium.allow_notifications(site.origin)
    chromium.open(site.origin)
    return chromium.run("return await subscribe(arguments[0])", server.public_key)


def send(chromium: Chromium, server: ApplicationServer, subscription, message) -> int:
    return server.send(subscription, message, address=chromium.push_service.local_address(subscription["endpoint"]))


def test_an_encrypted_push_is_shown_and_a_click_opens_its_page(chromium, site, tmp_path):
    server = ApplicationServer()
    subscription = subscribe(chromium, site, server)
    message = {"title": "Booked ✓", "body": "Studio 1", "url": "/opened"}
    assert send(chromium, server, subscription, message) == 201

    assert wait_until(lambda: site.reported("shown"), "the worker's report")[0]["message"] == message
    assert chromium.wait_for_notification("Booked ✓")["body"] == "Studio 1"
    chromium.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")

    chromium.click_notification("Booked ✓")
    wait_until(lambda: site.reported("clicked"), "the click's report")
    wait_until(lambda: f"{site.origin}/opened" in chromium.tabs(), "the page that the click opens")
    assert wait_until(lambda: chromium.push_service.acknowledged, "the browser's acknowledgement")


def test_a_button_is_clicked_and_another_notification_is_dismissed(chromium, site):
    server = ApplicationServer()
    subscription = subscribe(chromium, site, server)
    button = {"action": "map", "title": "Show the way"}
    assert send(chromium, server, subscription, {"title": "button", "url": "/opened", "actions": [button]}) == 201
    chromium.click_notification("button", "Show the way")
    assert wait_until(lambda: site.reported("clicked"), "the click's report")[0]["action"] == "map"

    assert send(chromium, server, subscription, {"title": "unwanted"}) == 201
    chromium.dismiss_notification("unwanted")
    wait_until(lambda: site.reported("dismissed"), "the dismissal's report")


def test_the_push_service_answers_410_after_unsubscribe(chromium, site):
    server = ApplicationServer()
    subscription = subscribe(chromium, site, server)
    assert chromium.run(
        """
        const registration = await navigator.serviceWorker.ready;
        return (await registration.pushManager.getSubscription()).unsubscribe();
        """
    )
    wait_until(lambda: send(chromium, server, subscription, {"title": "late"}) == 410, "the end of the subscription")


def test_the_librarys_transport_reaches_it(chromium, site):
    server = ApplicationServer()
    subscription = subscribe(chromium, site, server)
    transport = GCMTransport(origin=chromium.push_service.origin, endpoint_policy=EndpointPolicy(allow_private=True))
    request = PushRequest(
        id=1,
        endpoint=subscription["endpoint"],
        **subscription["keys"],
        payload=b'{"title": "by transport"}',
        ttl=60,
        vapid_authorization=server.signer.authorization(subscription["endpoint"]),
    )
    try:
        responses = [(response.id, response.status, response.error) for response in transport.send([request])]
    finally:
        transport.close()
    assert responses == [(1, 201, "")]
    chromium.wait_for_notification("by transport")

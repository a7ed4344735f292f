"""A real Firefox uses the fake push service: subscribe, receive, show, click, come back."""

from __future__ import annotations

import pytest

from django_webpush_kit.testing import FakePushService
from tests.browser.firefox import Firefox
from tests.browser.site import Site
from tests.browser.waiting import wait_until
from tests.testing.application_server import ApplicationServer

pytestmark = pytest.mark.browser


def subscribe(firefox: Firefox, site: Site, server: ApplicationServer):
    firefox.open(site.origin)
    return firefox.run("return await subscribe(arguments[0])", server.public_key)


def test_an_encrypted_push_is_shown_and_a_click_opens_its_page(firefox, push_service, site, tmp_path):
    server = ApplicationServer()
    subscription = subscribe(firefox, site, server)
    message = {"title": "Booked ✓", "body": "Studio 1", "url": "/opened"}
    assert server.send(subscription, message) == 201

    assert wait_until(lambda: site.reported("shown"), "the worker's report")[0]["message"] == message
    shown = firefox.wait_for_notification("Booked ✓")
    assert shown["body"] == "Studio 1"
    firefox.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")

    firefox.click_notification("Booked ✓")
    wait_until(lambda: site.reported("clicked"), "the click's report")
    wait_until(lambda: f"{site.origin}/opened" in firefox.tabs(), "the page that the click opens")

    def codes():
        return [said.code for said in push_service.acknowledgements if said.endpoint == subscription["endpoint"]]

    wait_until(codes, "the browser's acknowledgement")
    assert codes() == [100]


def test_a_button_is_clicked_and_another_notification_is_dismissed(firefox, site):
    server = ApplicationServer()
    subscription = subscribe(firefox, site, server)
    button = {"action": "map", "title": "Show the way"}
    assert server.send(subscription, {"title": "with a button", "url": "/opened", "actions": [button]}) == 201
    firefox.click_notification("with a button", "map")
    assert wait_until(lambda: site.reported("clicked"), "the click's report")[0]["action"] == "map"

    assert server.send(subscription, {"title": "unwanted"}) == 201
    firefox.dismiss_notification("unwanted")
    # Firefox also fires notificationclose for the notification that the worker closed when it was clicked
    wait_until(
        lambda: "unwanted" in [report["message"]["title"] for report in site.reported("dismissed")],
        "the dismissal's report",
    )


def test_a_forgotten_browser_subscribes_anew(firefox, push_service: FakePushService, site):
    server = ApplicationServer()
    subscription = subscribe(firefox, site, server)
    push_service.disconnect_browsers(forget=True)
    changed = wait_until(lambda: site.reported("changed"), "pushsubscriptionchange")[0]
    assert changed["old"] == subscription["endpoint"]
    assert server.send(subscription, {"title": "lost"}) == 410
    assert server.send(changed["subscription"], {"title": "found"}) == 201
    firefox.wait_for_notification("found")


def test_held_messages_arrive_with_their_topic_replaced(firefox, push_service: FakePushService, site):
    server = ApplicationServer()
    subscription = subscribe(firefox, site, server)
    push_service.hold()
    for number in range(3):
        assert server.send(subscription, {"title": f"held {number}"}, Topic="score") == 201
    push_service.release()
    wait_until(lambda: site.reported("shown"), "the worker's report")
    firefox.wait_for_notification("held 2")
    assert [report["message"]["title"] for report in site.reported("shown")] == ["held 2"]

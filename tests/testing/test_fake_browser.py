from __future__ import annotations

import threading

import pytest
from aiohttp import web

from django_webpush_kit.protocol.encryption import parse_keys
from django_webpush_kit.testing import FakeBrowser, FakePushService
from django_webpush_kit.testing.loopback_server import LoopbackServer
from tests.testing.application_server import ApplicationServer


@pytest.fixture
def browser(service, server):
    return FakeBrowser(service, server.public_key)


def message(number: int, **notification):
    return {
        "id": str(number),
        "token": f"token-{number}",
        "events": "/push/events",
        "notification": {"title": f"Title {number}", **notification},
    }


def without_timestamps(reports):
    for report in reports:
        for event in report.body["events"]:
            assert event.pop("timestamp") > 1_600_000_000_000
    return [report.body for report in reports]


def test_a_subscription_has_the_form_of_a_real_one(browser):
    subscription = browser.subscribe()
    assert set(subscription) == {"endpoint", "expirationTime", "keys"}
    assert subscription["expirationTime"] is None
    assert browser.endpoint == subscription["endpoint"]
    keys = parse_keys(**subscription["keys"])
    assert (len(keys.p256dh), len(keys.auth)) == (65, 16)
    assert browser.subscription_fields == {"endpoint": browser.endpoint, **subscription["keys"]}


def test_subscribing_again_gives_the_same_subscription_unless_the_key_differs(browser):
    first = browser.subscribe()
    assert browser.subscribe() == first
    with pytest.raises(ValueError, match="Unsubscribe first"):
        browser.subscribe(ApplicationServer().public_key)


def test_a_key_can_be_given_when_subscribing(service, server):
    browser = FakeBrowser(service)
    browser.subscribe(server.public_key)
    assert server.send(browser.subscription, {}) == 201
    assert ApplicationServer().send(browser.subscription, {}) == 403


def test_a_key_the_push_service_refuses_is_an_error(service):
    with pytest.raises(ValueError, match="refused to subscribe"):
        FakeBrowser(service, "AAAA").subscribe()


def test_a_browser_that_is_not_subscribed_has_no_endpoint_and_gets_nothing(browser):
    with pytest.raises(RuntimeError, match="not subscribed"):
        _ = browser.endpoint
    with pytest.raises(RuntimeError, match="not subscribed"):
        _ = browser.subscription_fields
    browser.unsubscribe()
    assert browser.received == []


def test_unsubscribing_ends_the_endpoint(browser, server):
    subscription = browser.subscribe()
    browser.unsubscribe()
    assert browser.subscription is None
    assert server.send(subscription, {}) == 410


def test_resubscribing_gives_another_endpoint_and_other_keys(browser, server):
    old = browser.subscribe()
    new = browser.resubscribe()
    assert new["endpoint"] != old["endpoint"]
    assert new["keys"] != old["keys"]
    assert (server.send(old, {}), server.send(new, message(1))) == (410, 201)
    assert browser.received == [message(1)]


def test_resubscribing_can_change_the_key(browser):
    browser.subscribe()
    other = ApplicationServer()
    assert other.send(browser.resubscribe(other.public_key), {}) == 201


def test_waiting_ends_at_the_expected_number_or_the_timeout(browser, server):
    subscription = browser.subscribe()
    server.send(subscription, message(1))
    sending = threading.Timer(0.05, server.send, (subscription, message(2)))
    sending.start()
    assert browser.wait_for(2) == [message(1), message(2)]
    sending.join()
    with pytest.raises(TimeoutError, match=r"2 of 3 messages were received within 0\.03 s"):
        browser.wait_for(3, timeout=0.03)


def test_a_message_for_other_keys_is_an_error(service, browser, server):
    browser.subscribe()
    stranger = FakeBrowser(service)
    mixed = {"endpoint": browser.endpoint, "keys": stranger.subscribe()["keys"]}
    assert server.send(mixed, message(1)) == 201
    with pytest.raises(ValueError, match="decrypt"):
        _ = browser.received
    assert browser.received == []  # it is reported once


def test_a_message_is_shown_with_its_contents(browser, server):
    actions = [{"action": "map", "title": "Map", "navigate": "/map"}, {"action": "call", "title": "Call"}]
    server.send(browser.subscribe(), message(1, body="B", navigate="/b", data={"n": 1}, actions=actions))
    (shown,) = browser.shown
    assert (shown.title, shown.body, shown.url, shown.tag, shown.data) == ("Title 1", "B", "/b", "1", {"n": 1})
    assert shown.actions == actions
    assert shown.payload["token"] == "token-1"
    assert [shown.target(), shown.target("map"), shown.target("call")] == ["/b", "/map", "/b"]


def test_a_repeated_message_is_shown_and_reported_once(browser, server):
    for _ in range(2):
        server.send(browser.subscribe(), message(1))
    assert len(browser.received) == 2
    assert len(browser.shown) == 1
    assert len(browser.deliver()) == 1


def test_a_tag_replaces_the_notification_while_it_is_open(browser, server):
    server.send(browser.subscribe(), message(1, tag="score"))
    server.send(browser.subscription, message(2, tag="score"))
    assert [shown.title for shown in browser.shown] == ["Title 2"]
    browser.dismiss(browser.shown[0])
    server.send(browser.subscription, message(3, tag="score"))
    assert [(shown.title, shown.closed) for shown in browser.shown] == [("Title 2", True), ("Title 3", False)]


def test_messages_without_an_id_are_each_shown(browser, server):
    for _ in range(2):
        server.send(browser.subscribe(), {"notification": {"title": "T"}})
    assert len(browser.shown) == 2


def test_the_app_badge_keeps_its_last_number(browser, server):
    subscription = browser.subscribe()
    badges = []
    for number, badge in enumerate(({}, {"app_badge": 3}, {}, {"app_badge": 0})):
        server.send(subscription, {**message(number), **badge})
        assert len(browser.received) == number + 1
        badges.append(browser.app_badge)
    assert badges == [None, 3, 3, 0]


def test_delivery_is_reported_once_for_each_message(browser, server):
    server.send(browser.subscribe(), message(1))
    server.send(browser.subscription, message(2))
    reports = browser.deliver()
    assert [report.path for report in reports] == ["/push/events"] * 2
    assert [report.response for report in reports] == [None, None]
    assert without_timestamps(reports) == [
        {"events": [{"token": "token-1", "action": "delivered"}]},
        {"events": [{"token": "token-2", "action": "delivered"}]},
    ]
    assert browser.deliver() == []


def test_clicks_and_dismissals_are_reported_and_close_the_notification(browser, server):
    buttons = [{"action": "map", "title": "Map", "navigate": "/map"}]
    for number, url in ((1, "/one"), (2, "/two"), (3, ""), (4, "/four")):
        server.send(browser.subscribe(), message(number, navigate=url, actions=buttons))
    one, two, three, four = browser.shown
    reports = [browser.click(one), browser.click(two, "map"), browser.click(three), browser.dismiss(four)]
    assert without_timestamps(reports) == [
        {"events": [{"token": "token-1", "action": "clicked"}]},
        {"events": [{"token": "token-2", "action": "action_clicked", "action_id": "map"}]},
        {"events": [{"token": "token-3", "action": "clicked"}]},
        {"events": [{"token": "token-4", "action": "dismissed"}]},
    ]
    assert browser.opened == ["/one", "/map"]
    with pytest.raises(ValueError, match="is closed"):
        browser.click(one)


def test_a_button_that_does_not_exist_cannot_be_clicked(browser, server):
    server.send(browser.subscribe(), message(1))
    with pytest.raises(ValueError, match="has no button 'map'"):
        browser.click(browser.shown[0], "map")


@pytest.mark.parametrize("missing", ["token", "events"])
def test_a_message_without_tracking_cannot_be_reported(browser, server, missing):
    server.send(browser.subscribe(), {name: value for name, value in message(1).items() if name != missing})
    with pytest.raises(ValueError, match="no tracking token"):
        browser.deliver()


def test_reports_go_through_a_callable(service, server):
    browser = FakeBrowser(service, server.public_key, client=lambda path, body: (path, len(body["events"])))
    server.send(browser.subscribe(), message(1))
    assert browser.deliver()[0].response == ("/push/events", 1)


def test_reports_go_through_a_django_test_client(service, server, client, settings):
    browser = FakeBrowser(service, server.public_key, client=client)
    server.send(browser.subscribe(), {**message(1), "events": "/no/such/page"})
    response = browser.deliver()[0].response
    assert response.status_code == 404
    assert response.request["CONTENT_TYPE"] == "application/json"
    assert response.request["REQUEST_METHOD"] == "POST"


def test_reports_go_to_a_base_url(service, server):
    bodies = []

    class EventsSite(LoopbackServer):
        def application(self) -> web.Application:
            application = web.Application()
            application.router.add_post("/push/events", self.record)
            return application

        async def record(self, request: web.Request) -> web.Response:
            bodies.append((request.content_type, await request.json()))
            return web.json_response({"recorded": 1})

    with EventsSite() as site:
        browser = FakeBrowser(service, server.public_key, client=site.origin)
        server.send(browser.subscribe(), message(1))
        (report,) = browser.deliver()
    assert bodies == [("application/json", report.body)]
    assert (report.response.status, report.response.json()) == (200, {"recorded": 1})


def test_the_origin_of_another_push_service_is_enough(service, server):
    browser = FakeBrowser(service.origin, server.public_key)
    server.send(browser.subscribe(), message(1))
    assert browser.wait_for(1) == [message(1)]


def test_the_origin_of_a_push_service_with_tls_needs_its_certificate():
    with FakePushService(tls=True) as service:
        browser = FakeBrowser(service.origin, ca_bundle=service.ca_bundle)
        browser.subscribe()
        assert browser.received == []
        with pytest.raises(OSError, match="certificate verify failed"):
            FakeBrowser(service.origin).subscribe()

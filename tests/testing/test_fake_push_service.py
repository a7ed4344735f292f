from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from pathlib import Path

import pytest
import time_machine

from django_webpush_kit.protocol.encryption import encrypt
from django_webpush_kit.testing import FakeBrowser, FakePushService, Fault
from django_webpush_kit.testing import fake_push_service as module
from django_webpush_kit.testing.fake_browser import call_http
from django_webpush_kit.testing.loopback_server import LoopbackServer
from tests.testing.application_server import ApplicationServer


@pytest.fixture
def browser(service, server):
    browser = FakeBrowser(service, server.public_key)
    browser.subscribe()
    return browser


def test_a_valid_message_is_stored_until_the_browser_fetches_it(service, server, browser):
    assert server.send(browser.subscription, {"id": "1"}, Urgency="high", Topic="score") == 201
    (waiting,) = service.waiting(browser.endpoint)
    assert (waiting.ttl, waiting.urgency, waiting.topic) == (60, "high", "score")
    assert browser.received == [{"id": "1"}]
    assert service.waiting(browser.endpoint) == []


def test_every_request_is_logged_with_its_answer(service, server, browser):
    server.send(browser.subscription, {})
    server.send(browser.subscription, {}, TTL=None)
    accepted, refused = service.requests
    assert (accepted.status, accepted.reason) == (201, "")
    assert (refused.status, refused.reason) == (400, "The TTL header is missing or not a number of seconds.")
    assert accepted.endpoint == browser.endpoint
    assert accepted.token == browser.endpoint.rpartition("/")[2]
    assert accepted.headers["ttl"] == "60"
    assert accepted.size == len(accepted.body) == 86 + 17 + len(b"{}")
    assert abs(accepted.time - time.time()) < 60
    assert accepted.client_port > 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"TTL": None}, 400),
        ({"TTL": "soon"}, 400),
        ({"TTL": "-1"}, 400),
        ({"TTL": "0"}, 201),
        ({"Urgency": "urgent"}, 400),
        ({"Urgency": "very-low"}, 201),
        ({"Topic": "a" * 33}, 400),
        ({"Topic": "two words"}, 400),
        ({"Topic": "a" * 32}, 201),
        ({"Content_Encoding": None}, 400),
        ({"Content_Encoding": "aesgcm"}, 400),
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer x"}, 401),
    ],
)
def test_headers_are_checked(server, browser, headers, status):
    assert server.send(browser.subscription, {}, **headers) == status


def test_the_body_is_checked(server, browser):
    body = encrypt(b"{}", **browser.subscription["keys"])
    compressed_point = body[:21] + b"\x02" + body[22:]
    other_key_length = body[:20] + b"\x40" + body[21:]
    several_records = body[:16] + (18).to_bytes(4, "big") + body[20:]
    for malformed in (b"", body[:102], compressed_point, other_key_length, several_records):
        assert server.post(browser.endpoint, malformed) == 400
    assert server.post(browser.endpoint, body + bytes(4096 - len(body))) == 201
    assert server.post(browser.endpoint, body + bytes(4097 - len(body))) == 413


def test_the_vapid_token_must_be_for_this_service_and_not_expired(service, server, browser):
    for_another_service = server.signer.authorization("https://push.example.com/x")
    assert server.send(browser.subscription, {}, Authorization=for_another_service) == 401
    with time_machine.travel(time.time() - 25 * 3600):
        expired = server.signer.authorization(browser.endpoint)
    assert server.send(browser.subscription, {}, Authorization=expired) == 401


def test_the_vapid_key_must_be_that_of_the_subscription(browser):
    assert ApplicationServer().send(browser.subscription, {}) == 403


def test_a_subscription_without_a_key_accepts_unsigned_and_signed_messages(service, server):
    browser = FakeBrowser(service)
    browser.subscribe()
    assert server.send(browser.subscription, {}, Authorization=None) == 201
    assert server.send(browser.subscription, {}) == 201


def test_a_malformed_key_cannot_subscribe(service):
    for key in ("AAAA", "x"):
        with pytest.raises(ValueError, match=r".+"):
            service.subscribe(key)
    padded = ApplicationServer().public_key + "="
    assert service.subscribe(padded).endpoint.startswith(f"{service.origin}/wpush/v2/")
    assert call_http("POST", f"{service.origin}/subscriptions", {"vapid": "AAAA"}).status == 400
    assert call_http("POST", f"{service.origin}/subscriptions").status == 400


def test_an_unknown_endpoint_is_404_and_an_expired_one_410(service, server, browser):
    assert server.post(f"{service.origin}/wpush/v2/unknown", b"x") == 404
    service.expire(browser.endpoint)
    assert server.send(browser.subscription, {}) == 410
    assert browser.received == []
    for endpoint in (f"{service.origin}/wpush/v2/unknown", browser.endpoint.replace("v2", "v3")):
        with pytest.raises(LookupError):
            service.expire(endpoint)


def test_a_topic_replaces_the_waiting_message(server, browser):
    for number, topic in enumerate(("score", "other", "score")):
        server.send(browser.subscription, {"id": str(number)}, Topic=topic)
    assert [message["id"] for message in browser.received] == ["1", "2"]


def test_a_message_is_dropped_when_its_time_to_live_is_over(server, browser):
    with time_machine.travel(time.time() - 3000) as clock:
        server.send(browser.subscription, {"id": "short"}, TTL="60")
        server.send(browser.subscription, {"id": "long"}, TTL="600")
        clock.shift(61)
        assert [message["id"] for message in browser.received] == ["long"]


def test_held_messages_arrive_after_the_release(service, server, browser):
    service.hold()
    server.send(browser.subscription, {"id": "1"})
    assert browser.received == []
    service.release()
    assert browser.received == [{"id": "1"}]


def test_scripted_answers_are_given_in_order_those_of_the_endpoint_first(service, server, browser):
    service.script(None, Fault(status=429, headers={"Retry-After": "7"}, body=b"slow down", times=2))
    service.script(browser.endpoint, Fault(status=500), Fault(status=502))
    statuses = [server.send(browser.subscription, {}) for _ in range(5)]
    assert statuses == [500, 502, 429, 429, 201]
    assert [request.reason for request in service.requests][:4] == ["scripted fault"] * 4


def test_a_fault_for_another_endpoint_does_not_apply(service, server, browser):
    service.script("https://push.example.com/other", Fault())
    assert server.send(browser.subscription, {}) == 201


def test_a_permanent_fault_lasts_until_cleared(service, server, browser):
    service.script(None, Fault(times=None))
    assert {server.send(browser.subscription, {}) for _ in range(3)} == {503}
    service.clear_faults()
    assert server.send(browser.subscription, {}) == 201


def test_a_delayed_request_is_handled_as_usual_afterwards(service, server, browser):
    service.script(None, Fault(status=None, delay=0.01))
    assert server.send(browser.subscription, {"id": "late"}) == 201
    assert browser.received == [{"id": "late"}]


def test_a_dropped_connection_gives_no_answer(service, server, browser):
    service.script(None, Fault(drop=True))
    with pytest.raises(RemoteDisconnected):
        server.send(browser.subscription, {})
    assert service.requests[0].status is None
    assert service.waiting(browser.endpoint) == []


def test_a_truncated_reply(service, server, browser):
    service.script(None, Fault(status=500, body=b"half of", half_reply=True))
    with pytest.raises(IncompleteRead) as cut:
        server.send(browser.subscription, {})
    assert cut.value.partial == b"half of"


def test_stopping_does_not_wait_for_delayed_requests(server):
    service = FakePushService().start()
    browser = FakeBrowser(service, server.public_key)
    subscription = browser.subscribe()
    service.script(None, Fault(delay=3600))
    outcome = []

    def send() -> None:
        try:
            outcome.append(server.send(subscription, {}))
        except (HTTPException, OSError) as error:
            outcome.append(type(error))

    sending = threading.Thread(target=send)
    sending.start()
    while not service.requests:
        time.sleep(0.005)
    service.stop()
    sending.join(30)
    assert outcome == [RemoteDisconnected]


def test_https_is_verified_with_the_throwaway_authority(server):
    with FakePushService(tls=True, hostname="localhost") as service:
        assert service.origin == f"https://localhost:{service.port}"
        assert service.websocket_url == f"wss://localhost:{service.port}/"
        secure = ApplicationServer(ca_bundle=service.ca_bundle)
        browser = FakeBrowser(service, secure.public_key)
        browser.subscribe()
        assert secure.send(browser.subscription, {"id": "1"}) == 201
        assert browser.received == [{"id": "1"}]
        ca_bundle = Path(service.ca_bundle)
    assert not ca_bundle.exists()


def test_a_service_without_tls_has_no_certificate(service):
    with pytest.raises(RuntimeError, match="tls=True"):
        _ = service.ca_bundle


def test_a_taken_port_is_an_error_and_stopping_twice_is_not(service):
    second = FakePushService(port=service.port, tls=True)
    with pytest.raises(OSError, match="in use"):
        second.start()
    second.stop()
    second.stop()


def test_a_server_class_must_name_what_it_serves():
    with pytest.raises(NotImplementedError):
        LoopbackServer().start()


def test_a_stopped_service_can_be_started_again(service):
    port = service.port
    service.stop()
    service.start()
    assert service.port == port
    assert call_http("GET", service.origin).json() == {"service": "fake push service", "subscriptions": 0}


def test_urls_of_a_browser_are_404_for_others_and_after_its_end(service):
    url = service.subscribe().url
    assert call_http("GET", f"{service.origin}/subscriptions/unknown/messages").status == 404
    assert call_http("POST", f"{url}/acknowledgements", {"messages": ["unknown"]}).status == 204
    assert call_http("DELETE", url).status == 204
    assert call_http("GET", f"{url}/messages").status == 404


@pytest.mark.thorough
@pytest.mark.parametrize("arguments", [(), ("--tls",)])
def test_the_command_prints_its_origin_and_ends_cleanly_on_sigterm(arguments):
    command = [sys.executable, "-m", module.__name__, *arguments]
    # on a busy machine asyncio's debug mode speaks up about slow steps
    environment = {**os.environ, "PYTHONASYNCIODEBUG": "", "PYTHONDEVMODE": ""}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        origin = process.stdout.readline().strip()
        lines = [process.stdout.readline() for _ in range(1 + len(arguments))]
        ca_bundle = lines[1].rpartition(" ")[2].strip() if arguments else None
        reply = call_http("GET", origin, ca_bundle=ca_bundle)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert reply.json()["service"] == "fake push service"
    assert "dom.push.serverURL" in lines[0]
    assert (process.returncode, errors) == (0, "")

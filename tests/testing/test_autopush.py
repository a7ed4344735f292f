"""The WebSocket side, spoken as Firefox speaks it (a real one does so in tests/browser)."""

from __future__ import annotations

import asyncio
import base64

import aiohttp
import pytest

from django_webpush_kit.testing import FakePushService
from django_webpush_kit.testing.autopush import Acknowledgement
from tests.testing.application_server import ApplicationServer


class Peer:
    """A browser's end of the WebSocket."""

    def __init__(self, service: FakePushService) -> None:
        self.service = service
        self.loop = asyncio.new_event_loop()
        self.session = None
        self.socket = None

    def run(self, coroutine):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 20))

    def connect(self, uaid: str = "") -> str:
        """Say hello and return the name the service gave."""

        async def connect():
            if self.socket is not None:
                await self.socket.close()
            self.session = self.session or aiohttp.ClientSession()
            self.socket = await self.session.ws_connect(self.service.websocket_url, protocols=["push-notification"])

        self.run(connect())
        hello = {"messageType": "hello", "use_webpush": True, "broadcasts": {}}
        answer = self.ask(**hello, **({"uaid": uaid} if uaid else {}))
        assert (answer["messageType"], answer["status"]) == ("hello", 200)
        return answer["uaid"]

    def register(self, channel: str, **options: str) -> str:
        """Subscribe and return the endpoint."""
        answer = self.ask(messageType="register", channelID=channel, **options)
        assert (answer["messageType"], answer["channelID"], answer["status"]) == ("register", channel, 200)
        return answer["pushEndpoint"]

    def say(self, **frame) -> None:
        self.run(self.socket.send_json(frame))

    def hear(self):
        return self.run(self.socket.receive_json())

    def ask(self, **frame):
        self.say(**frame)
        return self.hear()

    def close(self) -> None:
        self.run(self.socket.close())
        self.run(self.session.close())
        self.loop.close()


@pytest.fixture
def peer(service):
    browser = Peer(service)
    yield browser
    browser.close()


# the shape of an encrypted empty message
BODY = bytes(16) + (4096).to_bytes(4, "big") + b"\x41\x04" + bytes(64 + 17)


def test_a_message_goes_to_the_browser_at_once_and_is_kept_until_acknowledged(service, peer):
    peer.connect()
    server = ApplicationServer()
    endpoint = peer.register("c1", key=server.public_key + "=")
    other = peer.register("c2")
    assert server.post(endpoint, BODY) == 201
    frame = peer.hear()
    assert base64.urlsafe_b64decode(frame["data"] + "==") == BODY
    (waiting,) = service.waiting(endpoint)
    assert frame == {
        "messageType": "notification",
        "channelID": "c1",
        "version": waiting.id,
        "ttl": 60,
        "data": frame["data"],
        "headers": {"encoding": "aes128gcm"},
    }
    updates = [{"channelID": "c1", "version": waiting.id, "code": 100}, {"channelID": "c1", "version": "unknown"}]
    peer.say(messageType="ack", updates=updates)
    assert peer.ask() == {}  # an empty frame is a ping; its answer shows that the frame before is done
    assert service.acknowledgements == [Acknowledgement(endpoint, waiting.id, 100)]
    assert service.waiting(endpoint) == []
    assert service.waiting(other) == []


def test_a_message_that_the_worker_rejects_is_not_repeated(service, peer):
    peer.connect()
    endpoint = peer.register("c1")
    ApplicationServer().post(endpoint, BODY)
    version = peer.hear()["version"]
    peer.say(messageType="nack", version=version, code=302)
    assert peer.ask(messageType="ping") == {}
    assert [said.code for said in service.acknowledgements] == [302]


def test_the_vapid_key_of_the_registration_is_enforced(peer):
    peer.connect()
    server = ApplicationServer()
    endpoint = peer.register("c1", key=server.public_key)
    assert ApplicationServer().post(endpoint, BODY) == 403
    assert server.post(endpoint, BODY) == 201


def test_messages_for_a_browser_that_was_away_arrive_when_it_returns(service, peer):
    name = peer.connect()
    endpoint = peer.register("c1")
    service.disconnect_browsers()
    server = ApplicationServer()
    assert server.post(endpoint, BODY) == 201
    assert server.post(endpoint, BODY, TTL="0") == 201  # now or never: nobody is there
    assert peer.connect(name) == name
    assert peer.hear()["ttl"] == 60
    assert peer.ask(messageType="ping") == {}
    assert server.post(endpoint, BODY, TTL="0") == 201
    assert peer.hear()["ttl"] == 0


def test_held_messages_arrive_after_the_release(service, peer):
    peer.connect()
    endpoint = peer.register("c1")
    service.hold()
    ApplicationServer().post(endpoint, BODY)
    assert peer.ask(messageType="ping") == {}
    service.release()
    assert peer.hear()["messageType"] == "notification"


def test_unregistering_ends_only_that_subscription(service, peer):
    peer.connect()
    ended, kept = peer.register("c1"), peer.register("c2")
    assert peer.ask(messageType="unregister", channelID="c1", code=200) == {
        "messageType": "unregister",
        "channelID": "c1",
        "status": 200,
    }
    server = ApplicationServer()
    assert (server.post(ended, BODY), server.post(kept, BODY)) == (410, 201)


def test_a_forgotten_browser_gets_a_new_name_and_its_subscriptions_are_gone(service, peer):
    name = peer.connect()
    endpoint = peer.register("c1")
    service.disconnect_browsers(forget=True)
    assert peer.connect(name) != name
    assert ApplicationServer().post(endpoint, BODY) == 410


def test_a_second_connection_of_a_browser_takes_over(service, peer):
    name = peer.connect()
    endpoint = peer.register("c1")
    second = Peer(service)
    second.connect(name)
    peer.run(peer.socket.close())
    ApplicationServer().post(endpoint, BODY)
    assert second.hear()["messageType"] == "notification"
    second.close()


def test_unknown_and_binary_frames_are_ignored(peer):
    peer.connect()
    peer.say(messageType="broadcast_subscribe", broadcasts={})
    peer.run(peer.socket.send_bytes(b"x"))
    assert peer.ask(messageType="ping") == {}


def test_a_polling_browser_is_not_reached_by_the_websocket(service, peer):
    peer.connect()
    polled = service.subscribe()
    keys = ApplicationServer()
    assert keys.post(polled.endpoint, BODY, Authorization=None) == 201
    assert peer.ask(messageType="ping") == {}
    assert len(service.waiting(polled.endpoint)) == 1

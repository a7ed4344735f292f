"""npm's independent Web Push implementations take what we send, and we take what they send."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from django_webpush_kit import transports
from django_webpush_kit.protocol.encryption import decrypt, encrypt
from django_webpush_kit.protocol.endpoints import EndpointPolicy
from django_webpush_kit.protocol.vapid import VapidKey, VapidSigner
from django_webpush_kit.testing import FakeBrowser, FakePushService
from django_webpush_kit.testing.fake_browser import call_http
from django_webpush_kit.transports import PushRequest
from tests.testing.application_server import ApplicationServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed"),
]

HERE = Path(__file__).parent
PAYLOADS = [b"x", "Gebucht ✓".encode(), bytes(range(256)), b"m" * 3000, b"l" * 3993]


@pytest.fixture(scope="module", autouse=True)
def _installed():
    if not (HERE / "node_modules" / "web-push-testing").is_dir():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True, timeout=300)


def codec(call: str, **request: Any) -> dict[str, Any]:
    ran = subprocess.run(
        ["node", "codec.js"],
        cwd=HERE,
        input=json.dumps({"call": call, **request}),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(ran.stdout)


def base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def unbase64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


class Receiver:
    """A subscription's keys, both halves."""

    def __init__(self) -> None:
        self.private_key = ec.generate_private_key(ec.SECP256R1())
        self.secret = b"0123456789abcdef"
        point = self.private_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.keys = {"p256dh": base64url(point), "auth": base64url(self.secret)}

    @property
    def scalar(self) -> str:
        return base64url(self.private_key.private_numbers().private_value.to_bytes(32, "big"))


@pytest.mark.parametrize("payload", PAYLOADS, ids=len)
def test_http_ece_can_decrypt_our_messages(payload):
    receiver = Receiver()
    body = encrypt(payload, **receiver.keys)
    answer = codec("decrypt", body=base64url(body), privateKey=receiver.scalar, auth=receiver.keys["auth"])
    assert unbase64url(answer["payload"]) == payload


@pytest.mark.parametrize("payload", PAYLOADS, ids=len)
def test_messages_of_http_ece_can_be_decrypted(payload):
    receiver = Receiver()
    answer = codec("encrypt", payload=base64url(payload), **receiver.keys)
    assert decrypt(unbase64url(answer["body"]), receiver.private_key, receiver.secret) == payload


def test_the_fake_push_service_accepts_requests_of_web_push():
    keys = codec("keys")
    with FakePushService() as service:
        browser = FakeBrowser(service, keys["publicKey"])
        request = codec(
            "request",
            subscription=browser.subscribe(),
            payload='{"id": "1"}',
            options={"TTL": 60, "urgency": "high", "topic": "score", "vapidDetails": keys},
        )
        headers = {name: str(value) for name, value in request["headers"].items() if name != "Content-Length"}
        status = ApplicationServer().post(browser.endpoint, unbase64url(request["body"]), **headers)
        assert (status, service.requests[0].reason) == (201, "")
        assert browser.received == [{"id": "1"}]
        assert service.requests[0].headers["Urgency"] == "high"


@pytest.fixture(scope="module")
def testing_service():
    """The origin of npm's web-push-testing."""
    command = ["node", "push_server.js"]
    with subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.stdin.close()


@pytest.mark.parametrize("transport_name", ["CurlTransport", "PyWebPushTransport"])
def test_web_push_testing_verifies_and_decrypts_what_our_transports_send(testing_service, transport_name):
    if transport_name == "CurlTransport":
        pytest.importorskip("pycurl")
    key = VapidKey.generate()
    options = {"userVisibleOnly": "true", "applicationServerKey": key.public_key}
    subscription = call_http("POST", f"{testing_service}/subscribe", options).json()["data"]
    signer = VapidSigner(key, "mailto:tests@example.com")
    payloads = [json.dumps({"title": "Gebucht ✓", "number": number}).encode() for number in range(20)]

    def request(number: int, authorization: str) -> PushRequest:
        return PushRequest(
            id=number,
            endpoint=subscription["endpoint"],
            **subscription["keys"],
            payload=payloads[number],
            ttl=60,
            vapid_authorization=authorization,
        )

    transport = getattr(transports, transport_name)(endpoint_policy=EndpointPolicy(allow_private=True))
    try:
        good = signer.authorization(subscription["endpoint"])
        responses = list(transport.send(request(number, good) for number in range(20)))
        stranger = VapidSigner(VapidKey.generate(), "mailto:tests@example.com")
        (refused,) = transport.send([request(0, stranger.authorization(subscription["endpoint"]))])
    finally:
        transport.close()
    assert [response.status for response in responses] == [201] * 20, responses
    assert refused.status == 400
    answer = call_http("POST", f"{testing_service}/get-notifications", {"clientHash": subscription["clientHash"]})
    assert sorted(answer.json()["data"]["messages"]) == sorted(payload.decode() for payload in payloads)

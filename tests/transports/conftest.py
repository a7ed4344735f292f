import base64
import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.protocol.endpoints import EndpointPolicy
from django_webpush_kit.protocol.vapid import VapidKey, VapidSigner
from django_webpush_kit.testing.certificates import write_certificate
from django_webpush_kit.transports import CurlTransport, PushRequest, PyWebPushTransport

from .fault_server import FaultServer

PRIVATE = EndpointPolicy(allow_private=True)


class Browser:
    """A subscription's keys, and requests to it."""

    def __init__(self):
        self.private_key = ec.generate_private_key(ec.SECP256R1())
        self.secret = os.urandom(16)
        point = self.private_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.p256dh = base64.urlsafe_b64encode(point).rstrip(b"=").decode()
        self.auth = base64.urlsafe_b64encode(self.secret).rstrip(b"=").decode()
        self.signer = VapidSigner(VapidKey.generate(), "mailto:ops@example.com")

    def authorization(self, endpoint):
        try:
            return self.signer.authorization(endpoint)
        except InvalidSubscription:
            return "vapid"

    def request(self, endpoint, **changes):
        members = {
            "id": endpoint,
            "endpoint": endpoint,
            "p256dh": self.p256dh,
            "auth": self.auth,
            "payload": b'{"title": "x"}',
            "ttl": 60,
            "vapid_authorization": self.authorization(endpoint),
        }
        return PushRequest(**{**members, **changes})


@pytest.fixture(scope="session")
def browser():
    return Browser()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    write_certificate(folder)
    return folder


@pytest.fixture
def server(certificates):
    with FaultServer(certificate=str(certificates / "server.pem")) as server:
        yield server


needs_pycurl = pytest.mark.skipif(find_spec("pycurl") is None, reason="needs pycurl")


@pytest.fixture(
    params=[
        pytest.param(CurlTransport, marks=needs_pycurl, id="curl"),
        pytest.param(PyWebPushTransport, id="pywebpush"),
    ]
)
def make_transport(request, certificates):
    """Makes a network transport that trusts the test's certificate; closed at the end."""
    made = []

    def make(**options):
        options = {"ca_bundle": certificates / "ca.pem", "timeout": 5, "endpoint_policy": PRIVATE, **options}
        made.append(request.param(**options))
        return made[-1]

    make.transport_class = request.param
    yield make
    for transport in made:
        transport.close()


@pytest.fixture
def send(make_transport, browser):
    """Sends one request to a URL and returns its response."""

    def send(url, transport=None, **changes):
        (response,) = (transport or make_transport()).send([browser.request(url, **changes)])
        assert response.id == url
        return response

    return send

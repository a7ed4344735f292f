"""Endpoints that were stored before the rules were tightened, or past them: the engine sends nothing there."""

import pytest

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.protocol.endpoints import push_service
from tests.conftest import new_keys
from tests.protocol.hostile_endpoints import HOSTILE_URLS
from tests.transports.conftest import needs_pycurl
from tests.transports.fault_server import FaultServer

pytestmark = pytest.mark.django_db(transaction=True)

STORABLE = [url for url in HOSTILE_URLS if "\x00" not in url and len(url) <= 2048 and len(push_service(url)) <= 255]


@pytest.fixture(params=[pytest.param("CurlTransport", marks=needs_pycurl), "PyWebPushTransport"])
def configure(request, push_settings):
    """Makes a network transport send, by the given rules: `configure(PUSH_SERVICES=["*"])`."""

    def apply(**rules):
        transport = f"django_webpush_kit.transports.{request.param}"
        push_settings(**{"TRANSPORT": transport, "MAX_RETRIES": 0, "ALLOW_PRIVATE_ENDPOINTS": False, **rules})

    return apply


def store(user, endpoints):
    """Write subscriptions as an import of a host may, without asking the rules."""
    keys = new_keys()
    model = get_subscription_model()
    model.objects.bulk_create(
        model(user=user, endpoint=url, p256dh_key=keys["p256dh"], auth_key=keys["auth"]) for url in endpoints
    )


def outcomes(user):
    """Send to all of the user's subscriptions; what became of it, by endpoint."""
    rows = services.send(user, "Hello").notifications
    deliver_due(seconds=60)
    return {row.subscription.endpoint: (row.status, row.failure_reason) for row in rows.select_related("subscription")}


def test_hostile_stored_endpoints_get_no_request(configure, user):
    configure()
    with FaultServer() as canary:
        endpoints = {*STORABLE, *(canary.url("/status/201", host) for host in ("localhost", "127.0.0.1", "127.1"))}
        store(user, endpoints)
        assert outcomes(user) == dict.fromkeys(endpoints, ("failed", "invalid endpoint"))
        assert canary.connections == 0
    assert len(endpoints) > 100


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_of_a_push_service_are_not_followed(configure, user, status):
    configure(ALLOW_PRIVATE_ENDPOINTS=True)
    with FaultServer() as server, FaultServer() as canary:
        endpoint = server.url(f"/redirect/{status}/{canary.port}")
        store(user, [endpoint])
        assert outcomes(user) == {endpoint: ("failed", f"HTTP {status} redirect")}
        assert (server.connections, canary.connections) == (1, 0)

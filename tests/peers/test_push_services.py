"""The whole way to self-hosted push services on a port: each answers as it does in its source, over real HTTPS.

They are reached through a proxy, which leads their name to loopback, so that all rules for endpoints are in force.
"""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from importlib.util import find_spec

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.urls import reverse
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.transport import get_transport
from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.models import PushServiceState, get_notification_model, get_subscription_model
from django_webpush_kit.protocol.encryption import decrypt
from django_webpush_kit.protocol.vapid import VapidKey, VapidSigner
from django_webpush_kit.testing.fake_browser import new_keys
from django_webpush_kit.transports import PushRequest
from tests.transports.tunnel_proxy import TunnelProxy

from .wire_servers import HOST, ORIGIN, PORT, Autopush, NextPush, Ntfy

pytestmark = pytest.mark.django_db(transaction=True)

needs_pycurl = pytest.mark.skipif(find_spec("pycurl") is None, reason="needs pycurl")
every_push_service = pytest.mark.parametrize("service", [Autopush, Ntfy, NextPush], indirect=True)
TOKEN = "upQ3xZbVd6Ykx2"
SECRET = b"0123456789abcdef"


@pytest.fixture(params=[pytest.param("CurlTransport", marks=needs_pycurl), "PyWebPushTransport"])
def transport(request):
    return request.param


@pytest.fixture
def service(request, transport, push_settings):
    """The push service; what is sent to its name arrives there."""
    with request.param() as server, TunnelProxy(server.port) as proxy:
        options = {"ca_bundle": server.ca_bundle, "proxy": f"127.0.0.1:{proxy.port}", "timeout": 10}
        push_settings(
            PUSH_SERVICES=[f"{HOST}:{PORT}"],
            TRANSPORT={"BACKEND": f"django_webpush_kit.transports.{transport}", "OPTIONS": options},
            RETRY_BASE_SECONDS=30,
        )
        yield server
        get_transport().close()
        assert set(proxy.targets) <= {f"{HOST}:{PORT}"}


@pytest.fixture
def private_key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def subscribe(service, private_key, user):
    """Subscribe as a browser or an app with this token; two hours ago."""

    def subscribe(token=TOKEN):
        point = private_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        keys = {"p256dh": _base64url(point), "auth": _base64url(SECRET)}
        subscription = services.subscribe(endpoint=service.endpoint(token), user=user, **keys)
        model = get_subscription_model()
        model.objects.filter(pk=subscription.pk).update(created_at=timezone.now() - timedelta(hours=2))
        return subscription

    return subscribe


@every_push_service
def test_a_message_is_accepted_and_the_receiver_can_read_it(service, subscribe, private_key):
    row = send(subscribe(), url="/orders/1", ttl=3600)
    assert (row.status, row.response_status) == ("sent", 200 if isinstance(service, Ntfy) else 201)
    (body,) = service.mailboxes[TOKEN]
    assert "Hello" in str(json.loads(decrypt(body, private_key, SECRET)))
    ((_path, headers, _body),) = service.posts
    assert (headers["TTL"], headers["Content-Encoding"], headers["Host"]) == ("3600", "aes128gcm", f"{HOST}:{PORT}")


@every_push_service
def test_an_app_subscribes_over_http_and_gets_a_message(service, subscribe, client, user):
    client.force_login(user)
    endpoint = service.endpoint(TOKEN)
    browser = {"endpoint": endpoint, "keys": new_keys()}
    browser["keys"] = {"p256dh": browser["keys"]["p256dh"], "auth": browser["keys"]["auth"]}
    answer = client.post(
        reverse("webpush_kit:subscribe"), {"subscription": browser, **browser}, content_type="application/json"
    )
    assert answer.status_code == 201, answer.content
    assert send(user).status == "sent"
    assert len(service.mailboxes[TOKEN]) == 1


@every_push_service
def test_the_longest_message_arrives_whole(service, subscribe, private_key):
    """4,096 bytes: ntfy would cut off what is longer, without a word."""
    subscription = subscribe()
    request = PushRequest(
        id=1,
        endpoint=subscription.endpoint,
        p256dh=subscription.p256dh_key,
        auth=subscription.auth_key,
        payload=b"x" * 3993,
        ttl=60,
        vapid_authorization=VapidSigner(VapidKey.generate(), "mailto:ops@example.com").authorization(ORIGIN + "/"),
    )
    (response,) = get_transport().send([request])
    assert 200 <= response.status < 300
    (body,) = service.mailboxes[TOKEN]
    assert len(body) == 4096
    assert decrypt(body, private_key, SECRET) == b"x" * 3993


@every_push_service
def test_a_host_listed_without_its_port_is_refused_by_name(service, push_settings):
    push_settings(PUSH_SERVICES=[HOST])
    with pytest.raises(InvalidSubscription, match=rf"{HOST}:{PORT} is not one of them"):
        services.subscribe(endpoint=service.endpoint(TOKEN), **new_keys())


# the row's status, and whether its subscription stays active
GONE = ("failed", False)
LATER = ("pending", True)
ALONE = ("failed", True)


@pytest.mark.parametrize("service", [Autopush], indirect=True)
class TestAutopush:
    def test_an_unknown_token_ends_the_subscription(self, service, subscribe):
        subscription = subscribe()
        del service.mailboxes[TOKEN]
        assert outcome(subscription) == (*GONE, 404)

    def test_a_subscription_that_ended_is_gone(self, service, subscribe):
        service.unsubscribed.add(TOKEN)
        assert outcome(subscribe()) == (*GONE, 410)

    @pytest.mark.parametrize(
        ("trouble", "status", "seconds"), [("conditional write failed", 503, 120), ("bridge", 502, 0)]
    )
    def test_trouble_of_the_service_is_tried_again_later(self, service, subscribe, trouble, status, seconds):
        subscription = subscribe()
        service.trouble = trouble
        assert outcome(subscription) == (*LATER, status)
        assert wait_seconds() > seconds - 10
        service.trouble = ""
        assert make_due().status == "sent"

    def test_a_body_that_is_too_long_fails_alone(self, service, subscribe):
        service.max_data_bytes = 100
        assert outcome(subscribe()) == (*ALONE, 413)

    def test_a_service_that_keeps_messages_for_less_than_asked_has_accepted_them(self, service, subscribe):
        service.max_ttl = 60
        assert send(subscribe(), ttl=timedelta(days=30)).status == "sent"


@pytest.mark.parametrize("service", [Ntfy], indirect=True)
class TestNtfy:
    def test_a_limit_without_retry_after_is_waited_for(self, service, subscribe):
        subscription = subscribe()
        service.trouble = "message limit"
        assert outcome(subscription) == (*LATER, 429)
        service.trouble = ""
        assert make_due().status == "sent"

    def test_a_topic_without_a_subscriber_is_tried_again_and_stays(self, service, subscribe):
        subscription = subscribe()
        service.without_subscriber.add(TOKEN)
        assert outcome(subscription) == (*LATER, 507)
        service.without_subscriber.clear()
        assert make_due().status == "sent"

    @pytest.mark.thorough
    def test_many_topics_without_a_subscriber_hold_up_nobody_else(self, service, subscribe):
        """Each is at fault alone: the server works."""
        names = [f"upLonely{number}xxxxxx" for number in range(6)]
        service.without_subscriber.update(names)
        for name in names:
            assert send(subscribe(name)).response_status == 507
        assert not PushServiceState.objects.filter(paused_until__isnull=False).exists()
        assert send(subscribe("upListeningxxx")).status == "sent"

    def test_a_reserved_topic_ends_only_itself(self, service, subscribe):
        lonely, other = subscribe("upReservedxxxx"), subscribe("upOpenxxxxxxxx")
        service.reserved.add("upReservedxxxx")
        assert outcome(lonely) == (*LATER, 403)
        assert send(other).status == "sent"


@pytest.mark.parametrize("service", [NextPush], indirect=True)
class TestNextPush:
    def test_an_app_that_was_removed_ends_the_subscription(self, service, subscribe):
        subscription = subscribe()
        del service.mailboxes[TOKEN]
        assert outcome(subscription) == (*GONE, 404)

    @pytest.mark.parametrize(("trouble", "status", "seconds"), [("maintenance", 503, 120), ("throttled", 429, 0)])
    def test_a_page_of_nextcloud_is_waited_for(self, service, subscribe, trouble, status, seconds):
        subscription = subscribe()
        service.trouble = trouble
        assert outcome(subscription) == (*LATER, status)
        assert wait_seconds() > seconds - 10
        service.trouble = ""
        assert make_due().status == "sent"

    def test_a_redirect_is_not_followed(self, service, subscribe):
        service.trouble = "moved"
        assert outcome(subscribe()) == (*ALONE, 301)
        assert len(service.posts) == 1

    def test_a_web_server_that_takes_no_such_body_fails_the_message_alone(self, service, subscribe):
        service.trouble = "body limit of the web server"
        assert outcome(subscribe()) == (*ALONE, 413)


def send(target, **options):
    """Queue one message, deliver, and return its row."""
    row = services.send(target, "Hello", **options).notifications.get()
    deliver_due()
    row.refresh_from_db()
    return row


def outcome(subscription):
    """What has become of a message to this subscription: the row's status, whether it is still active, the answer."""
    row = send(subscription)
    subscription.refresh_from_db()
    return row.status, subscription.is_active, row.response_status


def wait_seconds():
    """How long the only row has to wait still."""
    return (get_notification_model().objects.get().next_attempt_at - timezone.now()).total_seconds()


def make_due():
    """Let the row that waits be due now, and deliver; returns it."""
    PushServiceState.objects.update(paused_until=None)
    rows = get_notification_model().objects
    rows.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    deliver_due()
    return rows.get()


def _base64url(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

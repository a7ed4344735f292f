"""A browser for tests: it subscribes, decrypts and shows messages, and reports events like the real service worker."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from django_webpush_kit.protocol.encryption import decrypt

if TYPE_CHECKING:
    from django_webpush_kit.testing.fake_push_service import FakePushService

_POLL_SECONDS = 0.02
_HTTP_SECONDS = 30.0


class FakeBrowser:
    """A browser that uses a `FakePushService`, given as an object or by its origin.

    `client` sends the reported events: a Django test client, the site's base URL, or a callable that takes the path and
    the JSON body. Without it, events are built and returned, but not sent. `ca_bundle` is the certificate to trust for
    an https origin; a `FakePushService` object provides its own.
    """

    def __init__(
        self,
        service: FakePushService | str,
        application_server_key: str | None = None,
        *,
        client: Any = None,
        ca_bundle: str | None = None,
    ) -> None:
        self.application_server_key = application_server_key
        self.client = client
        self.subscription: dict[str, Any] | None = None
        """The result of `PushSubscription.toJSON()`; None before `subscribe` and after `unsubscribe`."""
        self.opened: list[str] = []
        """The URLs that clicks have opened, oldest first."""
        self.app_badge: int | None = None
        """The number on the application's icon, or None if no message has set it."""
        self._service = service
        self._ca_bundle = ca_bundle
        self._subscription_url = ""
        self._received: list[dict[str, Any]] = []
        self._shown: dict[str, ShownNotification] = {}
        self._by_tag: dict[str, str] = {}
        self._payloads: dict[str, dict[str, Any]] = {}
        self._reported = 0

    # subscribing

    def subscribe(self, application_server_key: str | None = None) -> dict[str, Any]:
        """Subscribe and return the subscription's JSON: `{"endpoint", "expirationTime", "keys": {"p256dh", "auth"}}`.

        As in a real browser, subscribing again with the same key returns the same subscription; with another key it
        raises.
        """
        wanted = application_server_key or self.application_server_key
        if self.subscription is None:
            self.subscription = self._new_subscription(wanted)
        elif wanted != self.application_server_key:
            raise ValueError("This browser is subscribed with another application server key. Unsubscribe first.")
        self.application_server_key = wanted
        return self.subscription

    def unsubscribe(self) -> None:
        """End the subscription. Its endpoint responds with 410 from now on."""
        if self.subscription is not None:
            self._call_service("DELETE", self._subscription_url)
            self.subscription = None

    def resubscribe(self, application_server_key: str | None = None) -> dict[str, Any]:
        """Get a new endpoint and new keys, as browsers sometimes do (`pushsubscriptionchange`)."""
        self.unsubscribe()
        self.application_server_key = application_server_key or self.application_server_key
        return self.subscribe()

    @property
    def endpoint(self) -> str:
        """The endpoint of the current subscription."""
        if self.subscription is None:
            raise RuntimeError("This browser is not subscribed.")
        endpoint: str = self.subscription["endpoint"]
        return endpoint

    @property
    def subscription_fields(self) -> dict[str, str]:
        """Endpoint, p256dh and auth, for `services.subscribe(user=..., **browser.subscription_fields)`."""
        keys = {} if self.subscription is None else self.subscription["keys"]
        return {"endpoint": self.endpoint, **keys}

    # receiving

    @property
    def received(self) -> list[dict[str, Any]]:
        """The JSON payload of every message so far, oldest first, repeated ones included.

        Fetches waiting messages. Raises ValueError if a message cannot be decrypted with this browser's keys.
        """
        self._fetch()
        return list(self._received)

    @property
    def shown(self) -> list[ShownNotification]:
        """Every notification shown so far, closed ones included.

        A repeated message is shown once. A message with the tag of an open notification replaces it.
        """
        self._fetch()
        return list(self._shown.values())

    def wait_for(self, count: int = 1, timeout: float = 10.0) -> list[dict[str, Any]]:
        """Wait for at least `count` messages and return all of them. Raises TimeoutError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while len(received := self.received) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(received)} of {count} messages were received within {timeout:g} s.")
            time.sleep(_POLL_SECONDS)
        return received

    # reporting, as the service worker does

    def deliver(self) -> list[EventReport]:
        """Report "delivered" for every new message, one POST for each. Repeated messages are reported once."""
        self._fetch()
        unreported = list(self._payloads.values())[self._reported :]
        self._reported = len(self._payloads)
        return [self._report(payload, "delivered") for payload in unreported]

    def click(self, notification: ShownNotification, action: str = "") -> EventReport:
        """Click a notification, or its button with the id `action`. Closes it, opens the URL and reports the click."""
        notification.close()
        target = notification.target(action)
        if target:
            self.opened.append(target)
        if action:
            return self._report(notification.payload, "action_clicked", action_id=action)
        return self._report(notification.payload, "clicked")

    def dismiss(self, notification: ShownNotification) -> EventReport:
        """Close a notification without a click, and report it."""
        notification.close()
        return self._report(notification.payload, "dismissed")

    # inside

    def _new_subscription(self, application_server_key: str | None) -> dict[str, Any]:
        self._private_key = ec.generate_private_key(ec.SECP256R1())
        self._auth_secret = secrets.token_bytes(16)
        reply = self._call_service("POST", "/subscriptions", {"vapid": application_server_key})
        if reply.status != 201:
            raise ValueError(f"The push service refused to subscribe: {reply.body.decode()}")
        registration = reply.json()
        self._subscription_url = registration["url"]
        return {
            "endpoint": registration["endpoint"],
            "expirationTime": None,
            "keys": _encoded_keys(self._private_key, self._auth_secret),
        }

    def _fetch(self) -> None:
        if self.subscription is None:
            return
        reply = self._call_service("GET", f"{self._subscription_url}/messages")
        if reply.status != 200:  # the subscription has ended, so no messages can arrive
            return
        taken = []
        try:
            for message in reply.json()["messages"]:
                taken.append(message["id"])
                body = base64.urlsafe_b64decode(message["data"] + "==")
                payload = json.loads(decrypt(body, self._private_key, self._auth_secret))
                self._received.append(payload)
                self._show(payload)
        finally:
            if taken:
                self._call_service("POST", f"{self._subscription_url}/acknowledgements", {"messages": taken})

    def _show(self, payload: dict[str, Any]) -> None:
        members = payload.get("notification", {})
        notification_id = payload.get("id") or secrets.token_urlsafe(8)
        if notification_id in self._payloads:
            return
        self._payloads[notification_id] = payload
        notification = ShownNotification(
            title=members.get("title", ""),
            body=members.get("body", ""),
            url=members.get("navigate", ""),
            tag=members.get("tag") or notification_id,
            actions=members.get("actions", []),
            data=members.get("data", {}),
            payload=payload,
        )
        replaced = self._by_tag.get(notification.tag, "")
        if replaced and not self._shown[replaced].closed:
            del self._shown[replaced]
        self._by_tag[notification.tag] = notification_id
        self._shown[notification_id] = notification
        self.app_badge = payload.get("app_badge", self.app_badge)

    def _report(self, payload: dict[str, Any], action: str, **details: str) -> EventReport:
        if not payload.get("token") or not payload.get("events"):
            raise ValueError("The message has no tracking token, so its events cannot be reported.")
        event = {"token": payload["token"], "action": action, **details, "timestamp": int(time.time() * 1000)}
        body = {"events": [event]}
        return EventReport(path=payload["events"], body=body, response=self._send_report(payload["events"], body))

    def _send_report(self, path: str, body: dict[str, Any]) -> Any:
        if self.client is None:
            return None
        if isinstance(self.client, str):
            return call_http("POST", urljoin(self.client, path), body)
        if callable(self.client):
            return self.client(path, body)
        return self.client.post(path, json.dumps(body), content_type="application/json")

    def _call_service(self, method: str, url: str, body: dict[str, Any] | None = None) -> HTTPReply:
        if isinstance(self._service, str):
            return call_http(method, urljoin(self._service, url), body, ca_bundle=self._ca_bundle)
        ca_bundle = self._service.ca_bundle if self._service.tls else None
        return call_http(method, urljoin(self._service.origin, url), body, ca_bundle=ca_bundle)


def new_keys() -> dict[str, str]:
    """Return the keys of a new browser, `{"p256dh", "auth"}`, as `PushSubscription.toJSON()` gives them."""
    return _encoded_keys(ec.generate_private_key(ec.SECP256R1()), secrets.token_bytes(16))


def _encoded_keys(private_key: ec.EllipticCurvePrivateKey, auth_secret: bytes) -> dict[str, str]:
    point = private_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return {"p256dh": _base64url(point), "auth": _base64url(auth_secret)}


@dataclass(slots=True, kw_only=True)
class ShownNotification:
    """A notification that was shown. It is on the screen until it is `closed`.

    A click opens `url`. `actions` are the buttons: `{"action", "title", "navigate", ...}`. `payload` is the complete
    decrypted message.
    """

    title: str
    body: str
    url: str
    tag: str
    actions: list[dict[str, str]]
    data: dict[str, Any]
    payload: dict[str, Any] = field(repr=False)
    closed: bool = False

    def close(self) -> None:
        """Close the notification. Raises ValueError if it is closed, because it cannot be clicked again."""
        if self.closed:
            raise ValueError(f"The notification {self.title!r} is closed.")
        self.closed = True

    def target(self, action: str = "") -> str:
        """Return the URL that a click opens, on the notification or on the button with the id `action`."""
        if not action:
            return self.url
        for button in self.actions:
            if button["action"] == action:
                return button.get("navigate") or self.url
        raise ValueError(f"The notification {self.title!r} has no button {action!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReport:
    """One POST to the events endpoint: its path, its JSON body, and the response of the browser's `client`."""

    path: str
    body: dict[str, Any]
    response: Any = None


@dataclass(frozen=True, slots=True)
class HTTPReply:
    """An HTTP response."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Return the body parsed as JSON."""
        return json.loads(self.body)


def call_http(method: str, url: str, body: dict[str, Any] | None = None, *, ca_bundle: str | None = None) -> HTTPReply:
    """Send one request, with an optional JSON body, on a new connection. Proxies are ignored."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port)
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=ca_bundle)
        connection: HTTPConnection = HTTPSConnection(*address, timeout=_HTTP_SECONDS, context=context)
    else:
        connection = HTTPConnection(*address, timeout=_HTTP_SECONDS)
    content = None if body is None else json.dumps(body)
    try:
        connection.request(
            method, parts._replace(scheme="", netloc="").geturl(), content, {"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        return HTTPReply(response.status, response.read())
    finally:
        connection.close()


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

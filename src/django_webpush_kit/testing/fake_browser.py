"""A browser for tests: it subscribes, decrypts, shows, and reports events as the shipped service worker does."""

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
    from collections.abc import Callable

    from django_webpush_kit.testing.fake_push_service import FakePushService

_POLL_SECONDS = 0.02


@dataclass(slots=True, kw_only=True)
class ShownNotification:
    """A notification on the user's screen, or one that was there before it was `closed`.

    `url` is what a click on it opens; `actions` are its buttons: `{"action", "title", ...}`. `payload` is the whole
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


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReport:
    """One POST to the events endpoint: its path, its JSON, and what the client given to the browser returned."""

    path: str
    body: dict[str, Any]
    response: Any = None


class FakeBrowser:
    """A browser at a `FakePushService`, or at the origin of one that runs elsewhere.

    `client` carries the events it reports: a Django test client, the site's base URL, or a callable that takes the
    path and the JSON body. Without one, events are only built and returned. `ca_bundle` is needed for the origin of a
    push service with TLS.
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
        """What `PushSubscription.toJSON()` gives; None before `subscribe` and after `unsubscribe`."""
        self.shown: list[ShownNotification] = []
        self.opened: list[str] = []

    def subscribe(self, application_server_key: str | None = None) -> dict[str, Any]:
        raise NotImplementedError

    def resubscribe(self, application_server_key: str | None = None) -> dict[str, Any]:
        raise NotImplementedError

    def unsubscribe(self) -> None:
        raise NotImplementedError

    @property
    def endpoint(self) -> str:
        raise NotImplementedError

    @property
    def received(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    def wait_for(self, count: int = 1, timeout: float = 10.0) -> list[dict[str, Any]]:
        raise NotImplementedError

    def deliver(self) -> list[EventReport]:
        raise NotImplementedError

    def click(self, notification: ShownNotification, action: str = "") -> EventReport:
        raise NotImplementedError

    def dismiss(self, notification: ShownNotification) -> EventReport:
        raise NotImplementedError

"""The storage of the fake push service: subscriptions, and messages that wait for their browsers (RFC 8030)."""

from __future__ import annotations

import base64
import secrets
import time
import uuid
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec

MAX_TTL = 30 * 24 * 3600
"""Maximum TTL in seconds, as at Mozilla's push service. Longer TTLs are reduced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """An accepted, encrypted message. `ttl` is in seconds, `received_at` in seconds since 1970."""

    body: bytes
    ttl: int
    urgency: str = "normal"
    topic: str = ""
    received_at: float = field(default_factory=time.time)
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def is_expired(self, now: float) -> bool:
        """Return whether the TTL has passed. A TTL of 0 is handled on arrival (RFC 8030, section 5.2)."""
        return 0 < self.ttl < now - self.received_at


@dataclass(slots=True, kw_only=True)
class Mailbox:
    """One subscription and its waiting messages.

    `token` is the secret part of the endpoint. `id` is the secret part of the subscription's address, which only its
    browser knows. `browser` and `channel` are autopush names, empty for browsers that do not use a WebSocket.
    """

    application_server_key: str = ""
    """The only VAPID public key that may send (base64url without padding); "" allows all (RFC 8292, section 4)."""
    browser: str = ""
    channel: str = ""
    gone: bool = False
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    messages: dict[str, StoredMessage] = field(default_factory=dict)

    def put(self, message: StoredMessage) -> None:
        """Queue a message. It replaces a waiting message with the same topic (RFC 8030, section 5.4)."""
        if message.topic:
            replaced = [waiting.id for waiting in self.messages.values() if waiting.topic == message.topic]
            for message_id in replaced:
                del self.messages[message_id]
        self.messages[message.id] = message

    def waiting(self) -> list[StoredMessage]:
        """Return the queued messages, oldest first. Expired messages are removed."""
        now = time.time()
        self.messages = {key: message for key, message in self.messages.items() if not message.is_expired(now)}
        return list(self.messages.values())

    def close(self) -> None:
        """End the subscription. Its endpoint responds with 410 from now on."""
        self.gone = True
        self.messages.clear()


class Mailboxes:
    """All subscriptions of one push service, including ended ones."""

    def __init__(self) -> None:
        self._by_token: dict[str, Mailbox] = {}
        self._by_id: dict[str, Mailbox] = {}

    def add(self, mailbox: Mailbox) -> Mailbox:
        """Store a new subscription."""
        self._by_token[mailbox.token] = self._by_id[mailbox.id] = mailbox
        return mailbox

    def with_token(self, token: str) -> Mailbox | None:
        """Return the subscription whose endpoint ends with this token, or None."""
        return self._by_token.get(token)

    def with_id(self, mailbox_id: str) -> Mailbox | None:
        """Return the subscription whose own address ends with this id, or None."""
        return self._by_id.get(mailbox_id)

    def of_browser(self, browser: str, channel: str = "") -> list[Mailbox]:
        """Return the live subscriptions of a WebSocket browser, or only that of one channel."""
        return [
            mailbox
            for mailbox in self._by_id.values()
            if mailbox.browser == browser and channel in ("", mailbox.channel) and not mailbox.gone
        ]

    def live(self) -> list[Mailbox]:
        """Return the subscriptions that have not ended."""
        return [mailbox for mailbox in self._by_id.values() if not mailbox.gone]


def new_browser_name() -> str:
    """Return a name for a new browser."""
    return uuid.uuid4().hex


def checked_key(text: str) -> str:
    """Return an application server key without padding, or "" for "". Raises ValueError if it is not a P-256 point."""
    text = text.rstrip("=")
    if text:
        point = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    return text

"""What a push service keeps: subscriptions and the messages that wait for their browsers (RFC 8030)."""

from __future__ import annotations

import base64
import secrets
import time
import uuid
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec

MAX_TTL = 30 * 24 * 3600
"""Longest time a message is kept, in seconds, as at Mozilla's service; a longer TTL is lowered to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """An accepted, still encrypted message. `ttl` in seconds, `received_at` in seconds since the epoch."""

    body: bytes
    ttl: int
    urgency: str = "normal"
    topic: str = ""
    received_at: float = field(default_factory=time.time)
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def is_expired(self, now: float) -> bool:
        """Whether the time to live is over. A TTL of 0 is judged at arrival, not here (RFC 8030, 5.2)."""
        return 0 < self.ttl < now - self.received_at


@dataclass(slots=True, kw_only=True)
class Mailbox:
    """One subscription and its waiting messages.

    `token` is the secret part of the endpoint, `id` that of the subscription's own address, known to its browser
    alone. `browser` and `channel` are the autopush names of a browser that connects by WebSocket; both are empty for
    one that polls.
    """

    application_server_key: str = ""
    """The only VAPID public key allowed to send here, unpadded base64url; "" allows everyone (RFC 8292, 4)."""
    browser: str = ""
    channel: str = ""
    gone: bool = False
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    messages: dict[str, StoredMessage] = field(default_factory=dict)

    def put(self, message: StoredMessage) -> None:
        """Queue a message; it replaces the waiting one of the same topic (RFC 8030, 5.4)."""
        if message.topic:
            replaced = [waiting.id for waiting in self.messages.values() if waiting.topic == message.topic]
            for message_id in replaced:
                del self.messages[message_id]
        self.messages[message.id] = message

    def waiting(self) -> list[StoredMessage]:
        """The queued messages, oldest first; those whose time is over are dropped."""
        now = time.time()
        self.messages = {key: message for key, message in self.messages.items() if not message.is_expired(now)}
        return list(self.messages.values())

    def close(self) -> None:
        """End the subscription: its endpoint answers 410 from now on."""
        self.gone = True
        self.messages.clear()


class Mailboxes:
    """All subscriptions of one push service, ended ones included."""

    def __init__(self) -> None:
        self._by_token: dict[str, Mailbox] = {}
        self._by_id: dict[str, Mailbox] = {}

    def add(self, mailbox: Mailbox) -> Mailbox:
        """Keep a new subscription."""
        self._by_token[mailbox.token] = self._by_id[mailbox.id] = mailbox
        return mailbox

    def with_token(self, token: str) -> Mailbox | None:
        """The subscription whose endpoint ends with this token."""
        return self._by_token.get(token)

    def with_id(self, mailbox_id: str) -> Mailbox | None:
        """The subscription with this address of its own."""
        return self._by_id.get(mailbox_id)

    def of_browser(self, browser: str, channel: str = "") -> list[Mailbox]:
        """The live subscriptions of a browser that connects by WebSocket, or only that of one channel."""
        return [
            mailbox
            for mailbox in self._by_id.values()
            if mailbox.browser == browser and channel in ("", mailbox.channel) and not mailbox.gone
        ]

    def live(self) -> list[Mailbox]:
        """Every subscription that has not ended."""
        return [mailbox for mailbox in self._by_id.values() if not mailbox.gone]


def new_browser_name() -> str:
    """A name for a browser that says hello for the first time."""
    return uuid.uuid4().hex


def checked_key(text: str) -> str:
    """An application server key without padding; "" stays "". Raises ValueError when it is no P-256 point."""
    text = text.rstrip("=")
    if text:
        point = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    return text

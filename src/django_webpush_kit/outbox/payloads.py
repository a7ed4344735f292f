"""Convert an outbox row to a `Message`, and a message to payload bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from django.db.models import IntegerField

from django_webpush_kit.conf import declarative_base_url, kit_settings
from django_webpush_kit.exceptions import PayloadTooLarge
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.options import ROW_OPTIONS, RowOptions
from django_webpush_kit.outbox.links import api_base
from django_webpush_kit.protocol.message import MAX_PAYLOAD, Message, encode_payload
from django_webpush_kit.tokens import identity_text, notification_signer

SHOWN_OPTIONS = frozenset(part.name for part in fields(Message) if part.name in ROW_OPTIONS)
"""The options of a row that become part of its message."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredMessage:
    """The message as stored in an outbox row. Rows of one call may share it, so it must not be changed."""

    title: str
    body: str
    language: str
    data: dict[str, Any]
    options: RowOptions


def build_message(stored: StoredMessage, identity: str) -> Message:
    """Return the message of one row. The default `tag` is the row's identity, so a repeated push replaces itself."""
    shown = {name: value for name, value in stored.options.given.items() if name in SHOWN_OPTIONS}
    shown.setdefault("tag", identity)
    return Message(title=stored.title, body=stored.body, data=stored.data, language=stored.language, **shown)


class PayloadEncoder:
    """Encodes messages with the current settings. Use one encoder per chunk, to read the settings once."""

    def __init__(self) -> None:
        self._templates: dict[StoredMessage, bytes] = {}
        self._budget = min(kit_settings.PAYLOAD_BUDGET, MAX_PAYLOAD)
        self._oversize = kit_settings.OVERSIZE
        self._base_url = declarative_base_url()
        self._api = api_base()
        self._signer = notification_signer()

    def encode(self, message: Message, identity: str) -> bytes:
        """Return the payload. Raises `PayloadTooLarge` if it exceeds the budget and may not be truncated."""
        return self._encode(message, identity, self._signer.sign(identity), self._oversize)

    def encode_stored(self, stored: StoredMessage, identity: str) -> bytes:
        """Return the payload of an unchanged message, as `encode` does. A message that rows share is encoded once."""
        if stored not in self._templates:
            self._templates[stored] = self._template(stored)
        template = self._templates[stored]
        if template and _UNESCAPED.fullmatch(identity):
            token = self._signer.sign(identity)
            payload = template.replace(_IDENTITY, identity.encode()).replace(_TOKEN, token.encode())
            if len(payload) <= self._budget:
                return payload
        return self.encode(build_message(stored, identity), identity)

    def _template(self, stored: StoredMessage) -> bytes:
        """Return the payload with placeholders for identity and token, or b"" if it exceeds the budget."""
        try:
            return self._encode(build_message(stored, _IDENTITY.decode()), _IDENTITY.decode(), _TOKEN.decode(), "error")
        except PayloadTooLarge:
            return b""

    def _encode(self, message: Message, identity: str, token: str, oversize: str) -> bytes:
        worker_links: dict[str, Any] = {}
        if self._base_url:
            worker_links = _direct_links(message)
            message = _counting_clicks(message, f"{self._api}open/{token}") if self._api else message
        envelope = {"id": identity, "token": token}
        if self._api:
            envelope["events"] = f"{self._api}events"
        return encode_payload(
            message,
            envelope=envelope,
            declarative_base_url=self._base_url,
            worker_links=worker_links,
            budget=self._budget,
            oversize="truncate" if oversize == "truncate" else "error",
        )

    def check_size(self, stored: StoredMessage) -> None:
        """Raise `PayloadTooLarge` if a row with this message is too large with the longest possible primary key."""
        self.size_of(stored)

    def size_of(self, stored: StoredMessage) -> int:
        """Return the size in bytes of JSON with the longest possible primary key. Raises `PayloadTooLarge`."""
        longest = _longest_identity()
        return len(self.encode(build_message(stored, longest), longest))

    @property
    def budget(self) -> int:
        """The maximum size of a payload in bytes of JSON."""
        return self._budget


# Placeholders. They are random, so no message contains them.
_IDENTITY = uuid4().hex.encode()
_TOKEN = uuid4().hex.encode()

_UNESCAPED = re.compile(r"[\w.-]+", re.ASCII)
"""Matches identities that JSON does not escape. Primary keys of a swapped model may contain other characters."""


def _longest_identity() -> str:
    """Return an identity of maximum length: primary keys have 19 digits, or 36 characters if they are UUIDs."""
    key = get_notification_model()._meta.pk
    longest = "9" * (19 if isinstance(key, IntegerField) else max(key.max_length or 0, 36))
    return identity_text(longest, UUID(int=0))


def _direct_links(message: Message) -> dict[str, Any]:
    """Return the direct links for service workers, which report clicks and find open pages by URL."""
    actions = {action["action"]: action["url"] for action in message.actions if action.get("url")}
    return {name: links for name, links in (("navigate", message.url), ("actions", actions)) if links}


def _counting_clicks(message: Message, counted: str) -> Message:
    """Return the message with links that record the click and redirect, for declarative push without a worker."""
    actions = [
        {**action, "url": f"{counted}?{urlencode({'action': action['action']})}"} if action.get("url") else action
        for action in message.actions
    ]
    return replace(message, url=counted if message.url else "", actions=actions)

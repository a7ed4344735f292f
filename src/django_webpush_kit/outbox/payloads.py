"""Convert an outbox row to a `Message`, and a message to payload bytes."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import IntegerField

from django_webpush_kit.conf import declarative_base_url, kit_settings
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.options import ROW_OPTIONS, RowOptions
from django_webpush_kit.outbox.links import api_base
from django_webpush_kit.protocol.message import MAX_PAYLOAD, Message, encode_payload
from django_webpush_kit.tokens import NotificationIdentity, notification_signer

SHOWN_OPTIONS = tuple(part.name for part in fields(Message) if part.name in ROW_OPTIONS)
"""The options of a row that become part of its message."""


def build_message(
    *, title: str, body: str, data: dict[str, Any], language: str, options: RowOptions, identity: str
) -> Message:
    """Return the message of one row. The default `tag` is the row's identity, so a repeated push replaces itself."""
    shown = {name: value for name in SHOWN_OPTIONS if (value := getattr(options, name)) is not None}
    shown.setdefault("tag", identity)
    return Message(title=title, body=body, data=data, language=language, **shown)


class PayloadEncoder:
    """Encodes messages with the current settings. Use one encoder per chunk, to read the settings once."""

    def __init__(self) -> None:
        self._budget = min(kit_settings.PAYLOAD_BUDGET, MAX_PAYLOAD)
        self._oversize = kit_settings.OVERSIZE
        self._base_url = declarative_base_url()
        self._api = api_base()
        self._signer = notification_signer()

    def encode(self, message: Message, identity: str) -> bytes:
        """Return the payload. Raises `PayloadTooLarge` if it exceeds the budget and may not be truncated."""
        token = self._signer.sign(identity)
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
            oversize="truncate" if self._oversize == "truncate" else "error",
        )

    def check_size(self, **row: Any) -> None:
        """Raise `PayloadTooLarge` if a row with this content is too large with the longest possible primary key."""
        longest = _longest_identity()
        self.encode(build_message(**row, identity=longest), longest)


def _longest_identity() -> str:
    """Return an identity of maximum length: primary keys have 19 digits, or 36 characters if they are UUIDs."""
    key = get_notification_model()._meta.pk
    longest = "9" * (19 if isinstance(key, IntegerField) else max(key.max_length or 0, 36))
    return str(NotificationIdentity(longest, UUID(int=0)))


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

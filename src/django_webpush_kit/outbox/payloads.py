"""From an outbox row to what goes over the wire: `Message`, then payload bytes."""

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
"""The options of a row that its message shows."""


def build_message(
    *, title: str, body: str, data: dict[str, Any], language: str, options: RowOptions, identity: str
) -> Message:
    """The message of one row. The default `tag` is the row's identity, so that a repeated push replaces itself."""
    shown = {name: value for name in SHOWN_OPTIONS if (value := getattr(options, name)) is not None}
    shown.setdefault("tag", identity)
    return Message(title=title, body=body, data=data, language=language, **shown)


class PayloadEncoder:
    """Encodes messages with the settings as they stand; one per chunk, so that settings are read once."""

    def __init__(self) -> None:
        self._budget = min(kit_settings.PAYLOAD_BUDGET, MAX_PAYLOAD)
        self._oversize = kit_settings.OVERSIZE
        self._base_url = declarative_base_url()
        self._api = api_base()
        self._signer = notification_signer()

    def encode(self, message: Message, identity: str) -> bytes:
        """Payload bytes; `PayloadTooLarge` when they exceed the budget and may not be truncated."""
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
        """Raise `PayloadTooLarge` if a row with this content could not be sent, whatever key it gets."""
        longest = _longest_identity()
        self.encode(build_message(**row, identity=longest), longest)


def _longest_identity() -> str:
    """An identity as long as they get: keys have 19 digits, or 36 characters where your model has UUIDs for keys."""
    key = get_notification_model()._meta.pk
    longest = "9" * (19 if isinstance(key, IntegerField) else max(key.max_length or 0, 36))
    return str(NotificationIdentity(longest, UUID(int=0)))


def _direct_links(message: Message) -> dict[str, Any]:
    """The links for service workers: they report clicks themselves, and find a page that is open by its own URL."""
    actions = {action["action"]: action["url"] for action in message.actions if action.get("url")}
    return {name: links for name, links in (("navigate", message.url), ("actions", actions)) if links}


def _counting_clicks(message: Message, counted: str) -> Message:
    """The message with links that record the click and redirect: a declarative push may open them without a worker."""
    actions = [
        {**action, "url": f"{counted}?{urlencode({'action': action['action']})}"} if action.get("url") else action
        for action in message.actions
    ]
    return replace(message, url=counted if message.url else "", actions=actions)

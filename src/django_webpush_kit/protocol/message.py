"""`Message` -> payload bytes, within the size budget of RFC 8291 (3993 bytes of plaintext)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from django_webpush_kit.exceptions import PayloadTooLarge

MAX_PAYLOAD = 3993
"""4096 bytes of body less 86 of header and 17 of overhead (RFC 8188, RFC 8291)."""

DECLARATIVE_MARK = 8030
"""The value of `web_push` that makes a payload a Declarative Web Push message."""


@dataclass(slots=True, kw_only=True)
class Message:
    """What the browser will show, before it is turned into JSON.

    Mutable on purpose: receivers of `pre_send` may change it. `url` and action URLs are what a click opens: a
    same-origin path or an https URL. `data` is the host's own and reaches its page untouched.
    """

    title: str
    body: str = ""
    url: str = ""
    icon: str = ""
    badge: str = ""
    image: str = ""
    tag: str = ""
    actions: list[dict[str, str]] = field(default_factory=list)
    silent: bool | None = None
    require_interaction: bool = False
    renotify: bool = False
    vibrate: list[int] = field(default_factory=list)
    app_badge: int | None = None
    language: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    def notification(self) -> dict[str, Any]:
        """The `notification` member of the payload: the names of the Notifications API, empty ones left out."""
        members: dict[str, Any] = {
            "title": self.title,
            "body": self.body,
            "navigate": self.url,
            "icon": self.icon,
            "badge": self.badge,
            "image": self.image,
            "tag": self.tag,
            "lang": self.language,
            "silent": self.silent,
            "requireInteraction": self.require_interaction,
            "renotify": self.renotify,
            "vibrate": self.vibrate,
            "actions": [
                {"navigate" if key == "url" else key: value for key, value in action.items() if value}
                for action in self.actions
            ],
            "data": self.data,
        }
        return {
            name: value
            for name, value in members.items()
            if value or name == "title" or value == 0 and value is not False
        }


def encode_payload(
    message: Message,
    *,
    envelope: Mapping[str, Any],
    declarative_base_url: str = "",
    budget: int = MAX_PAYLOAD,
    oversize: Literal["error", "truncate"] = "error",
) -> bytes:
    raise NotImplementedError

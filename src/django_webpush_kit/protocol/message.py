"""Encode a `Message` as the JSON payload, within the size limit of RFC 8291 (3993 bytes of plaintext)."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal, TypeAlias
from urllib.parse import urljoin

from django_webpush_kit.exceptions import PayloadTooLarge

MAX_PAYLOAD = 3993
"""Bytes: a body of 4096 minus 86 for the header and 17 for delimiter and tag (RFC 8188, RFC 8291)."""

DECLARATIVE_MARK = 8030
"""The value of the member `web_push` in Declarative Web Push messages."""


def member(name: str, typescript: str, default: Any = "", *, to_json: Callable[[Any], Any] | None = None) -> Any:
    """Return a dataclass field that becomes a member of `notification` in the payload, unless it is empty.

    `name` and `typescript` are name and type in the Notifications API. `to_json` converts the value to JSON.
    """
    metadata = {"name": name, "typescript": typescript, "to_json": to_json}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _payload_actions(actions: list[dict[str, str]]) -> list[dict[str, str]]:
    return [
        {"navigate" if key == "url" else key: value for key, value in action.items() if value} for action in actions
    ]


@dataclass(slots=True, kw_only=True)
class Message:
    """The content of a notification before it is encoded as JSON.

    It is mutable, because receivers of `pre_send` may change it. `url` and the URLs of actions open on click: paths of
    the same origin or https URLs. `data` belongs to your application and reaches its pages unchanged.
    """

    title: str = member("title", "string")
    body: str = member("body", "string")
    url: str = member("navigate", "string")
    icon: str = member("icon", "string")
    badge: str = member("badge", "string")
    image: str = member("image", "string")
    tag: str = member("tag", "string")
    language: str = member("lang", "string")
    dir: str = member("dir", '"auto" | "ltr" | "rtl"')
    silent: bool | None = member("silent", "boolean", None)
    require_interaction: bool = member("requireInteraction", "boolean", False)
    renotify: bool = member("renotify", "boolean", False)
    vibrate: list[int] = member("vibrate", "number[]", list)
    timestamp: datetime | None = member("timestamp", "number", None, to_json=_milliseconds)
    actions: list[dict[str, str]] = member("actions", "PushAction[]", list, to_json=_payload_actions)
    data: dict[str, Any] = member("data", "Record<string, unknown>", dict)
    app_badge: int | None = None

    def notification(self) -> dict[str, Any]:
        """Return the payload's `notification` member: names of the Notifications API, without empty values."""
        names, read_values = _members_of(type(self))  # type: ignore[arg-type]  # classes are hashable
        members: dict[str, Any] = {"title": self.title}
        for (name, to_json), value in zip(names, read_values(self), strict=True):
            if value:
                members[name] = value if to_json is None else to_json(value)
        return members


_Names: TypeAlias = list[tuple[str, Callable[[Any], Any] | None]]


@lru_cache
def _members_of(kind: type[Message]) -> tuple[_Names, Callable[[Message], tuple[Any, ...]]]:
    """Return the member names with their `to_json`, and a function that reads the values in the same order."""
    members = [part for part in fields(kind) if part.metadata]
    names = [(part.metadata["name"], part.metadata["to_json"]) for part in members]
    return names, attrgetter(*(part.name for part in members))


def encode_payload(
    message: Message,
    *,
    envelope: Mapping[str, Any],
    declarative_base_url: str = "",
    worker_links: Mapping[str, Any] | None = None,
    budget: int = MAX_PAYLOAD,
    oversize: Literal["error", "truncate"] = "error",
) -> bytes:
    """Return the payload as compact UTF-8 JSON: the envelope's members, `notification`, and `app_badge` if given.

    With `declarative_base_url`, the payload is also a Declarative Web Push message: it has `web_push` and `mutable`,
    all URLs are absolute, and every action has a URL. `app_badge` and `mutable` are also inside `notification`, where
    early versions of Safari read them. `worker_links` are links that only a service worker opens, instead of the links
    in `notification`.

    If the payload is larger than `budget` bytes (at most 3993), `oversize` "error" raises `PayloadTooLarge`, and
    "truncate" shortens the body, then the title.
    """
    budget = min(budget, MAX_PAYLOAD)
    notification = message.notification()
    payload: dict[str, Any] = {**envelope, "notification": notification}
    if message.app_badge is not None:
        payload["app_badge"] = message.app_badge
    if declarative_base_url:
        payload = {"web_push": DECLARATIVE_MARK, **payload, "mutable": True}
        notification["mutable"] = True
        if message.app_badge is not None:
            notification["app_badge"] = message.app_badge
        # For a declarative push, the service worker may see only `notification`, not the other members.
        notification["data"] = {**notification.get("data", {}), "webpush_kit": {**envelope, **(worker_links or {})}}
        _make_absolute(notification, declarative_base_url)
    encoded = _encode(payload)
    if oversize == "truncate":
        for member in ("body", "title"):
            if len(encoded) > budget and member in notification:
                room = budget - len(encoded) + len(_encode(notification[member]))
                notification[member] = _shorten(notification[member], room)
                encoded = _encode(payload)
    if len(encoded) > budget:
        raise PayloadTooLarge(
            f"The payload is {len(encoded)} bytes of JSON, {len(encoded) - budget} above the budget of {budget}: "
            "shorten body, data or URLs.",
            size=len(encoded),
        )
    return encoded


_URL_MEMBERS = ("icon", "badge", "image")

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _encode(value: Any) -> bytes:
    # UTF-8 cannot encode a lone surrogate; replace it with "?" instead of failing at delivery.
    return _encoder.encode(value).encode("utf-8", "replace")


def _make_absolute(notification: dict[str, Any], base_url: str) -> None:
    """Make the URLs of a notification absolute, in place. Declarative Web Push requires `navigate` for each action."""
    base = base_url.rstrip("/") + "/"
    notification["navigate"] = urljoin(base, notification.get("navigate", ""))
    for member in _URL_MEMBERS:
        if member in notification:
            notification[member] = urljoin(base, notification[member])
    for action in notification.get("actions", ()):
        action["navigate"] = urljoin(base, action.get("navigate") or notification["navigate"])
        if "icon" in action:
            action["icon"] = urljoin(base, action["icon"])


def _shorten(text: str, room: int) -> str:
    """Return the longest prefix of `text` that fits, with an ellipsis, in `room` bytes of JSON, or ""."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if len(_encode(text[:middle] + "…")) <= room:
            low = middle
        else:
            high = middle - 1
    while low and not _may_cut(text, low):
        low -= 1
    kept = text[:low].rstrip()
    return f"{kept}…" if kept else ""


_JOINER = "\u200d"


def _may_cut(text: str, position: int) -> bool:
    """Return whether `position` is between two user-perceived characters, for most scripts and emoji."""
    before, after = text[position - 1], text[position]
    if _JOINER in (before, after) or unicodedata.category(after).startswith("M"):
        return False
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return False
    if after in _REGIONAL:
        flags = len(text[:position]) - len(text[:position].rstrip(_REGIONAL))
        return flags % 2 == 0
    return True


_REGIONAL = "".join(chr(code) for code in range(0x1F1E6, 0x1F200))

"""Subscriptions as browsers hand them out, and the message they all get."""

from __future__ import annotations

import base64
import json
import os
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TITLE = "Your order has shipped"
BODY = "It will be with you soon. " * 5
PAYLOAD_BYTES = 350

DISTINCT_KEYS = 200
"""So many browsers have keys of their own; nothing is kept per key that would make the others cheaper."""


def payload() -> str:
    """The message as the other libraries send it: JSON of the length that this library's has."""
    message = {"title": TITLE, "body": BODY, "url": "/orders/1"}
    return json.dumps({**message, "padding": "x" * (PAYLOAD_BYTES - len(json.dumps({**message, "padding": ""})))})


def endpoint(port: int, number: int) -> str:
    """An endpoint as long as those of FCM."""
    return f"https://localhost:{port}/fcm/send/{number:010}:APA91b{'x' * 120}"


def keys(number: int) -> dict[str, str]:
    """The keys of a browser: {"p256dh", "auth"}."""
    return _all_keys()[number % DISTINCT_KEYS]


def subscription(port: int, number: int) -> dict[str, Any]:
    """A subscription as a browser serialises it."""
    return {"endpoint": endpoint(port, number), "keys": keys(number)}


@cache
def _all_keys() -> list[dict[str, str]]:
    points = (
        ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        for _ in range(DISTINCT_KEYS)
    )
    return [{"p256dh": _text(point), "auth": _text(os.urandom(16))} for point in points]


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

"""A small application server: signs and encrypts with the library's protocol, POSTs with the standard library."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from django_webpush_kit.protocol.encryption import encrypt
from django_webpush_kit.protocol.vapid import VapidKey, VapidSigner


class Sender:
    """Holds a VAPID key and sends JSON to subscriptions."""

    def __init__(self) -> None:
        key = VapidKey.generate()
        self.public_key = key.public_key
        self._signer = VapidSigner(key, "mailto:tests@example.com")

    def send(self, subscription: dict[str, Any], message: Any, *, address: str = "", **headers: str) -> int:
        """POST one message and return the status. `address` is where the endpoint is really served, if elsewhere."""
        parts = urlsplit(address or subscription["endpoint"])
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=20)
        try:
            connection.request(
                "POST",
                parts.path,
                encrypt(json.dumps(message).encode(), **subscription["keys"]),
                {
                    "TTL": "60",
                    "Content-Encoding": "aes128gcm",
                    "Authorization": self._signer.authorization(subscription["endpoint"]),
                    **headers,
                },
            )
            return connection.getresponse().status
        finally:
            connection.close()

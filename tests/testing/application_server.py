"""A small application server: the library's protocol signs and encrypts, the standard library POSTs."""

from __future__ import annotations

import json
import ssl
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from django_webpush_kit.protocol.encryption import encrypt
from django_webpush_kit.protocol.vapid import VapidKey, VapidSigner


class ApplicationServer:
    """Holds a VAPID key and sends JSON to subscriptions."""

    def __init__(self, *, ca_bundle: str = "") -> None:
        key = VapidKey.generate()
        self.public_key = key.public_key
        self.signer = VapidSigner(key, "mailto:tests@example.com")
        self._context = ssl.create_default_context(cafile=ca_bundle) if ca_bundle else None

    def send(self, subscription: dict[str, Any], message: Any, *, address: str = "", **headers: str | None) -> int:
        """Encrypt and POST one message and return the status.

        `address` is where the endpoint is really served, if elsewhere. `headers` are added, or left out when None; an
        underscore in a name stands for a hyphen.
        """
        body = encrypt(json.dumps(message).encode(), **subscription["keys"])
        return self.post(subscription["endpoint"], body, address=address, **headers)

    def post(self, endpoint: str, body: bytes, *, address: str = "", **headers: str | None) -> int:
        """POST a body as it is; else like `send`."""
        standard = {
            "TTL": "60",
            "Content-Encoding": "aes128gcm",
            "Authorization": self.signer.authorization(endpoint),
        }
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        parts = urlsplit(address or endpoint)
        connection = (
            HTTPConnection(parts.hostname or "", parts.port, timeout=20)
            if self._context is None
            else HTTPSConnection(parts.hostname or "", parts.port, timeout=20, context=self._context)
        )
        try:
            chosen = {name: value for name, value in {**standard, **changed}.items() if value is not None}
            connection.request("POST", parts.path, body, chosen)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

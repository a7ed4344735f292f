"""VAPID keys and tokens (RFC 8292)."""

from __future__ import annotations

import binascii
import hashlib
import json
import re
import threading
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from os import PathLike
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from django_webpush_kit.protocol.endpoints import Endpoint
from django_webpush_kit.protocol.private_keys import read_private_key

TOKEN_LIFETIME = 12 * 3600
"""Seconds. Push services refuse tokens that are valid for more than 24 hours."""

MAX_TOKEN_LIFETIME = 24 * 3600


class VapidKey:
    """A VAPID key pair. Create it with `VapidKey.load(...)` or `VapidKey.generate()`. Its repr hides the private key.

    Browsers subscribe with `public_key`, 87 characters of base64url. `key_id` is a short name that may be stored and
    shown.
    """

    __slots__ = ("_private_key", "key_id", "public_key")

    def __init__(self, private_key: ec.EllipticCurvePrivateKey) -> None:
        point = private_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self._private_key = private_key
        self.public_key = _base64url(point)
        self.key_id = _base64url(hashlib.sha256(point).digest())[:16]

    @classmethod
    def generate(cls) -> VapidKey:
        """Generate a new key pair."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, text_or_path: str | PathLike[str]) -> VapidKey:
        """Read a private key from text in any common format, or from the file with this name.

        See `private_keys.read_private_key` for the formats. Raises ValueError, also for a missing file. The error text
        never contains the key.
        """
        return cls(read_private_key(text_or_path))

    def __repr__(self) -> str:
        return f"<VapidKey {self.key_id}>"

    def __reduce__(self) -> str:
        raise TypeError("A VAPID key cannot be pickled: it must not reach a queue or a cache.")

    def pem(self) -> str:
        """Return the private key as PKCS #8 PEM text."""
        return self._private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def encoded_private_key(self) -> str:
        """Return the private key as one line for an environment variable: base64url of the PEM text."""
        return _base64url(self.pem().encode())

    def sign(self, claims: dict[str, Any]) -> str:
        """Return the claims as a JWT signed with ES256 (RFC 7515, RFC 7518)."""
        signed = f"{_JWT_HEADER}.{_base64url(json.dumps(claims, separators=(',', ':')).encode())}"
        r, s = decode_dss_signature(self._private_key.sign(signed.encode(), _ES256))
        return f"{signed}.{_base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class VapidSigner:
    """Creates `Authorization` values. One token per audience is reused for half of its `lifetime` (seconds).

    Safe to share between threads. Raises ValueError for a subject or lifetime that push services refuse.
    """

    def __init__(self, key: VapidKey, subject: str, lifetime: int = TOKEN_LIFETIME) -> None:
        if not 2 * 3600 <= lifetime < MAX_TOKEN_LIFETIME:
            raise ValueError("The lifetime of VAPID tokens must be at least 2 and less than 24 hours.")
        self.key = key
        self.subject = check_subject(subject)
        self.lifetime = lifetime
        self._values: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def authorization(self, endpoint: str | Endpoint, now: float | None = None) -> str:
        """Return the `Authorization` value for this endpoint, "vapid t=..., k=...". `now` is in seconds since 1970.

        Raises `InvalidSubscription` for a malformed URL.
        """
        to = (endpoint if isinstance(endpoint, Endpoint) else Endpoint.parse(endpoint)).origin
        now = time.time() if now is None else now
        with self._lock:
            issued, value = self._values.get(to, (0.0, ""))
            # The clock was set back: a token from the future might expire in more than 24 hours.
            if not value or not issued - _CLOCK_TOLERANCE <= now < issued + self.lifetime / 2:
                value = self._sign(to, now)
                self._remember(to, now, value)
        return value

    def _sign(self, to: str, now: float) -> str:
        token = self.key.sign({"aud": to, "exp": int(now) + self.lifetime, "sub": self.subject})
        return f"vapid t={token}, k={self.key.public_key}"

    def _remember(self, to: str, now: float, value: str) -> None:
        # In open mode, visitors choose the audiences, so the size of the cache is limited.
        self._values.pop(to, None)
        if len(self._values) >= _MAX_AUDIENCES:
            del self._values[next(iter(self._values))]
        self._values[to] = (now, value)


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A verified `Authorization` value: the claims, and the public key (base64url) that signed them."""

    claims: dict[str, Any]
    public_key: str


def generate_vapid_keys() -> dict[str, str]:
    """Return a new key pair, `{"private_key", "public_key"}`: PEM and point, both in base64url without padding."""
    key = VapidKey.generate()
    return {"private_key": key.encoded_private_key(), "public_key": key.public_key}


def check_subject(subject: str) -> str:
    """Return the contact address for push services: a `mailto:` address or an https URL.

    Raises ValueError for other values, and for `localhost`, which Apple refuses.
    """
    if not isinstance(subject, str) or not subject.isascii() or not subject.isprintable() or " " in subject:
        raise ValueError("The VAPID subject must be a mailto: address or an https: URL without spaces.")
    if subject.startswith("mailto:"):
        user, _, host = subject[len("mailto:") :].rpartition("@")
        if not user or not re.fullmatch(r"[A-Za-z0-9.-]+", host) or re.search(r"[<>,;:\"]", user):
            raise ValueError('The VAPID subject must have the form "mailto:ops@example.com".')
    elif subject.startswith("https://"):
        host = urlsplit(subject).hostname or ""
    else:
        raise ValueError("The VAPID subject must start with mailto: or https://.")
    host = host.lower().rstrip(".")
    if not host or host == "localhost" or host.endswith(".localhost"):
        raise ValueError("The VAPID subject must have a public host, because push services refuse localhost.")
    return subject


def verify_authorization(header: str, *, audience: str, now: float) -> VerifiedToken:
    """Verify an `Authorization` value as strictly as push services do. Raises ValueError with the reason."""
    match = _AUTHORIZATION.fullmatch(header)
    if match is None:
        raise ValueError('the header must have the form "vapid t=..., k=..."')
    token, public_key = match.group("token"), match.group("key")
    claims = _verified_claims(token, public_key)
    if claims.get("aud") != audience:
        raise ValueError("the token is for another audience")
    expires = claims.get("exp")
    if not isinstance(expires, (int, float)) or not now < expires <= now + MAX_TOKEN_LIFETIME:
        raise ValueError("the token has no expiry, is expired or lives longer than 24 hours")
    check_subject(claims.get("sub", ""))
    return VerifiedToken(claims, public_key)


_ES256 = ec.ECDSA(hashes.SHA256())
_CLOCK_TOLERANCE = 300
_MAX_AUDIENCES = 1024
_AUTHORIZATION = re.compile(
    r"vapid +t=(?P<token>[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+) *, *k=(?P<key>[A-Za-z0-9_-]{87})"
)


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


_JWT_HEADER = _base64url(b'{"typ":"JWT","alg":"ES256"}')


def _from_base64(text: str) -> bytes:
    return binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "==")


def _verified_claims(token: str, public_key: str) -> dict[str, Any]:
    signed, _, encoded_signature = token.rpartition(".")
    try:
        header, claims = (json.loads(_from_base64(part)) for part in signed.split("."))
        signature = _from_base64(encoded_signature)
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _from_base64(public_key))
    except ValueError:
        raise ValueError("the token or its key is malformed") from None
    if not isinstance(header, dict) or not isinstance(claims, dict) or header.get("alg") != "ES256":
        raise ValueError("the token is not a JWT signed with ES256")
    if len(signature) != 64:
        raise ValueError("the token's signature is not 64 bytes long")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        point.verify(encode_dss_signature(r, s), signed.encode(), _ES256)
    except InvalidSignature:
        raise ValueError("the token's signature does not match its key") from None
    return claims

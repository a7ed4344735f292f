"""Encrypt and decrypt Web Push messages: RFC 8291 with the `aes128gcm` encoding of RFC 8188."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field
from hmac import digest
from os import urandom

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from django_webpush_kit.exceptions import InvalidSubscription, PayloadTooLarge

RECORD_SIZE = 4096
"""Size of the only record in bytes: the maximum that every push service must accept (RFC 8030, section 7.2)."""

HEADER_LENGTH = 86
"""Bytes: salt (16), record size (4), length of the key id (1), key id: the sender's public key (65)."""

MAX_PLAINTEXT = RECORD_SIZE - HEADER_LENGTH - 17
"""3993 bytes: the body without its header, the delimiter byte and the tag (16)."""


@dataclass(frozen=True, slots=True)
class SubscriptionKeys:
    """The validated keys of a subscription: the browser's public key, its 65-byte point, and the 16-byte secret."""

    public_key: ec.EllipticCurvePublicKey = field(repr=False)
    p256dh: bytes = field(repr=False)
    auth: bytes = field(repr=False)


def encrypt(
    payload: bytes,
    p256dh: str,
    auth: str,
    *,
    private_key: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """Encrypt `payload` for the browser with these base64url keys, and return the complete request body.

    Every message gets its own key pair and salt; `private_key` and `salt` are only for known-answer tests. Raises
    `InvalidSubscription` for invalid keys and `PayloadTooLarge` above 3993 bytes.
    """
    if len(payload) > MAX_PLAINTEXT:
        raise PayloadTooLarge(f"The payload is {len(payload)} bytes; encryption leaves room for {MAX_PLAINTEXT}.")
    keys = parse_keys(p256dh, auth)
    private_key = private_key or ec.generate_private_key(_CURVE)
    salt = salt or urandom(16)
    sender = private_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    shared = private_key.exchange(_ECDH, keys.public_key)
    key, nonce = _derive(shared, keys.auth, keys.p256dh, sender, salt)
    header = salt + _SIZES + sender
    return header + AESGCM(key).encrypt(nonce, payload + b"\x02", None)


def decrypt(body: bytes, private_key: ec.EllipticCurvePrivateKey, auth_secret: bytes) -> bytes:
    """Decrypt a request body as strictly as browsers do. Raises ValueError with the reason."""
    if len(body) > RECORD_SIZE:
        raise ValueError(f"the body is {len(body)} bytes, above {RECORD_SIZE}")
    if len(body) < HEADER_LENGTH + 17:
        raise ValueError("the body is shorter than a header and one record")
    record_size = int.from_bytes(body[16:20], "big")
    if record_size < 18 or len(body) - HEADER_LENGTH > record_size:
        raise ValueError("the body is not exactly one record of the announced size")
    if body[20] != 65:
        raise ValueError("the key id is not an uncompressed P-256 point")
    salt, sender = body[:16], body[21:HEADER_LENGTH]
    try:
        sender_key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, sender)
    except ValueError:
        raise ValueError("the key id is not a point of P-256") from None
    receiver = private_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    shared = private_key.exchange(_ECDH, sender_key)
    key, nonce = _derive(shared, auth_secret, receiver, sender, salt)
    try:
        padded = AESGCM(key).decrypt(nonce, body[HEADER_LENGTH:], None)
    except InvalidTag:
        raise ValueError("the record does not decrypt with this subscription's keys") from None
    payload = padded.rstrip(b"\x00")
    if not payload.endswith(b"\x02"):
        raise ValueError("the record lacks the last record's delimiter")
    return payload[:-1]


def parse_keys(p256dh: str, auth: str) -> SubscriptionKeys:
    """Parse the keys of a subscription: base64url or standard base64, with or without padding.

    Raises `InvalidSubscription` with the `field` "p256dh" or "auth" for text that is not base64, a wrong length, and a
    point that is not on the curve P-256.
    """
    point, secret = decode_keys(p256dh, auth)
    try:
        public_key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point)
    except ValueError:
        raise InvalidSubscription("p256dh is not a point of the curve P-256.", field="p256dh") from None
    return SubscriptionKeys(public_key, point, secret)


def decode_keys(p256dh: str, auth: str) -> tuple[bytes, bytes]:
    """Decode the keys as `parse_keys` does, without checking that the point is on the curve."""
    point = _decode(p256dh, "p256dh")
    if len(point) != 65 or point[0] != 4:
        raise InvalidSubscription("p256dh must be an uncompressed P-256 point of 65 bytes.", field="p256dh")
    secret = _decode(auth, "auth")
    if len(secret) != 16:
        raise InvalidSubscription("auth must be 16 bytes.", field="auth")
    return point, secret


_CURVE = ec.SECP256R1()
_ECDH = ec.ECDH()
_SIZES = RECORD_SIZE.to_bytes(4, "big") + b"\x41"
_BASE64 = re.compile(r"[A-Za-z0-9_+/-]+={0,2}")


def _decode(text: str, field: str) -> bytes:
    if isinstance(text, str) and _BASE64.fullmatch(text):
        try:
            return binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "==")
        except binascii.Error:
            pass
    raise InvalidSubscription(f"{field} must be base64url text.", field=field)


def _derive(shared: bytes, auth: bytes, receiver: bytes, sender: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Return the content key and the nonce (RFC 8291, section 3.4): HKDF, written as one HMAC per step."""
    info = b"WebPush: info\x00" + receiver + sender + b"\x01"
    input_key = digest(digest(auth, shared, "sha256"), info, "sha256")
    key = digest(salt, input_key, "sha256")
    content_key = digest(key, b"Content-Encoding: aes128gcm\x00\x01", "sha256")[:16]
    return content_key, digest(key, b"Content-Encoding: nonce\x00\x01", "sha256")[:12]

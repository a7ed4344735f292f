"""The rules of a strict push service for push messages (RFC 8030, 8188, 8291, 8292)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_webpush_kit.protocol.vapid import verify_authorization

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BODY = 4096
"""Maximum size of an encrypted message in bytes: the size every push service must accept (RFC 8030, section 7.2)."""

_URGENCIES = ("very-low", "low", "normal", "high")
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
_DIGITS = re.compile(r"[0-9]{1,10}")

# aes128gcm: 16 bytes salt, 4 record size, 1 key length, 65 key; then at least a delimiter and a 16 byte tag
_HEADER = 86
_OVERHEAD = 17


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message is refused: the HTTP status, and an explanation for debugging."""

    status: int
    reason: str


def refusal_of(
    headers: Mapping[str, str], body: bytes, *, application_server_key: str, audience: str, now: float
) -> Refusal | None:
    """Return the first rule that the message breaks, or None.

    `headers` must be case-insensitive or use the spelling of the RFCs. `audience` is the origin of the push service,
    and `now` is in seconds since 1970.
    """
    return (
        _credentials_refusal(headers, application_server_key, audience, now)
        or _header_refusal(headers)
        or _body_refusal(headers, body)
    )


def _credentials_refusal(
    headers: Mapping[str, str], application_server_key: str, audience: str, now: float
) -> Refusal | None:
    authorization = headers.get("Authorization")
    if authorization is None:
        if not application_server_key:
            return None
        return Refusal(401, "The subscription is bound to a VAPID key: an Authorization header is required.")
    try:
        verified = verify_authorization(authorization, audience=audience, now=now)
    except ValueError as error:
        return Refusal(401, str(error))
    if application_server_key not in ("", verified.public_key):
        return Refusal(403, "The VAPID key is not the one that the subscription was created with.")
    return None


def _header_refusal(headers: Mapping[str, str]) -> Refusal | None:
    if not _DIGITS.fullmatch(headers.get("TTL", "")):
        return Refusal(400, "The TTL header is missing or not a number of seconds.")
    if headers.get("Urgency", "normal") not in _URGENCIES:
        return Refusal(400, f"Urgency must be one of {', '.join(_URGENCIES)}.")
    if "Topic" in headers and not _TOPIC.fullmatch(headers["Topic"]):
        return Refusal(400, "Topic must be 1 to 32 characters of the base64url alphabet.")
    return None


def _body_refusal(headers: Mapping[str, str], body: bytes) -> Refusal | None:
    if len(body) > MAX_BODY:
        return Refusal(413, f"The body has {len(body)} bytes, more than the maximum of {MAX_BODY}.")
    if headers.get("Content-Encoding") != "aes128gcm":
        return Refusal(400, "Content-Encoding must be aes128gcm.")
    if len(body) < _HEADER + _OVERHEAD or body[20] != 65 or body[21] != 4:
        return Refusal(400, "The body is not an aes128gcm message with an uncompressed P-256 key in its header.")
    record_size = int.from_bytes(body[16:20], "big")
    if record_size < len(body) - _HEADER:
        return Refusal(400, "A push message must be a single record: the record size is below the content's.")
    return None

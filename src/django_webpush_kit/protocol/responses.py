"""Classify the responses of push services, and build request headers for each push service.

Only this module interprets HTTP status codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache

MAX_RETRY_AFTER = 24 * 3600.0
"""Seconds. Longer values of Retry-After are shortened, because they are usually mistakes of the push service."""

MAX_TTL = 2419200
"""Seconds (28 days): the limit of FCM."""

MAX_TTL_ELSEWHERE = 30 * 24 * 3600
"""Seconds (30 days): the limit of the other push services."""

URGENCIES = ("very-low", "low", "normal", "high")
"""RFC 8030, section 5.3."""

DEFAULT_URGENCY = "normal"

GONE_STATUSES = (404, 410)
"""HTTP statuses by which push services report that a subscription has ended."""


NO_SUBSCRIBER_STATUS = 507
"""HTTP status by which ntfy reports that nobody listens to a topic. All others of the same server may work."""


class Outcome(str, Enum):
    """The outcome of one request, normalized for all push services."""

    ACCEPTED = "accepted"
    GONE = "gone"
    CREDENTIALS = "credentials"
    TOO_LARGE = "too_large"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Answer:
    """A classified response. `retry_after` is in seconds. `reason` is a short text that never quotes the response."""

    outcome: Outcome
    retry_after: float | None = None
    reason: str = ""


class TransportError(str, Enum):
    """Why a transport got no response: the values of `PushResponse.error`."""

    INVALID_ENDPOINT = "invalid endpoint"
    INVALID_KEYS = "invalid keys"
    INVALID_REQUEST = "invalid request"
    ADDRESS_REFUSED = "address refused"
    DNS = "name not resolved"
    CONNECT = "connection failed"
    TLS = "TLS failed"
    TIMEOUT = "timed out"
    RESET = "connection lost"
    PROTOCOL = "malformed reply"
    INTERNAL = "internal error"


READ_HEADERS = frozenset({"retry-after", "x-wns-status", "x-wns-notificationstatus", "x-wns-continue-after"})
"""The response headers that `classify` reads, in lower case. Transports drop all others."""


def classify(
    *,
    push_service: str,
    status: int | None,
    headers: Mapping[str, str],
    body: bytes,
    error: str,
    now: float,
) -> Answer:
    """Classify a response. Without a response, `status` is None and `error` is a value of `TransportError`.

    `headers` have lower-case names. `now`, in seconds since 1970, is used if Retry-After is a date.
    """
    if status is None:
        outcome = Outcome.REJECTED if error in _PERMANENT_ERRORS else Outcome.UNAVAILABLE
        return Answer(outcome, None, error or "no answer")
    if 200 <= status < 300:
        return _success(status, headers, now)
    retry_after = _retry_after(headers, now)
    reason = f"HTTP {status}"
    if status == 400:
        return _bad_request(body)
    if 300 <= status < 400:
        return Answer(Outcome.REJECTED, None, f"{reason} redirect")
    if status in (401, 403):
        return Answer(Outcome.CREDENTIALS, retry_after, _credentials_fault(body) or reason)
    if status in _BY_STATUS:
        return Answer(_BY_STATUS[status], retry_after, reason)
    return Answer(Outcome.UNAVAILABLE if status >= 500 else Outcome.REJECTED, retry_after, reason)


def parse_retry_after(value: str, now: float) -> float | None:
    """Parse a Retry-After value (RFC 9110, section 10.2.3): seconds or an HTTP date. Returns seconds from `now`.

    The result is between 0 and `MAX_RETRY_AFTER`, or None for an invalid value.
    """
    value = value.strip()
    if re.fullmatch(r"[0-9]+", value):
        return MAX_RETRY_AFTER if len(value) > 6 else min(float(value), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return min(max(moment.timestamp() - now, 0.0), MAX_RETRY_AFTER)


def request_headers(push_service: str, ttl: int, urgency: str = DEFAULT_URGENCY, topic: str = "") -> dict[str, str]:
    """Return the headers of a push request for this push service, without `Authorization`.

    Raises ValueError for an urgency or a topic that RFC 8030 does not allow. A `ttl` out of range is clamped.
    """
    if urgency not in URGENCIES:
        raise ValueError(f"The urgency must be one of {', '.join(URGENCIES)}.")
    if topic and not _TOPIC.fullmatch(topic):
        raise ValueError("A topic must be at most 32 characters of base64url.")
    shortest = 1 if push_service == _APPLE else 0
    longest = _MAX_TTLS.get(push_service, MAX_TTL_ELSEWHERE)
    ttl = min(max(int(ttl), shortest), longest)
    headers = {
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "TTL": str(ttl),
        "Urgency": urgency,
    }
    if topic:
        # Apple refuses topics that are not valid base64 (observed in production).
        headers["Topic"] = f"{topic}_" if push_service == _APPLE and len(topic) % 4 == 1 else topic
    if push_service == _WNS:
        headers["X-WNS-Cache-Policy"] = "cache" if ttl else "no-cache"
    return headers


_APPLE = "push.apple.com"
_WNS = "notify.windows.com"
_MAX_TTLS = {"fcm.googleapis.com": MAX_TTL, "android.googleapis.com": MAX_TTL, "jmt17.google.com": MAX_TTL}
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")

_BY_STATUS = {
    404: Outcome.GONE,
    406: Outcome.THROTTLED,
    408: Outcome.UNAVAILABLE,
    410: Outcome.GONE,
    413: Outcome.TOO_LARGE,
    421: Outcome.UNAVAILABLE,
    425: Outcome.UNAVAILABLE,
    429: Outcome.THROTTLED,
    503: Outcome.THROTTLED,
}

_PERMANENT_ERRORS = frozenset(
    {TransportError.INVALID_ENDPOINT, TransportError.INVALID_KEYS, TransportError.INVALID_REQUEST}
)


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    waits = [
        wait
        for name in ("retry-after", "x-wns-continue-after")
        if name in headers and (wait := parse_retry_after(headers[name], now)) is not None
    ]
    return max(waits, default=None)


@lru_cache(maxsize=100)
@lru_cache(maxsize=100)
def _accepted(status: int) -> Answer:
    return Answer(Outcome.ACCEPTED, None, f"HTTP {status}")


def _success(status: int, headers: Mapping[str, str], now: float) -> Answer:
    if not headers:
        return _accepted(status)
    wns_status = (headers.get("x-wns-status") or headers.get("x-wns-notificationstatus") or "").lower()
    if wns_status == "dropped":
        return Answer(Outcome.REJECTED, None, "WNS dropped")
    if wns_status == "channelthrottled":
        # Only this channel is throttled, not the whole push service.
        return Answer(Outcome.UNAVAILABLE, _retry_after(headers, now), "WNS channelthrottled")
    return _accepted(status)


_CREDENTIALS_FAULTS = {
    fault.lower().encode(): fault
    for fault in ("UnauthorizedRegistration", "VapidPkHashMismatch", "BadJwtToken", "MismatchSenderId", "VAPID")
}

_TOO_LARGE_WORDS = (b"too large", b"toolarge", b"too big", b"toobig", b"exceeds", b"exceeded")


def _bad_request(body: bytes) -> Answer:
    fault = _credentials_fault(body)
    if fault:
        return Answer(Outcome.CREDENTIALS, None, fault)
    text = body.lower()
    if any(word in text for word in _TOO_LARGE_WORDS):
        return Answer(Outcome.TOO_LARGE, None, "HTTP 400 too large")
    return Answer(Outcome.REJECTED, None, "HTTP 400")


def _credentials_fault(body: bytes) -> str:
    """Return the first known fault in the response body, in our own spelling."""
    text = body.lower()
    return next((name for fault, name in _CREDENTIALS_FAULTS.items() if fault in text), "")

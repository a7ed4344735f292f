"""What a push service's answer means, and which headers each push service wants.

The one place that knows status codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from enum import Enum

MAX_RETRY_AFTER = 24 * 3600.0
"""Seconds. A longer wait than this is taken for an error of the push service and shortened."""

MAX_TTL = 2419200
"""28 days, FCM's limit; the others allow 30 days."""


class Outcome(str, Enum):
    """What became of one request, the same for all push services."""

    ACCEPTED = "accepted"
    GONE = "gone"
    CREDENTIALS = "credentials"
    TOO_LARGE = "too_large"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer classified. `retry_after` is in seconds; `reason` is our own short word, never reply text."""

    outcome: Outcome
    retry_after: float | None = None
    reason: str = ""


class TransportError(str, Enum):
    """Why a transport has no answer: the values of `PushResponse.error`."""

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
"""The reply headers that `classify` reads, in lower case: a transport needs to keep no other."""


def classify(
    *,
    push_service: str,
    status: int | None,
    headers: Mapping[str, str],
    body: bytes,
    error: str,
    now: float,
) -> Answer:
    """Say what an answer means. `status` is None when there was none: then `error` is a `TransportError` value.

    `headers` have lower-case names, `now` is in seconds since 1970 (for a Retry-After that is a date).
    """
    if status is None:
        outcome = Outcome.REJECTED if error in _PERMANENT_ERRORS else Outcome.UNAVAILABLE
        return Answer(outcome, None, error or "no answer")
    retry_after = _retry_after(headers, now)
    reason = f"HTTP {status}"
    if 200 <= status < 300:
        return _success(headers, retry_after, reason)
    if status == 400:
        return _bad_request(push_service, body)
    if 300 <= status < 400:
        return Answer(Outcome.REJECTED, None, f"{reason} redirect")
    if status in (401, 403):
        return Answer(Outcome.CREDENTIALS, retry_after, _named_credentials_fault(body) or reason)
    if status in _BY_STATUS:
        return Answer(_BY_STATUS[status], retry_after, reason)
    return Answer(Outcome.UNAVAILABLE if status >= 500 else Outcome.REJECTED, retry_after, reason)


def parse_retry_after(value: str, now: float) -> float | None:
    """Read a Retry-After value, seconds or an HTTP date (RFC 9110, section 10.2.3), as seconds from `now`.

    The result is within 0 and `MAX_RETRY_AFTER`; None for anything else.
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


def request_headers(push_service: str, ttl: int, urgency: str = "normal", topic: str = "") -> dict[str, str]:
    """Return the headers of a push request, apart from `Authorization`, as this push service wants them.

    Raises ValueError for an urgency or a topic that RFC 8030 does not know.
    """
    raise NotImplementedError


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


def _success(headers: Mapping[str, str], retry_after: float | None, reason: str) -> Answer:
    raise NotImplementedError


def _bad_request(push_service: str, body: bytes) -> Answer:
    raise NotImplementedError


def _named_credentials_fault(body: bytes) -> str:
    raise NotImplementedError

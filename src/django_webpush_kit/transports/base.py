"""The interface of all transports: they send a `PushRequest` and return a `PushResponse`.

Transports use neither models nor settings, so you can use and test them without a database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django_webpush_kit.protocol.endpoints import Endpoint, EndpointPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRequest:
    """One message for one subscription, not yet encrypted.

    `id` is chosen by the caller and returned in the response. `p256dh` and `auth` are the browser's keys in base64url,
    `payload` is the plaintext, `ttl` is in seconds. `vapid_authorization` is the complete value of the `Authorization`
    header (RFC 8292) for the endpoint's origin. `parsed_endpoint` saves parsing the endpoint again.
    """

    id: Any
    endpoint: str = field(repr=False)
    p256dh: str = field(repr=False)
    auth: str = field(repr=False)
    payload: bytes = field(repr=False)
    ttl: int
    urgency: str = "normal"
    topic: str = ""
    vapid_authorization: str = field(repr=False)
    parsed_endpoint: Endpoint | None = field(default=None, repr=False, compare=False)

    @property
    def target(self) -> str | Endpoint:
        """The parsed endpoint, if it is given and matches `endpoint`; otherwise the text."""
        parsed = self.parsed_endpoint
        return parsed if parsed is not None and parsed.url == self.endpoint else self.endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResponse:
    """The result of one request: either an HTTP `status`, or an `error` if there was no response.

    `error` is a value of `protocol.responses.TransportError`. `headers` contains the headers that `protocol.responses`
    reads, with lower-case names. `body` has at most `MAX_REPLY_BYTES`; it is used to classify the response, never
    stored or logged. A response whose body breaks off still has its `status`. `seconds` is the duration.
    """

    id: Any
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    error: str = ""
    seconds: float = 0.0


MAX_REPLY_BYTES = 4096
"""Maximum size of a response body in bytes. If it is larger, the rest is dropped and the connection closed."""


class Transport:
    """Base of all transports. `TransportClass(**options)` raises TypeError for an unknown option."""

    def __init__(self, *, endpoint_policy: EndpointPolicy | None = None) -> None:
        self.endpoint_policy = endpoint_policy or EndpointPolicy()

    accepts_pauses = False
    """Whether `send` accepts None among the requests, meaning "no request right now, ask again soon"."""

    max_in_flight: int | None = None
    """Maximum number of requests of one `send` in flight. None means no limit."""

    def send(self, requests: Iterable[PushRequest]) -> Iterator[PushResponse]:
        """Send every request and yield one response for each, in completion order.

        Requests are read lazily in the caller's thread, so that only a limited number is in flight. A failed request
        yields a response with an `error` and never raises. Closing the iterator early abandons the requests in
        flight.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close connections and threads. The transport can be used again afterwards."""

"""What every transport takes and gives: `PushRequest` in, `PushResponse` out.

Transports know neither models nor settings: they are usable and testable without a database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django_webpush_kit.protocol.endpoints import Endpoint, EndpointPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRequest:
    """One message for one subscription, not yet encrypted.

    `id` is the caller's: it comes back in the response. `p256dh` and `auth` are base64url text as the browser gave
    them, `payload` the plaintext, `ttl` seconds. `vapid_authorization` is the whole `Authorization` header value
    (RFC 8292) for this endpoint's origin. A caller that has parsed the endpoint hands it over as `parsed_endpoint`.
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
        """The endpoint, parsed if the caller has done so and it still is the same."""
        parsed = self.parsed_endpoint
        return parsed if parsed is not None and parsed.url == self.endpoint else self.endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResponse:
    """What came back for one request: either an HTTP `status`, or an `error` and why no answer was had.

    `error` is a value of `protocol.responses.TransportError`. `headers` have lower-case names and hold only what
    `protocol.responses` reads. `body` is at most `MAX_REPLY_BYTES` long; it is read to classify the answer and never
    stored or logged. Once status and headers have arrived they count, whatever happens to the body.
    """

    id: Any
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    error: str = ""
    seconds: float = 0.0


MAX_REPLY_BYTES = 4096
"""A push service's reply is read up to here; the rest is cut off and the connection closed."""


class Transport:
    """Base of all transports. `TransportClass(**options)`; an unknown option is a TypeError."""

    def __init__(self, *, endpoint_policy: EndpointPolicy | None = None) -> None:
        self.endpoint_policy = endpoint_policy or EndpointPolicy()

    accepts_pauses = False
    """Whether `send` also takes None among the requests: nothing is to be sent at the moment, ask again soon."""

    max_in_flight: int | None = None
    """How many requests of one `send` are sent at a time; None: the transport has no such bound."""

    def send(self, requests: Iterable[PushRequest]) -> Iterator[PushResponse]:
        """Send every request and yield one response for each, in completion order.

        Requests are pulled lazily and in the caller's thread, so that what is in flight stays bounded. One request's
        failure is a response with an `error`, never an exception. Closing the iterator early abandons what is in
        flight.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Give back connections and threads. The transport can be used again afterwards."""

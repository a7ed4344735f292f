"""What the transports that really send have in common: options, the rules for endpoints, the order of the steps."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import certifi
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.protocol.encryption import encrypt
from django_webpush_kit.protocol.endpoints import EndpointPolicy, push_service
from django_webpush_kit.protocol.responses import TransportError, request_headers

from .base import PushRequest, PushResponse, Transport

USER_AGENT = "django-webpush-kit"

GROUP = 64
"""Requests that are made, encrypted and handed to the network together, each step for all of them.

One by one they cost a third more: every request would be a wake-up and a TLS record of its own, and each step would
find the processor's caches full of the others.
"""


class NetworkTransport(Transport, ABC):
    """Base of the transports that send over a network.

    `send` may be called from several threads at a time and works again after `close` and after a fork.

    Options: `ca_bundle`, a file of certificates to trust instead of the system's; `timeout`, seconds for one request
    in all; `max_in_flight`, requests; `proxy`, an http URL. Proxies from the environment are ignored. With a proxy the
    host list decides alone, as the proxy resolves the names, and endpoints that are literal IP addresses are refused.
    """

    default_max_in_flight = 100

    def __init__(
        self,
        *,
        endpoint_policy: EndpointPolicy | None = None,
        ca_bundle: str | PathLike[str] | None = None,
        timeout: float = 30,
        max_in_flight: int | None = None,
        proxy: str | None = None,
    ) -> None:
        super().__init__(endpoint_policy=endpoint_policy)
        self.max_in_flight = self.default_max_in_flight if max_in_flight is None else max_in_flight
        self.timeout = timeout
        self.proxy = proxy or None
        self.ca_bundle = fspath(ca_bundle) if ca_bundle else None
        if self.timeout <= 0:
            raise ImproperlyConfigured("The transport's option 'timeout' must be more than 0 seconds.")
        if self.max_in_flight < 1:
            raise ImproperlyConfigured("The transport's option 'max_in_flight' must be at least 1.")
        if self.ca_bundle and not Path(self.ca_bundle).is_file():
            raise ImproperlyConfigured(f"The transport's option 'ca_bundle' names no file: {self.ca_bundle}")

    def send(self, requests: Iterable[PushRequest]) -> Iterator[PushResponse]:
        """Send every request, at most `max_in_flight` at a time; see `Transport.send`."""
        batch = self.open_batch()
        source = iter(requests)
        size = min(GROUP, max(self.max_in_flight // 4, 1))
        try:
            while True:
                while batch.in_flight + size > self.max_in_flight:
                    yield batch.next_response()
                group = list(islice(source, size))
                if not group:
                    break
                prepared = [self.prepare(request) for request in group]
                ready = [request for request in prepared if isinstance(request, PreparedRequest)]
                batch.in_flight += len(ready)
                batch.submit(ready)
                yield from (request for request in prepared if isinstance(request, PushResponse))
                while batch.has_response():
                    yield batch.next_response()
            while batch.in_flight:
                yield batch.next_response()
        finally:
            batch.end()

    def prepare(self, request: PushRequest) -> PreparedRequest | PushResponse:
        """Check and encrypt one request; what cannot be sent comes back as its response."""
        try:
            endpoint = self.endpoint_policy.check(request.endpoint)
            if endpoint.is_address and (self.proxy or self.endpoint_policy.address_refusal(endpoint.host)):
                return failure(request, TransportError.ADDRESS_REFUSED)
            headers = request_headers(push_service(endpoint.url), request.ttl, request.urgency, request.topic)
            authorization = request.vapid_authorization
            if not authorization.isascii() or not authorization.isprintable():
                return failure(request, TransportError.INVALID_REQUEST)
            headers["Authorization"] = authorization
            headers["User-Agent"] = USER_AGENT
            return PreparedRequest(request.id, endpoint.url, headers, self.encrypt(request))
        except InvalidSubscription as error:
            is_endpoint = error.field == "endpoint"
            return failure(request, TransportError.INVALID_ENDPOINT if is_endpoint else TransportError.INVALID_KEYS)
        except Exception:  # noqa: BLE001 - one malformed request of many must not stop the others
            return failure(request, TransportError.INVALID_REQUEST)

    def encrypt(self, request: PushRequest) -> bytes:
        """Encrypt the payload for the subscription's keys."""
        return encrypt(request.payload, request.p256dh, request.auth)

    @abstractmethod
    def open_batch(self) -> Batch:
        """Return the network's side of one call of `send`."""


class Batch(ABC):
    """What one call of `send` has in flight: the part that each transport does its own way."""

    in_flight = 0
    """How many requests have no response yet, those not submitted included."""

    @abstractmethod
    def submit(self, requests: list[PreparedRequest]) -> None:
        """Start these requests."""

    @abstractmethod
    def has_response(self) -> bool:
        """Whether `next_response` would not wait."""

    @abstractmethod
    def next_response(self) -> PushResponse:
        """Wait for a response; there is exactly one for each request submitted."""

    @abstractmethod
    def end(self) -> None:
        """Give up what is still in flight."""


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request ready for the wire: where to, with which headers and which encrypted body."""

    id: Any
    url: str
    headers: dict[str, str]
    body: bytes


def failure(request: PushRequest | PreparedRequest, error: TransportError, seconds: float = 0.0) -> PushResponse:
    """Return the response for a request that got no answer."""
    return PushResponse(id=request.id, error=error.value, seconds=seconds)


def trusted_certificates(ca_bundle: str | None) -> tuple[str | None, str | None]:
    """Return the file and the directory of trusted certificates: the option's, else Python's own, else certifi's."""
    if ca_bundle:
        return ca_bundle, None
    paths = ssl.get_default_verify_paths()
    if paths.cafile or paths.capath:
        return paths.cafile, paths.capath
    return certifi.where(), None

"""What the transports that really send have in common: options, the rules for endpoints, the order of the steps."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from queue import SimpleQueue

import certifi
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.protocol.encryption import encrypt
from django_webpush_kit.protocol.endpoints import EndpointPolicy, push_service
from django_webpush_kit.protocol.responses import TransportError, request_headers

from .base import PushRequest, PushResponse, Transport

USER_AGENT = "django-webpush-kit"


class NetworkTransport(Transport):
    """Base of the transports that send over a network.

    Encryption happens in the caller's thread, the network's work in a thread of its own: a caller that is busy with
    its database holds up no connection. The thread starts with the first `send` and ends with `close`; after a fork
    the child starts its own. `send` may be called from several threads at a time.

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
        self._lock = threading.Lock()
        self._client: Client | None = None

    def send(self, requests: Iterable[PushRequest]) -> Iterator[PushResponse]:
        """Send every request, at most `max_in_flight` at a time; see `Transport.send`."""
        client = self._running_client()
        batch = Batch()
        ready: Group = []
        group = min(_GROUP, self.max_in_flight)
        try:
            for request in requests:
                prepared = self.prepare(request)
                if isinstance(prepared, PushResponse):
                    yield prepared
                    continue
                if len(ready) == group:
                    client.submit(batch, ready)
                    ready = []
                if batch.in_flight == self.max_in_flight:
                    yield batch.next_response()
                batch.in_flight += 1
                ready.append((request, prepared))
                while batch.has_response():
                    yield batch.next_response()
            client.submit(batch, ready)
            while batch.in_flight:
                yield batch.next_response()
        finally:
            if batch.in_flight:
                client.abandon(batch)

    def close(self) -> None:
        """Close the connections and end the thread."""
        with self._lock:
            client, self._client = self._client, None
        if client:
            _close(client)

    def prepare(self, request: PushRequest) -> PreparedRequest | PushResponse:
        """Check and encrypt one request; what cannot be sent comes back as its response."""
        try:
            endpoint = self.endpoint_policy.check(request.endpoint)
            if self.proxy and endpoint.is_address:
                return failure(request, TransportError.ADDRESS_REFUSED)
            headers = request_headers(push_service(endpoint.url), request.ttl, request.urgency, request.topic)
            authorization = request.vapid_authorization
            if not authorization.isascii() or not authorization.isprintable():
                return failure(request, TransportError.INVALID_REQUEST)
            headers["Authorization"] = authorization
            headers["User-Agent"] = USER_AGENT
            return PreparedRequest(endpoint.url, headers, self.encrypt(request))
        except InvalidSubscription as error:
            is_endpoint = error.field == "endpoint"
            return failure(request, TransportError.INVALID_ENDPOINT if is_endpoint else TransportError.INVALID_KEYS)
        except Exception:  # noqa: BLE001 - one malformed request of many must not stop the others
            return failure(request, TransportError.INVALID_REQUEST)

    def encrypt(self, request: PushRequest) -> bytes:
        """Encrypt the payload for the subscription's keys."""
        return encrypt(request.payload, request.p256dh, request.auth)

    def start_client(self) -> Client:
        """Start the thread that does the network's work."""
        raise NotImplementedError

    def _running_client(self) -> Client:
        with self._lock:
            if self._client is None or self._client.process_id != os.getpid():
                if self._client is not None:
                    _close(self._client)
                self._client = self.start_client()
            return self._client


class Client:
    """The network's side: a thread that posts what is submitted and answers into the request's batch."""

    def __init__(self) -> None:
        self.process_id = os.getpid()

    def submit(self, batch: Batch, group: Group) -> None:
        """Post these requests and give each one's response to the batch, exactly once. Called from any thread."""
        raise NotImplementedError

    def abandon(self, batch: Batch) -> None:
        """Give up the batch's requests; nobody waits for their responses. Called from any thread."""
        raise NotImplementedError

    def close(self) -> None:
        """End the thread."""
        raise NotImplementedError


class Batch:
    """What one call of `send` has in flight, and the responses it has not taken yet."""

    __slots__ = ("_responses", "has_answered", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self._responses: SimpleQueue[PushResponse] = SimpleQueue()
        self.has_answered = self._responses.put

    def has_response(self) -> bool:
        """Whether `next_response` would not wait."""
        return not self._responses.empty()

    def next_response(self) -> PushResponse:
        """Wait for a response."""
        response = self._responses.get()
        self.in_flight -= 1
        return response


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request ready for the wire: where to, with which headers and which encrypted body."""

    url: str
    headers: dict[str, str]
    body: bytes


def failure(request: PushRequest, error: TransportError, seconds: float = 0.0) -> PushResponse:
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


Group = list[tuple[PushRequest, PreparedRequest]]

# Requests handed over one by one cost half as much again: each would wake the thread and make a TLS record of its own.
_GROUP = 32

_inherited: list[Client] = []


def _close(client: Client) -> None:
    if client.process_id == os.getpid():
        client.close()
    else:
        # Inherited over a fork: its thread is not here, and closing its connections would end them for the parent.
        _inherited.append(client)

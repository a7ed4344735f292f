"""Base class of the transports that use the network: options, endpoint checks, encryption, order of steps."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from os import PathLike, fspath
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import certifi
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.protocol.encryption import encrypt
from django_webpush_kit.protocol.endpoints import EndpointPolicy
from django_webpush_kit.protocol.responses import TransportError, request_headers

from .base import PushRequest, PushResponse, Transport

USER_AGENT = "django-webpush-kit"

PAUSE_SECONDS = 0.05
"""Maximum wait for a response before the iterator of requests, which had none, is read again."""


class NetworkTransport(Transport, ABC):
    """Base of the transports that send over a network.

    Several threads may call `send` at the same time. It also works after `close` and after a fork.

    Options: `ca_bundle`, a file of certificates to trust instead of the system's; `timeout`, the total time of one
    request in seconds; `max_in_flight`, the maximum number of concurrent requests of one `send`; `proxy`, "host:port"
    or an http URL. Proxies and certificates from the environment are ignored. With a proxy, only the host list is
    checked, because the proxy resolves the names, and endpoints that are literal IP addresses are refused.
    """

    accepts_pauses = True
    default_max_in_flight = 100

    encrypt_batch = 64
    """Number of requests that are prepared, encrypted and sent together.

    Over HTTP/2, sending them one by one costs a third more CPU time: each request wakes the network code, has a TLS
    record of its own, and loses CPU cache locality. Over HTTP/1.1 a large group leaves connections unused meanwhile.
    """

    idle_seconds = 30.0
    """Connections and threads that are unused for this time are closed. Servers close them after 60 s or more."""

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
        self.max_in_flight: int = self.default_max_in_flight if max_in_flight is None else max_in_flight
        self.timeout = timeout
        self.proxy = Proxy.parse(proxy) if proxy else None
        self.ca_bundle = fspath(ca_bundle) if ca_bundle else None
        if not _is_number(self.timeout) or not 0 < self.timeout < inf:
            raise _bad_option("timeout", "must be a number of seconds greater than 0", self.timeout)
        if not isinstance(self.max_in_flight, int) or self.max_in_flight < 1:
            raise _bad_option("max_in_flight", "must be a whole number of at least 1", self.max_in_flight)
        if self.ca_bundle and not Path(self.ca_bundle).is_file():
            raise _bad_option("ca_bundle", "must be the path of a PEM file", self.ca_bundle)

    def send(self, requests: Iterable[PushRequest | None]) -> Iterator[PushResponse]:
        """Send every request, at most `max_in_flight` at a time; see `Transport.send`."""
        batch = self.open_batch()
        size = self.batch_size
        try:
            for group in _groups(requests, size):
                if group:
                    yield from self._submit(batch, group)
                elif batch.in_flight:
                    batch.wait(PAUSE_SECONDS)
                yield from batch.available_responses()
                yield from batch.responses_until(self.max_in_flight - size)
            yield from batch.responses_until(0)
        finally:
            batch.end()

    @property
    def batch_size(self) -> int:
        """Number of requests to prepare and start together."""
        return min(self.encrypt_batch, max(self.max_in_flight // 4, 1))

    def _submit(self, batch: Batch, requests: list[PushRequest]) -> list[PushResponse]:
        """Start the valid requests, and return error responses for the others."""
        prepared = [self.prepare(request) for request in requests]
        ready = [request for request in prepared if isinstance(request, PreparedRequest)]
        batch.in_flight += len(ready)
        batch.submit(ready)
        return [response for response in prepared if isinstance(response, PushResponse)]

    def prepare(self, request: PushRequest) -> PreparedRequest | PushResponse:
        """Check and encrypt one request. Returns an error response if it is invalid."""
        try:
            endpoint = self.endpoint_policy.check(request.target)
            if endpoint.is_address and (self.proxy or self.endpoint_policy.address_refusal(endpoint.host)):
                return failure(request, TransportError.ADDRESS_REFUSED)
            headers = request_headers(endpoint.push_service, request.ttl, request.urgency, request.topic)
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
        """Return the `Batch` for one call of `send`."""


def _groups(requests: Iterable[PushRequest | None], size: int) -> Iterator[list[PushRequest]]:
    """Yield groups of up to `size` requests. None ends the current group and yields an empty one."""
    group: list[PushRequest] = []
    for request in requests:
        if request is not None:
            group.append(request)
        if group and (request is None or len(group) == size):
            yield group
            group = []
        if request is None:
            yield []
    if group:
        yield group


class Batch(ABC):
    """The requests in flight of one call of `send`. Each transport implements its own."""

    in_flight = 0
    """Number of requests without a response, including those not yet submitted."""

    @abstractmethod
    def submit(self, requests: list[PreparedRequest]) -> None:
        """Start these requests."""

    @abstractmethod
    def has_response(self) -> bool:
        """Return whether `next_response` would return at once."""

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Wait for a response, at most `seconds`."""

    @abstractmethod
    def next_response(self) -> PushResponse:
        """Wait for the next response. There is exactly one for each submitted request."""

    @abstractmethod
    def end(self) -> None:
        """Abandon the requests in flight."""

    def available_responses(self) -> Iterator[PushResponse]:
        """Yield the responses that have arrived."""
        while self.has_response():
            yield self.next_response()

    def responses_until(self, in_flight: int) -> Iterator[PushResponse]:
        """Yield responses until at most `in_flight` requests are in flight."""
        while self.in_flight > in_flight:
            yield self.next_response()


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy: its address and authorization headers."""

    host: str
    port: int
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, value: str) -> Proxy:
        """Parse "host:port" or "http://[user:password@]host:port". Raises ImproperlyConfigured."""
        try:
            parts = urlsplit(value if "://" in value else f"http://{value}")
            host, port = parts.hostname, parts.port
        except (TypeError, ValueError, AttributeError):
            host = port = parts = None
        if parts is None or parts.scheme != "http" or not host or not port or parts.path.strip("/") or parts.query:
            shown = value.rpartition("@")[2] if isinstance(value, str) else value  # without the password
            raise _bad_option("proxy", 'must be "host:port" or an http URL with a port', shown)
        headers = {}
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Proxy-Authorization"] = f"Basic {b64encode(secret.encode()).decode()}"
        return cls(host, port, headers)

    @property
    def url(self) -> str:
        """The proxy's URL, without credentials."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request that is ready to be sent: checked endpoint, headers and encrypted body."""

    id: Any
    url: str
    headers: dict[str, str]
    body: bytes


def failure(request: PushRequest | PreparedRequest, error: TransportError, seconds: float = 0.0) -> PushResponse:
    """Return the error response for this request."""
    return PushResponse(id=request.id, error=error.value, seconds=seconds)


def trusted_certificates(ca_bundle: str | None) -> tuple[str | None, str | None]:
    """Return the file and the directory of trusted certificates: from the option, the system or certifi, in this order.

    The environment variables SSL_CERT_FILE and SSL_CERT_DIR are ignored.
    """
    if ca_bundle:
        return ca_bundle, None
    paths = ssl.get_default_verify_paths()
    file, directory = Path(paths.openssl_cafile), Path(paths.openssl_capath)
    if file.is_file():
        return str(file), None
    if directory.is_dir() and any(directory.iterdir()):
        return None, str(directory)
    return certifi.where(), None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bad_option(name: str, problem: str, value: object) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"The transport's option {name!r} {problem}, not {value!r}.")

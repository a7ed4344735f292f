"""What the transports that really send have in common: options, the rules for endpoints, the request's parts."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

import certifi
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.protocol.encryption import encrypt
from django_webpush_kit.protocol.endpoints import Endpoint, EndpointPolicy, push_service
from django_webpush_kit.protocol.responses import TransportError, request_headers

from .base import PushRequest, PushResponse, Transport

USER_AGENT = "django-webpush-kit"


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request ready for the wire: where to, with which headers and which encrypted body."""

    endpoint: Endpoint
    headers: dict[str, str]
    body: bytes


class NetworkTransport(Transport):
    """Base of the transports that send over a network.

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
            return PreparedRequest(endpoint, headers, self.encrypt(request))
        except InvalidSubscription as error:
            is_endpoint = error.field == "endpoint"
            return failure(request, TransportError.INVALID_ENDPOINT if is_endpoint else TransportError.INVALID_KEYS)
        except Exception:  # noqa: BLE001 - one malformed request of many must not stop the others
            return failure(request, TransportError.INVALID_REQUEST)

    def encrypt(self, request: PushRequest) -> bytes:
        """Encrypt the payload for the subscription's keys."""
        return encrypt(request.payload, request.p256dh, request.auth)


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

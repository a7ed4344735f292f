"""The portable transport: pywebpush encrypts, and an event loop in the caller's thread sends over open connections.

pywebpush's own HTTP code is not used, because it follows redirects and reads responses of any size. Threads that send
were tried: they take three times as long, because they wait for Python's lock while the caller encrypts.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from typing import Any, cast
from urllib.parse import urlsplit

import h11
from pywebpush import WebPusher

from django_webpush_kit.error_reports import log_error
from django_webpush_kit.exceptions import InvalidSubscription, PayloadTooLarge
from django_webpush_kit.protocol.encryption import MAX_PLAINTEXT, decode_keys
from django_webpush_kit.protocol.responses import TransportError

from .base import PushRequest, PushResponse
from .connections import Connection, ConnectionPool, Connector, ExchangeError, Origin, Reply
from .event_loop import EventLoop, Steps
from .network import Batch, NetworkTransport, PreparedRequest, failure, trusted_certificates
from .resolver import Resolver
from .threads import IdleTimer, JobThreads

_logger = logging.getLogger(__name__)


class PyWebPushTransport(NetworkTransport):
    """Sends over HTTP/1.1, with one connection per request in flight. Options: see `NetworkTransport`."""

    default_max_in_flight = 160
    encrypt_batch = 16

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        file, directory = trusted_certificates(self.ca_bundle)
        self.ssl_context = ssl.create_default_context(cafile=file, capath=directory)
        self._sender = _Sender(self)

    def close(self) -> None:
        """Close connections and end threads."""
        sender, self._sender = self._sender, _Sender(self)
        sender.close()

    def encrypt(self, request: PushRequest) -> bytes:
        """Check the lengths of keys and payload, which pywebpush does not do, and encrypt."""
        decode_keys(request.p256dh, request.auth)
        if not 0 < len(request.payload) <= MAX_PLAINTEXT:
            raise PayloadTooLarge(f"The payload is empty or longer than {MAX_PLAINTEXT} bytes.")
        keys = {"p256dh": request.p256dh, "auth": request.auth}
        try:
            encoded = WebPusher({"endpoint": request.endpoint, "keys": keys}).encode(request.payload)
        except ValueError:
            raise InvalidSubscription("p256dh is not a point of the curve P-256.", field="p256dh") from None
        return cast("bytes", encoded["body"])

    def open_batch(self) -> Batch:
        """Return a batch that uses the connections of this process."""
        if self._sender.process_id != os.getpid():
            # In a forked child the connections belong to the parent.
            self._sender = _Sender(self)
        return _Batch(self._sender)


class _Sender:
    """The connections of one process."""

    def __init__(self, transport: PyWebPushTransport) -> None:
        self.process_id = os.getpid()
        self.timeout = transport.timeout
        self._threads = JobThreads(name="webpush-dns", idle_seconds=transport.idle_seconds)
        self._connector = Connector(
            transport.endpoint_policy, transport.proxy, transport.ssl_context, Resolver(self._threads)
        )
        self._connections = ConnectionPool(transport.idle_seconds)
        self._timer = IdleTimer(transport.idle_seconds, self._connections.close_expired)

    def close(self) -> None:
        """Close the connections and end the threads, unless they belong to the process that forked this one."""
        if self.process_id == os.getpid():
            self._connections.close()
            self._timer.expire()
            self._threads.close()

    def rest(self) -> None:
        """Close the connections when they have been idle for long enough."""
        self._connections.close_expired()
        self._timer.restart()

    def respond(self, request: PreparedRequest) -> Steps[PushResponse]:
        """Post a request, and return exactly one response. Raises nothing."""
        started = time.monotonic()
        try:
            reply = yield from self._post(request, started + self.timeout)
        except ExchangeError as error:
            return failure(request, error.error, time.monotonic() - started)
        except h11.LocalProtocolError:
            return failure(request, TransportError.INVALID_REQUEST, time.monotonic() - started)
        except Exception as error:  # noqa: BLE001 - contained
            log_error(_logger, "A push request failed because of an error in the transport", error=error)
            return failure(request, TransportError.INTERNAL, time.monotonic() - started)
        return PushResponse(
            id=request.id,
            status=reply.status,
            headers=reply.headers,
            body=reply.body,
            seconds=time.monotonic() - started,
        )

    def _post(self, request: PreparedRequest, deadline: float) -> Steps[Reply]:
        """Post over an open connection, or over a new one. Raises ExchangeError."""
        origin = Origin.of(request.url)
        kept = self._connections.take(origin)
        if kept is not None:
            try:
                return (yield from self._exchange(kept, request, deadline))
            except ExchangeError as error:
                # The server has just closed the connection. Send again only if it cannot have read the request.
                if not error.is_unsent:
                    raise
        connection = yield from self._connector.open(origin, deadline)
        return (yield from self._exchange(connection, request, deadline))

    def _exchange(self, connection: Connection, request: PreparedRequest, deadline: float) -> Steps[Reply]:
        url = urlsplit(request.url)
        target = request.url[len(f"{url.scheme}://{url.netloc}") :] or "/"
        headers = {"Host": url.netloc, **request.headers, "Content-Length": str(len(request.body))}
        if self._connector.proxy and url.scheme == "http":
            target, headers = request.url, headers | self._connector.proxy.headers
        try:
            reply = yield from connection.exchange(target, list(headers.items()), request.body, deadline)
        except BaseException:
            connection.close()
            raise
        if reply.is_complete:
            self._connections.give_back(connection)
        else:
            connection.close()
        return reply


class _Batch(Batch):
    """The requests of one call, in an event loop of their own."""

    def __init__(self, sender: _Sender) -> None:
        self._sender = sender
        self._loop = EventLoop()

    def submit(self, requests: list[PreparedRequest]) -> None:
        for request in requests:
            self._loop.start(self._sender.respond(request))
        self._loop.run(0)

    def has_response(self) -> bool:
        return bool(self._loop.results)

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._loop.results and (remaining := deadline - time.monotonic()) > 0:
            self._loop.run(remaining)

    def next_response(self) -> PushResponse:
        while not self._loop.results:
            self._loop.run(self._sender.timeout)
        self.in_flight -= 1
        return cast("PushResponse", self._loop.results.popleft())

    def end(self) -> None:
        self._loop.close()
        self._sender.rest()

"""The portable transport: pywebpush encrypts, and threads send the requests over persistent connections.

pywebpush's own HTTP code is not used, because it follows redirects and reads responses of any size. Threads work in
every server and worker. gevent and eventlet turn them into greenlets.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Any, cast
from urllib.parse import urlsplit

import h11
from pywebpush import WebPusher

from django_webpush_kit.exceptions import InvalidSubscription, PayloadTooLarge
from django_webpush_kit.protocol.encryption import MAX_PLAINTEXT, decode_keys
from django_webpush_kit.protocol.responses import TransportError

from .base import PushRequest, PushResponse
from .connections import Connection, ConnectionPool, Connector, ExchangeError, Origin, Reply
from .network import Batch, NetworkTransport, PreparedRequest, failure, trusted_certificates
from .threads import JobThreads

LATE_SECONDS = 0.5
"""Grace period after a request's deadline. Then it times out, because a DNS lookup cannot be interrupted."""

_logger = logging.getLogger(__name__)


class PyWebPushTransport(NetworkTransport):
    """Sends over HTTP/1.1, with one thread and connection per request in flight. Options: see `NetworkTransport`."""

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
        """Return a batch that uses the threads and connections of this process."""
        if self._sender.process_id != os.getpid():
            # A forked child has no threads, and the connections belong to the parent.
            self._sender = _Sender(self)
        return _Batch(self._sender)


class _Sender:
    """The threads and connections of one process."""

    def __init__(self, transport: PyWebPushTransport) -> None:
        self.process_id = os.getpid()
        self.timeout = transport.timeout
        self._connector = Connector(transport.endpoint_policy, transport.proxy, transport.ssl_context)
        self._connections = ConnectionPool(transport.idle_seconds)
        self._threads = JobThreads(
            name="webpush", idle_seconds=transport.idle_seconds, on_idle=self._connections.close_expired
        )
        self.run = self._threads.run

    def close(self) -> None:
        if self.process_id == os.getpid():
            self._connections.close()
            self._threads.close()

    def post(self, request: PreparedRequest, deadline: float) -> Reply:
        """Post over an open connection, or over a new one. Raises ExchangeError."""
        origin = Origin.of(request.url)
        kept = self._connections.take(origin)
        if kept is not None:
            try:
                return self._exchange(kept, request, deadline)
            except ExchangeError as error:
                # The server has just closed the connection. Send again only if it cannot have read the request.
                if not error.is_unsent:
                    raise
        return self._exchange(self._connector.open(origin, deadline), request, deadline)

    def _exchange(self, connection: Connection, request: PreparedRequest, deadline: float) -> Reply:
        url = urlsplit(request.url)
        target = request.url[len(f"{url.scheme}://{url.netloc}") :] or "/"
        headers = {"Host": url.netloc, **request.headers, "Content-Length": str(len(request.body))}
        if self._connector.proxy and url.scheme == "http":
            target, headers = request.url, headers | self._connector.proxy.headers
        try:
            reply = connection.exchange(target, list(headers.items()), request.body, deadline)
        except BaseException:
            connection.close()
            raise
        if reply.is_complete:
            self._connections.give_back(connection)
        else:
            connection.close()
        return reply


class _Batch(Batch):
    """Passes requests to the threads and waits for their responses."""

    def __init__(self, sender: _Sender) -> None:
        self._sender = sender
        self._arrived = threading.Condition()
        self._waiting: dict[_Job, None] = {}
        self._responses: deque[PushResponse] = deque()

    def submit(self, requests: list[PreparedRequest]) -> None:
        started = time.monotonic()
        jobs = [_Job(self, request, started, started + self._sender.timeout) for request in requests]
        with self._arrived:
            self._waiting.update(dict.fromkeys(jobs))
        self._sender.run(jobs)

    def has_response(self) -> bool:
        return bool(self._responses)

    def wait(self, seconds: float) -> None:
        with self._arrived:
            if not self._responses:
                self._wait_for_oldest(seconds)

    def next_response(self) -> PushResponse:
        with self._arrived:
            while not self._responses:
                self._wait_for_oldest(inf)
            self.in_flight -= 1
            return self._responses.popleft()

    def _wait_for_oldest(self, seconds: float) -> None:
        """Wait for a response, at most `seconds`. The oldest request times out if it is overdue."""
        oldest = next(iter(self._waiting))
        remaining = oldest.deadline + LATE_SECONDS - time.monotonic()
        if remaining > 0:
            self._arrived.wait(min(remaining, seconds))
        else:
            self.answer(oldest, oldest.failure(TransportError.TIMEOUT))

    def end(self) -> None:
        with self._arrived:
            self._waiting.clear()

    def is_waiting_for(self, job: _Job) -> bool:
        return job in self._waiting

    def answer(self, job: _Job, response: PushResponse) -> None:
        """Store the response of a job. Responses of jobs that have timed out are dropped."""
        with self._arrived:
            if job in self._waiting:
                del self._waiting[job]
                self._responses.append(response)
                self._arrived.notify()

    def post(self, request: PreparedRequest, deadline: float) -> Reply:
        return self._sender.post(request, deadline)


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """One request. It runs in a thread, and passes exactly one response to its batch."""

    batch: _Batch
    request: PreparedRequest
    started: float
    deadline: float

    def __call__(self) -> None:
        if self.batch.is_waiting_for(self):
            self.batch.answer(self, self._response())

    def failure(self, error: TransportError) -> PushResponse:
        return failure(self.request, error, time.monotonic() - self.started)

    def _response(self) -> PushResponse:
        try:
            reply = self.batch.post(self.request, self.deadline)
        except ExchangeError as error:
            return self.failure(error.error)
        except h11.LocalProtocolError:
            return self.failure(TransportError.INVALID_REQUEST)
        except Exception:
            _logger.exception("A push request failed because of an error in the transport")
            return self.failure(TransportError.INTERNAL)
        return PushResponse(
            id=self.request.id,
            status=reply.status,
            headers=reply.headers,
            body=reply.body,
            seconds=time.monotonic() - self.started,
        )

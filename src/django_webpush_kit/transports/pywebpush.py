"""The portable transport: pywebpush encrypts, our own aiohttp session posts.

pywebpush's own sending follows redirects and reads replies without end; here neither can happen.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
import ssl
import threading
import time
from queue import SimpleQueue
from typing import Any, cast

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from pywebpush import WebPusher
from yarl import URL

from django_webpush_kit.exceptions import InvalidSubscription, PayloadTooLarge
from django_webpush_kit.protocol.encryption import MAX_PLAINTEXT, decode_keys
from django_webpush_kit.protocol.endpoints import EndpointPolicy
from django_webpush_kit.protocol.responses import READ_HEADERS, TransportError

from .base import MAX_REPLY_BYTES, PushRequest, PushResponse
from .network import Batch, NetworkTransport, PreparedRequest, failure, trusted_certificates


class PyWebPushTransport(NetworkTransport):
    """Sends over HTTP/1.1 with connections kept open, from an event loop in a thread of its own.

    The thread is there because the caller may be running an event loop itself. Options: `NetworkTransport`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        file, directory = trusted_certificates(self.ca_bundle)
        self.ssl_context = ssl.create_default_context(cafile=file, capath=directory)
        self._loop: _Loop | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections and end the thread."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop and loop.process_id == os.getpid():
            loop.close()

    def encrypt(self, request: PushRequest) -> bytes:
        """Encrypt with pywebpush, which by itself checks neither the keys' lengths nor the payload's."""
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
        """Open a batch at this process's event loop."""
        with self._lock:
            if self._loop is None or self._loop.process_id != os.getpid():
                # A thread inherited over a fork does not run here, and its connections are the parent's.
                self._loop = _Loop(self)
            return _Batch(self._loop)


class _Batch(Batch):
    def __init__(self, loop: _Loop) -> None:
        self.responses: SimpleQueue[PushResponse] = SimpleQueue()
        self._loop = loop

    def submit(self, requests: list[PreparedRequest]) -> None:
        self._loop.call(self._loop.start, self, requests)

    def has_response(self) -> bool:
        return not self.responses.empty()

    def next_response(self) -> PushResponse:
        response = self.responses.get()
        self.in_flight -= 1
        return response

    def end(self) -> None:
        if self.in_flight:
            self._loop.call(self._loop.cancel, self)


class _Loop:
    """An event loop in a thread, with an aiohttp session in it."""

    def __init__(self, transport: PyWebPushTransport) -> None:
        self.process_id = os.getpid()
        self._transport = transport
        self._tasks: dict[asyncio.Task[PushResponse], tuple[_Batch, PreparedRequest]] = {}
        self._selector = selectors.DefaultSelector()
        self._loop = asyncio.SelectorEventLoop(self._selector)
        self.call = self._loop.call_soon_threadsafe
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="webpush", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.call(self._stop.set)
        self._thread.join()

    def start(self, batch: _Batch, requests: list[PreparedRequest]) -> None:
        for request in requests:
            task = self._loop.create_task(self._post(request))
            self._tasks[task] = (batch, request)
            task.add_done_callback(self._answer)

    def cancel(self, batch: _Batch) -> None:
        for task, (its_batch, _) in self._tasks.items():
            if its_batch is batch:
                task.cancel()

    def _answer(self, task: asyncio.Task[PushResponse]) -> None:
        batch, request = self._tasks.pop(task)
        # Whatever happened, the caller is waiting for exactly one response.
        lost = task.cancelled() or task.exception()
        batch.responses.put(failure(request, TransportError.INTERNAL) if lost else task.result())

    def _run(self) -> None:
        self._loop.run_until_complete(self._main())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _main(self) -> None:
        transport = self._transport
        connector = aiohttp.TCPConnector(
            limit=0,
            ssl=transport.ssl_context,
            resolver=ThreadedResolver() if transport.proxy else _VettingResolver(transport.endpoint_policy),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=transport.timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        async with self._session:
            await self._stop.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        # aiohttp does not wait for its connections to say goodbye. The last socket is the loop's own.
        until = time.monotonic() + _LONGEST_GOODBYE
        while len(self._selector.get_map()) > 1 and time.monotonic() < until:
            await asyncio.sleep(0.01)

    async def _post(self, request: PreparedRequest) -> PushResponse:
        started = time.monotonic()
        try:
            async with self._session.post(
                URL(request.url, encoded=True),
                data=request.body,
                headers={**request.headers, "Accept-Encoding": "identity"},
                allow_redirects=False,
                proxy=self._transport.proxy,
            ) as reply:
                return PushResponse(
                    id=request.id,
                    status=reply.status,
                    body=await _bounded_body(reply),
                    headers={
                        name.lower(): value for name, value in reply.headers.items() if name.lower() in READ_HEADERS
                    },
                    seconds=time.monotonic() - started,
                )
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError) as error:
            return failure(request, _kind_of(error), time.monotonic() - started)


_LONGEST_GOODBYE = 0.5


async def _bounded_body(reply: aiohttp.ClientResponse) -> bytes:
    """Read at most `MAX_REPLY_BYTES`; what remains unread makes aiohttp close the connection."""
    body = b""
    try:
        while len(body) < MAX_REPLY_BYTES:
            chunk = await reply.content.read(MAX_REPLY_BYTES - len(body))
            if not chunk:
                return body
            body += chunk
    except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
        # The status is known, and it counts: a broken body must not make us send the message again.
        pass
    reply.close()
    return body


class _AddressRefused(OSError):
    """No address of this name may be connected to."""


class _VettingResolver(ThreadedResolver):
    """Resolves names to the addresses that the policy allows; aiohttp connects to no others."""

    def __init__(self, policy: EndpointPolicy) -> None:
        super().__init__()
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results = await super().resolve(host, port, family)
        allowed = [result for result in results if not self._policy.address_refusal(result["host"])]
        if results and not allowed:
            raise _AddressRefused
        return allowed


def _kind_of(error: Exception) -> TransportError:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        refused = isinstance(error.os_error, _AddressRefused)
        return TransportError.ADDRESS_REFUSED if refused else TransportError.DNS
    for kinds, meaning in _KINDS:
        if isinstance(error, kinds):
            return meaning
    return TransportError.PROTOCOL


_KINDS: tuple[tuple[tuple[type[Exception], ...], TransportError], ...] = (
    ((asyncio.TimeoutError, TimeoutError), TransportError.TIMEOUT),
    ((aiohttp.ClientSSLError, ssl.SSLError), TransportError.TLS),
    ((aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError), TransportError.CONNECT),
    ((aiohttp.ServerConnectionError, aiohttp.ClientPayloadError, OSError), TransportError.RESET),
)

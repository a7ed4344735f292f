"""The portable transport: pywebpush encrypts, our own aiohttp session posts.

pywebpush's own sending follows redirects and reads replies without end; here neither can happen.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from queue import SimpleQueue
from typing import cast

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from pywebpush import WebPusher
from yarl import URL

from django_webpush_kit.exceptions import InvalidSubscription, PayloadTooLarge
from django_webpush_kit.protocol.encryption import MAX_PLAINTEXT, decode_keys
from django_webpush_kit.protocol.endpoints import EndpointPolicy
from django_webpush_kit.protocol.responses import READ_HEADERS, TransportError

from .base import MAX_REPLY_BYTES, PushRequest, PushResponse
from .network import Batch, Client, Group, NetworkTransport, PreparedRequest, failure, trusted_certificates


class PyWebPushTransport(NetworkTransport):
    """Sends over HTTP/1.1 with connections kept open, from an event loop in a thread of its own.

    It works in any caller, also one that runs an event loop itself. Options: `NetworkTransport`.
    """

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

    def start_client(self) -> Client:
        """Start the thread with the event loop."""
        return _Client(self)


class _Client(Client):
    """An event loop in a thread, with an aiohttp session in it."""

    def __init__(self, transport: PyWebPushTransport) -> None:
        super().__init__()
        self._transport = transport
        self._tasks: dict[asyncio.Task[None], Batch] = {}
        self._loop = asyncio.new_event_loop()
        started: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(started,), name="webpush", daemon=True)
        self._thread.start()
        started.get()

    def submit(self, batch: Batch, group: Group) -> None:
        self._loop.call_soon_threadsafe(self._create_tasks, batch, group)

    def abandon(self, batch: Batch) -> None:
        self._loop.call_soon_threadsafe(self._cancel, batch)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _create_tasks(self, batch: Batch, group: Group) -> None:
        for request, prepared in group:
            task = self._loop.create_task(self._answer(batch, request, prepared))
            self._tasks[task] = batch
            task.add_done_callback(self._tasks.pop)

    def _cancel(self, batch: Batch) -> None:
        for task, its_batch in self._tasks.items():
            if its_batch is batch:
                task.cancel()

    def _run(self, started: SimpleQueue[bool]) -> None:
        try:
            self._loop.run_until_complete(self._main(started))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            started.put(False)
            self._loop.close()

    async def _main(self, started: SimpleQueue[bool]) -> None:
        self._stop = asyncio.Event()
        transport = self._transport
        connector = aiohttp.TCPConnector(
            limit=0,
            ssl=_ssl_context(transport.ca_bundle),
            resolver=ThreadedResolver() if transport.proxy else _VettingResolver(transport.endpoint_policy),
        )
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=transport.timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        ) as self._session:
            started.put(True)
            await self._stop.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, batch: Batch, request: PushRequest, prepared: PreparedRequest) -> None:
        response = failure(request, TransportError.INTERNAL)
        try:
            response = await self._post(request, prepared)
        finally:
            # Whatever happens, the caller is waiting for exactly one response.
            batch.has_answered(response)

    async def _post(self, request: PushRequest, prepared: PreparedRequest) -> PushResponse:
        started = time.monotonic()
        try:
            async with self._session.post(
                URL(prepared.url, encoded=True),
                data=prepared.body,
                headers={**prepared.headers, "Accept-Encoding": "identity"},
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


class _VettingResolver(AbstractResolver):
    """Resolves names to the addresses that the policy allows; aiohttp connects to no others."""

    def __init__(self, policy: EndpointPolicy) -> None:
        self._policy = policy
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        allowed = [result for result in results if not self._policy.address_refusal(result["host"])]
        if results and not allowed:
            raise _AddressRefused
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


def _ssl_context(ca_bundle: str | None) -> ssl.SSLContext:
    file, directory = trusted_certificates(ca_bundle)
    return ssl.create_default_context(cafile=file, capath=directory)


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

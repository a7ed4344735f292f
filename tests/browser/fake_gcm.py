"""Google's side of Chromium's push messaging: check-in, registration, the MCS connection, and the push resource.

Chromium decides the host of its endpoints itself, so messages must be POSTed to `local_address(endpoint)` instead.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from django_webpush_kit.testing.certificates import write_certificate
from django_webpush_kit.testing.loopback_server import LoopbackServer
from django_webpush_kit.testing.push_rules import refusal_of
from tests.browser.protobuf import bytes_field, fixed64_field, number_field, parse, varint

ENDPOINT_ORIGIN = "https://jmt17.google.com"
"""What a Chromium without Google's API keys puts into its endpoints."""

# tags of MCS frames, and the field by which some of them acknowledge what came before
_PING, _PONG, _LOGIN, _LOGIN_ANSWER, _CLOSE, _IQ, _DATA = 0, 1, 2, 3, 4, 7, 8
_LAST_STREAM_ID = {_PING: 2, _PONG: 2, _IQ: 10, _DATA: 11}
_MCS_VERSION = 41


@dataclass(slots=True)
class _Registration:
    """One subscription: the form Chromium registered with."""

    form: dict[str, str]
    gone: bool = False


@dataclass(slots=True)
class _Connection:
    """A browser's MCS connection; frames are numbered from 1 and acknowledged by number."""

    writer: asyncio.StreamWriter
    device: str = ""
    sent: int = 0
    unacknowledged: dict[int, str] = field(default_factory=dict)
    received: int = 0

    def send(self, tag: int, payload: bytes, message_id: str = "") -> None:
        """Write one frame."""
        self.sent += 1
        if message_id:
            self.unacknowledged[self.sent] = message_id
        self.writer.write(bytes([tag]) + varint(len(payload)) + payload)


class FakeGCM(LoopbackServer):
    """A context manager, to be started before its `Chromium`."""

    def __init__(self) -> None:
        super().__init__()
        self.mcs_port = 0
        self.acknowledged: list[str] = []
        """Ids of the messages that the browser has taken over."""
        self._registrations: dict[str, _Registration] = {}
        self._connections: dict[str, _Connection] = {}
        self._waiting: dict[str, dict[str, bytes]] = {}

    def local_address(self, endpoint: str) -> str:
        """Where the push resource of a Chromium endpoint is really served."""
        return self.origin + urlsplit(endpoint).path

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/checkin", self._check_in)
        application.router.add_post("/register3", self._register)
        application.router.add_post("/fcm/send/{token}", self._receive)
        application.router.add_post("/wp/{token}", self._receive)
        application.cleanup_ctx.append(self._serve_mcs)
        return application

    async def _check_in(self, _request: web.Request) -> web.Response:
        identity, secret = (secrets.randbits(55) | 1 for _ in range(2))
        answer = number_field(1, 1) + number_field(3, int(time.time() * 1000)) + number_field(9, 0)
        return web.Response(
            body=answer + fixed64_field(7, identity) + fixed64_field(8, secret), content_type="application/x-protobuf"
        )

    async def _register(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        subtype = form.get("X-subtype", "")
        if form.get("delete") == "true":
            for registration in self._registrations.values():
                registration.gone |= registration.form.get("X-subtype") == subtype
            return web.Response(text=f"token={subtype}")
        token = f"{secrets.token_urlsafe(8)}:APA91b{secrets.token_urlsafe(60)}"
        self._registrations[token] = _Registration(form)
        return web.Response(text=f"token={token}")

    async def _receive(self, request: web.Request) -> web.Response:
        registration = self._registrations.get(request.match_info["token"])
        if registration is None:
            return web.Response(status=404)
        if registration.gone:
            return web.Response(status=410)
        body, form = await request.read(), registration.form
        refusal = refusal_of(
            request.headers,
            body,
            application_server_key=form["sender"],
            audience=ENDPOINT_ORIGIN,
            now=time.time(),
        )
        if refusal is not None:
            return web.Response(status=refusal.status, text=refusal.reason)
        message_id = f"0:{time.time_ns()}%{secrets.token_hex(8)}"
        message = _data_message(form, message_id, body, ttl=int(request.headers["TTL"]))
        self._waiting.setdefault(form["device"], {})[message_id] = message
        if form["device"] in self._connections:
            self._connections[form["device"]].send(_DATA, message, message_id)
        return web.Response(status=201, headers={"Location": f"{ENDPOINT_ORIGIN}/m/{secrets.token_hex(8)}"})

    # MCS: tag, length and protocol buffer, over TLS

    async def _serve_mcs(self, _application: web.Application) -> AsyncIterator[None]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            write_certificate(Path(folder))
            context.load_cert_chain(Path(folder) / "server.pem")
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0, ssl=context)
        self.mcs_port = server.sockets[0].getsockname()[1]
        yield
        server.close()
        for connection in list(self._connections.values()):
            connection.writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readexactly(1)  # the browser's protocol version
            while (frame := await _read_frame(reader))[0] != _CLOSE:
                self._handle(connection, *frame)
                await writer.drain()
        if self._connections.get(connection.device) is connection:
            del self._connections[connection.device]
        writer.close()

    def _handle(self, connection: _Connection, tag: int, payload: bytes) -> None:
        fields = parse(payload)
        values = dict(fields)
        if tag == _LOGIN:
            self._log_in(connection, values)
        elif tag == _PING:
            connection.send(_PONG, number_field(2, connection.received))
        last = values.get(_LAST_STREAM_ID.get(tag, 0), 0)
        for number in [number for number in connection.unacknowledged if number <= int(last)]:
            self._take(connection, connection.unacknowledged.pop(number))
        if tag == _IQ:
            self._acknowledge_selected(connection, values)
        connection.received += 1

    def _log_in(self, connection: _Connection, values: dict[int, int | bytes]) -> None:
        connection.device = values[3].decode()
        self._connections[connection.device] = connection
        connection.writer.write(bytes([_MCS_VERSION]))
        answer = bytes_field(1, values[1]) + number_field(5, 1) + number_field(6, 1)
        connection.send(_LOGIN_ANSWER, answer + number_field(8, int(time.time() * 1000)))
        for message_id, message in self._waiting.get(connection.device, {}).items():
            connection.send(_DATA, message, message_id)

    def _acknowledge_selected(self, connection: _Connection, values: dict[int, int | bytes]) -> None:
        extension = dict(parse(values.get(7, b"")))
        if extension.get(1) == 12:
            for _, message_id in parse(extension[2]):
                self._take(connection, message_id.decode())

    def _take(self, connection: _Connection, message_id: str) -> None:
        if self._waiting.get(connection.device, {}).pop(message_id, None):
            self.acknowledged.append(message_id)


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    tag = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return tag, await reader.readexactly(length)


def _data_message(form: dict[str, str], message_id: str, body: bytes, *, ttl: int) -> bytes:
    properties = {"subtype": form["X-subtype"], "content-encoding": "aes128gcm"}
    return b"".join(
        [
            bytes_field(2, secrets.token_hex(16)),
            bytes_field(3, form["sender"]),
            bytes_field(5, form["app"]),
            *(bytes_field(7, bytes_field(1, name) + bytes_field(2, value)) for name, value in properties.items()),
            bytes_field(9, message_id),
            number_field(17, ttl),
            number_field(18, int(time.time())),
            bytes_field(21, body),
            number_field(24, 1),
        ]
    )

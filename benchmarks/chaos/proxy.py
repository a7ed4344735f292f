"""A TCP proxy that mistreats the connections it carries."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Literal

Mode = Literal["pass", "refuse", "reset", "half", "drip", "hole"]


class Proxy:
    """Carries connections from `address` to a port of 127.0.0.1; a context manager.

    `mode` is one of: `pass`; `refuse`, every connection is cut, old and new; `reset`, cut with RST once the client has
    sent something; `half`, cut after the first bytes of the reply; `drip`, a byte of an endless header every 50 ms
    instead of the reply; `hole`, never an answer. `target` is the port behind it; `port` is its own, 0 for any
    free one.
    """

    def __init__(self, target: int, port: int = 0, address: str = "127.0.0.1") -> None:
        self.target = target
        self._address = address
        self._mode: Mode = "pass"
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.port = port

    def __enter__(self) -> Proxy:  # noqa: PYI034  # Self is not in Python 3.10
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    @property
    def mode(self) -> Mode:
        """How connections are treated."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        self._loop.call_soon_threadsafe(self._cut_all)

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._carry, self._address, self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        server.close()
        self._cut_all()
        await asyncio.sleep(0.05)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await _TREATMENTS.get(self._mode, _pass_on)(self, reader, writer)
        except OSError:
            pass
        finally:
            self._cut(writer)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the server behind."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers.add(writer)
        return reader, writer

    def _cut_all(self) -> None:
        for writer in list(self._writers):
            self._cut(writer)

    def _cut(self, writer: asyncio.StreamWriter) -> None:
        """Close with RST."""
        self._writers.discard(writer)
        connection = writer.get_extra_info("socket")
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


async def _pass_on(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    upstream_reader, upstream_writer = await proxy.connect()
    try:
        await _first_to_end(_copy(reader, upstream_writer), _copy(upstream_reader, writer))
    finally:
        upstream_writer.close()


async def _refuse(_proxy: Proxy, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    return


async def _reset(_proxy: Proxy, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


async def _half(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    upstream_reader, upstream_writer = await proxy.connect()

    async def first_bytes() -> None:
        writer.write((await upstream_reader.read(4096))[:20])
        await writer.drain()
        await asyncio.sleep(0.05)

    try:
        await _first_to_end(_copy(reader, upstream_writer), first_bytes())
    finally:
        upstream_writer.close()


async def _drip(_proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 201 Created\r\nX-Drip: ")
    while not writer.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def _hole(_proxy: Proxy, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(4096):
        pass


_TREATMENTS = {"pass": _pass_on, "refuse": _refuse, "reset": _reset, "half": _half, "drip": _drip, "hole": _hole}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()


async def _first_to_end(*ways: Coroutine[Any, Any, None]) -> None:
    """Run both directions of a connection; when one ends, end the other."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

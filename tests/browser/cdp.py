"""A client of the Chrome DevTools Protocol: JSON over one WebSocket."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp


class CDPError(Exception):
    """Chromium answered a command with an error, or a script threw."""


class CDP:
    """A connection to a running Chromium. Reads only while a command waits for its answer; events are skipped."""

    def __init__(self, url: str, timeout: float = 60) -> None:
        self._loop = asyncio.new_event_loop()
        self._timeout = timeout
        self._last_id = 0
        self._session: aiohttp.ClientSession
        self._socket: aiohttp.ClientWebSocketResponse
        self._loop.run_until_complete(self._connect(url))

    def command(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send one command, to the browser or to the page of a `session`, and return its result."""
        answer = self._loop.run_until_complete(asyncio.wait_for(self._ask(method, session, parameters), self._timeout))
        if "error" in answer:
            raise CDPError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def close(self) -> None:
        """Close the connection; the browser runs on."""
        self._loop.run_until_complete(self._socket.close())
        self._loop.run_until_complete(self._session.close())
        self._loop.close()

    async def _connect(self, url: str) -> None:
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(url, max_msg_size=0)

    async def _ask(self, method: str, session: str | None, parameters: dict[str, Any]) -> dict[str, Any]:
        self._last_id += 1
        command = {"id": self._last_id, "method": method, "params": parameters}
        await self._socket.send_json(command if session is None else {**command, "sessionId": session})
        while True:
            received = await self._socket.receive()
            if received.type is not aiohttp.WSMsgType.TEXT:
                raise CDPError(f"{method}: Chromium closed the connection")
            message: dict[str, Any] = received.json()
            if message.get("id") == self._last_id:
                return message

"""Push services on loopback that accept a number of messages in each window and answer 429 above it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass

from aiohttp import web

BACKLOG = 4096
"""Connections that may wait to be accepted: workers open hundreds at once where there is no HTTP/2."""


@dataclass(frozen=True, slots=True)
class Request:
    """One message that arrived: which push service and subscription it was for, when, and what was answered."""

    service: str
    token: str
    moment: float
    status: int


class LimitedServices:
    """`with LimitedServices(1000, 60) as services:` — each service accepts 1,000 messages in 60 seconds.

    Windows start with the server. An endpoint is `{origin}/{service}/{token}`.
    """

    def __init__(self, limit: int, window_seconds: float) -> None:
        self.requests: list[Request] = []
        self.started = time.time()
        self.port = 0
        self._limit = limit
        self._window_seconds = window_seconds
        self._accepted: Counter[tuple[str, int]] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> LimitedServices:  # noqa: PYI034  # Self is not in Python 3.10
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def window(self, moment: float) -> int:
        """The number of the window that a moment is in."""
        return int((moment - self.started) // self._window_seconds)

    async def _start(self) -> int:
        application = web.Application()
        application.router.add_post("/{service}/{token}", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=BACKLOG)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def _answer(self, request: web.Request) -> web.Response:
        await request.read()
        moment = time.time()
        service = request.match_info["service"]
        window = service, self.window(moment)
        status = 201 if self._accepted[window] < self._limit else 429
        self._accepted[window] += status == 201
        self.requests.append(Request(service, request.match_info["token"], moment, status))
        return web.Response(status=status)

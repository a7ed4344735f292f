"""Serve an aiohttp application on 127.0.0.1 in a separate thread."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web

from django_webpush_kit.testing.certificates import write_certificate

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

Result = TypeVar("Result")


class LoopbackServer:
    """Base of the test servers; a context manager.

    It listens on loopback only. With `tls`, the server has a temporary certificate for `localhost` and 127.0.0.1,
    signed by the certificate in the file `ca_bundle`. All state is accessed only from the server thread; other threads
    use `call`.
    """

    def __init__(self, *, port: int = 0, hostname: str = "127.0.0.1", tls: bool = False) -> None:
        self.port = port
        """The port. Before the start, 0 means any free port."""
        self.hostname = hostname
        """The host in `origin`: 127.0.0.1 or localhost."""
        self.tls = tls
        """Whether the server uses HTTPS."""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event

    def application(self) -> web.Application:
        """Return the application to serve. Called at each start."""
        raise NotImplementedError

    @property
    def origin(self) -> str:
        """Scheme, host and port, such as `http://127.0.0.1:40123`."""
        return f"{'https' if self.tls else 'http'}://{self.hostname}:{self.port}"

    @property
    def ca_bundle(self) -> str:
        """Path of the PEM file to trust. It exists while a server with `tls` runs."""
        return str(self._certificates / "ca.pem")

    def start(self) -> Self:
        """Start the server, and return when it accepts connections. Raises OSError if the port is in use."""
        if self.tls:
            self._folder = tempfile.TemporaryDirectory(prefix="webpush-kit-tls-")
            write_certificate(self._certificates)
        application = self.application()
        listening: Future[int] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(application, listening)),
            name=type(self).__name__,
            daemon=True,
        )
        self._thread.start()
        try:
            self.port = listening.result()
        except OSError:
            self._end(self._thread)
            raise
        return self

    def stop(self) -> None:
        """Close all connections and end the thread. Does nothing if the server is not running."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._end(self._thread)

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run a function in the server thread and return its result."""

        async def run() -> Result:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _certificates(self) -> Path:
        if self._folder is None:
            raise RuntimeError(f"{type(self).__name__} has a certificate only with tls=True and once started.")
        return Path(self._folder.name)

    def _ssl_context(self) -> ssl.SSLContext | None:
        if not self.tls:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificates / "server.pem")
        return context

    async def _serve(self, application: web.Application, listening: Future[int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        try:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self._ssl_context()).start()
            listening.set_result(runner.addresses[0][1])
            await self._stopping.wait()
        except OSError as error:
            listening.set_exception(error)
        finally:
            await runner.cleanup()

    def _end(self, thread: threading.Thread) -> None:
        thread.join()
        self._thread = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

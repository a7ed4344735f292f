"""HTTP/1.1 connections of the portable transport: checked IP addresses, TLS, one deadline, and a limited response size.

h11 writes requests and parses responses; `socket` and `ssl` transfer them. Functions that wait are generators, for the
event loop. A deadline is a value of `time.monotonic()`.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import h11

from django_webpush_kit.protocol.endpoints import EndpointPolicy
from django_webpush_kit.protocol.responses import READ_HEADERS, TransportError

from .base import MAX_REPLY_BYTES
from .event_loop import READ, WRITE, SocketWait, Steps
from .network import Proxy
from .resolver import Address, Resolver

T = TypeVar("T")

RECEIVE_BYTES = 16_384
MAX_REPLY_HEADER_BYTES = 32_768
MAX_RECEIVED_BYTES = 65_536
"""Maximum bytes received for one request: interim responses, headers, body and chunk framing."""


class ExchangeError(Exception):
    """No status was received; `error` is the reason. `is_unsent`: the push service cannot have read the request."""

    def __init__(self, error: TransportError, *, is_unsent: bool = False) -> None:
        super().__init__(error.value)
        self.error = error
        self.is_unsent = is_unsent


@dataclass(frozen=True, slots=True)
class Origin:
    """The target of a connection: scheme, host (without brackets) and port of an endpoint."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Return the origin of a checked endpoint."""
        parts = urlsplit(url)
        return cls(parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme])

    @property
    def authority(self) -> str:
        """Host and port in the format of a CONNECT request."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(slots=True)
class Reply:
    """Status, the headers that `protocol.responses` reads, and at most `MAX_REPLY_BYTES` of the body.

    `is_complete`: the response was read to its end, and the connection can be used again.
    """

    status: int
    headers: dict[str, str]
    body: bytes = b""
    is_complete: bool = False


class Connector:
    """Opens connections with the options of one transport."""

    def __init__(self, policy: EndpointPolicy, proxy: Proxy | None, tls: ssl.SSLContext, resolver: Resolver) -> None:
        self.proxy = proxy
        self._policy = policy
        self._tls = tls
        self._resolver = resolver

    def open(self, origin: Origin, deadline: float) -> Steps[Connection]:
        """Connect to the origin, through the proxy if one is set. Raises ExchangeError."""
        host, port = (self.proxy.host, self.proxy.port) if self.proxy else (origin.host, origin.port)
        sock = yield from self._connect(host, port, deadline)
        try:
            if origin.scheme == "https":
                if self.proxy:
                    yield from _open_tunnel(sock, origin, self.proxy, deadline)
                sock = yield from self._encrypt(sock, origin.host, deadline)
        except BaseException:
            sock.close()
            raise
        return Connection(sock, origin)

    def _connect(self, host: str, port: int, deadline: float) -> Steps[socket.socket]:
        """Try the host's addresses in turn. Each gets an equal share of the remaining time."""
        addresses = yield from self._addresses(host, port, deadline)
        failed: OSError = TimeoutError()
        for position, (family, address) in enumerate(addresses):
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
            except OSError as error:  # no file descriptor is left, or this machine does not support IPv4 or IPv6
                failed = error
                continue
            try:
                share = _seconds_until(deadline) / (len(addresses) - position)
                yield from _connect(sock, address, time.monotonic() + share)
            except OSError as error:
                sock.close()
                failed = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        self._resolver.forget(host, port)
        raise ExchangeError(_kind_of(failed, TransportError.CONNECT), is_unsent=True) from failed

    def _addresses(self, host: str, port: int, deadline: float) -> Steps[list[Address]]:
        """Return the allowed addresses of the host. Addresses of the proxy, set by the operator, are not checked."""
        try:
            addresses = yield from self._resolver.addresses(host, port, deadline)
        except (OSError, UnicodeError) as error:
            is_answer = isinstance(error, socket.gaierror | UnicodeError)  # otherwise there was no descriptor for it
            kind = _kind_of(error, TransportError.DNS if is_answer else TransportError.CONNECT)
            raise ExchangeError(kind, is_unsent=True) from error
        if self.proxy is None:
            addresses = [(family, to) for family, to in addresses if not self._policy.address_refusal(str(to[0]))]
        if not addresses:
            raise ExchangeError(TransportError.ADDRESS_REFUSED, is_unsent=True)
        return addresses

    def _encrypt(self, sock: socket.socket, host: str, deadline: float) -> Steps[ssl.SSLSocket]:
        try:
            secure = self._tls.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        except OSError as error:
            raise ExchangeError(_kind_of(error, TransportError.TLS), is_unsent=True) from error
        try:
            yield from _when_ready(secure, secure.do_handshake, deadline)
        except OSError as error:
            secure.close()
            raise ExchangeError(_kind_of(error, TransportError.TLS), is_unsent=True) from error
        except BaseException:
            secure.close()
            raise
        return secure


class Connection:
    """An open connection for one request at a time. Its socket does not block."""

    def __init__(self, sock: socket.socket, origin: Origin) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self._socket = sock
        self._socket.setblocking(False)
        self._protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_REPLY_HEADER_BYTES)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def is_alive(self) -> bool:
        """Return whether the idle connection is usable: the server has neither closed it nor sent unexpected data."""
        try:
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def exchange(self, target: str, headers: list[tuple[str, str]], body: bytes, deadline: float) -> Steps[Reply]:
        """Post a request and return the response. Raises ExchangeError."""
        request = h11.Request(method="POST", target=target, headers=headers)
        parts = (self._protocol.send(event) for event in (request, h11.Data(data=body), h11.EndOfMessage()))
        try:
            yield from _send(self._socket, b"".join(part for part in parts if part), deadline)
        except TimeoutError as error:
            raise ExchangeError(TransportError.TIMEOUT) from error
        except OSError as error:
            # The system has not accepted the whole request, so the push service cannot have read it.
            raise ExchangeError(TransportError.RESET, is_unsent=True) from error
        return (yield from self._read_reply(deadline))

    def _read_reply(self, deadline: float) -> Steps[Reply]:
        reader = _Reader(self._socket, self._protocol)
        reply = yield from reader.head(deadline)
        # The status counts even if the body breaks off. Otherwise the message would be sent twice.
        with suppress(OSError, h11.ProtocolError):
            while len(reply.body) < MAX_REPLY_BYTES:
                event = yield from reader.next_event(deadline)
                if isinstance(event, h11.Data):
                    reply.body += event.data[: MAX_REPLY_BYTES - len(reply.body)]
                elif isinstance(event, h11.EndOfMessage):
                    reply.is_complete = self._is_ready_for_next()
                    break
                elif not isinstance(event, h11.InformationalResponse):
                    break  # the connection was closed
        return reply

    def _is_ready_for_next(self) -> bool:
        if self._protocol.their_state is not h11.DONE:
            return False
        self._protocol.start_next_cycle()
        return True


class ConnectionPool:
    """The idle connections of one transport, by origin. Safe to share between threads."""

    def __init__(self, max_idle_seconds: float) -> None:
        self._max_idle_seconds = max_idle_seconds
        self._lock = threading.Lock()
        self._idle: defaultdict[Origin, list[Connection]] = defaultdict(list)
        self._is_closed = False

    def take(self, origin: Origin) -> Connection | None:
        """Return the most recently used connection that is still usable, or None."""
        while True:
            with self._lock:
                if not self._idle[origin]:
                    return None
                connection = self._idle[origin].pop()
            if time.monotonic() - connection.idle_since < self._max_idle_seconds and connection.is_alive():
                return connection
            connection.close()

    def give_back(self, connection: Connection) -> None:
        """Store a connection for the next request to its origin."""
        connection.idle_since = time.monotonic()
        with self._lock:
            self._idle[connection.origin].append(connection)
        if self._is_closed:
            self.close()

    def close_expired(self) -> None:
        """Close connections that have been idle for too long."""
        self._close_idle_since(time.monotonic() - self._max_idle_seconds)

    def close(self) -> None:
        """Close idle connections now, and connections in use when they are returned."""
        self._is_closed = True
        self._close_idle_since(time.monotonic())

    def _close_idle_since(self, latest: float) -> None:
        with self._lock:
            idle = [connection for kept in self._idle.values() for connection in kept]
            expired = [connection for connection in idle if connection.idle_since <= latest]
            for connection in expired:
                self._idle[connection.origin].remove(connection)
        for connection in expired:
            connection.close()


class _Reader:
    """Reads the events of one response, and limits its size."""

    def __init__(self, sock: socket.socket, protocol: h11.Connection) -> None:
        self._socket = sock
        self._protocol = protocol
        self._received = 0

    def head(self, deadline: float) -> Steps[Reply]:
        """Return status and headers of the final response. Interim responses are skipped. Raises ExchangeError."""
        try:
            yield SocketWait(self._socket, READ, deadline)
            event = yield from self.next_event(deadline)
            while not isinstance(event, h11.Response):
                event = yield from self.next_event(deadline)
        except (OSError, h11.ProtocolError) as error:
            is_malformed = isinstance(error, h11.ProtocolError)
            raise ExchangeError(
                _kind_of(error, TransportError.PROTOCOL if is_malformed else TransportError.RESET)
            ) from error
        headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        return Reply(event.status_code, {name: headers[name] for name in READ_HEADERS & headers.keys()})

    def next_event(self, deadline: float) -> Steps[Any]:
        """Return h11's next event. Raises OSError and h11.ProtocolError."""
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            data = yield from _when_ready(self._socket, partial(self._socket.recv, RECEIVE_BYTES), deadline)
            self._received += len(data)
            if self._received > MAX_RECEIVED_BYTES:
                raise h11.RemoteProtocolError("The response is too long.")
            if not data and self._protocol.their_state is h11.SEND_RESPONSE:
                raise ConnectionResetError("The connection was closed before the end of the headers.")
            self._protocol.receive_data(data)
        return event


def _open_tunnel(sock: socket.socket, origin: Origin, proxy: Proxy, deadline: float) -> Steps[None]:
    """Tell the proxy to connect to the origin (RFC 9110, section 9.3.6)."""
    protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_REPLY_HEADER_BYTES)
    headers = [("Host", origin.authority), *proxy.headers.items()]
    request = protocol.send(h11.Request(method="CONNECT", target=origin.authority, headers=headers)) or b""
    protocol.send(h11.EndOfMessage())
    try:
        yield from _send(sock, request, deadline)
        reply = yield from _Reader(sock, protocol).head(deadline)
    except (OSError, ExchangeError) as error:
        is_late = isinstance(error, TimeoutError) or getattr(error, "error", None) is TransportError.TIMEOUT
        raise ExchangeError(TransportError.TIMEOUT if is_late else TransportError.CONNECT, is_unsent=True) from error
    if not 200 <= reply.status < 300:
        raise ExchangeError(TransportError.CONNECT, is_unsent=True)


def _connect(sock: socket.socket, address: Any, deadline: float) -> Steps[None]:
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code in _CONNECTING:
        yield SocketWait(sock, WRITE, deadline)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


_CONNECTING = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, errno.EAGAIN)


def _send(sock: socket.socket, data: bytes, deadline: float) -> Steps[None]:
    _seconds_until(deadline)
    while data:
        sent = yield from _when_ready(sock, partial(sock.send, data), deadline, otherwise=WRITE)
        data = data[sent:]


def _when_ready(sock: socket.socket, call: Callable[[], T], deadline: float, otherwise: int = READ) -> Steps[T]:
    """Call when the socket is ready for it, and return the result. `otherwise`: what a socket without TLS waits for."""
    while True:
        try:
            return call()
        except ssl.SSLWantReadError:
            events = READ
        except ssl.SSLWantWriteError:
            events = WRITE
        except BlockingIOError:
            events = otherwise
        yield SocketWait(sock, events, deadline)


def _seconds_until(deadline: float) -> float:
    """Return the seconds until the deadline. Raises TimeoutError if it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _kind_of(error: Exception, default: TransportError) -> TransportError:
    if isinstance(error, TimeoutError):
        return TransportError.TIMEOUT
    return TransportError.TLS if isinstance(error, ssl.SSLError) else default

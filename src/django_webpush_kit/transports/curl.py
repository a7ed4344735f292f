"""The fast transport: libcurl's multi interface with HTTP/2 multiplexing, driven by socket events.

Needs pycurl: `pip install django-webpush-kit[curl]`.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.protocol.responses import READ_HEADERS, TransportError

from .base import MAX_REPLY_BYTES, PushRequest, PushResponse
from .network import Batch, Client, Group, NetworkTransport, PreparedRequest, failure, trusted_certificates

try:
    import pycurl
except ImportError:
    pycurl = None

MAX_HOST_CONNECTIONS = 8
MAX_STREAMS = 100
"""HTTP/2 streams on one connection: what push services allow."""

MAX_REPLY_HEADER_BYTES = 32768


class CurlTransport(NetworkTransport):
    """Sends over HTTP/2 where the push service speaks it, hundreds of requests at a time on a few connections.

    Connections are kept from one `send` to the next. Options: `NetworkTransport`.
    """

    default_max_in_flight = 512

    def __init__(self, **options: Any) -> None:
        if pycurl is None:
            raise ImproperlyConfigured(
                "CurlTransport needs pycurl: pip install django-webpush-kit[curl], or use PyWebPushTransport."
            )
        super().__init__(**options)

    def start_client(self) -> Client:
        """Start the thread with the multi handle."""
        return _Client(self)


class _Client(Client):
    """A curl multi handle in a thread that waits for its sockets."""

    def __init__(self, transport: CurlTransport) -> None:
        super().__init__()
        self._transport = transport
        self._todo: deque[tuple[Batch, Group | None]] = deque()
        self._closing = False
        self._due: float | None = None
        self._exchanges: dict[Any, _Exchange] = {}
        self._spare: list[_Exchange] = []
        self._selector = selectors.DefaultSelector()
        self._waker, self._wakened = socket.socketpair()
        self._wakened.setblocking(False)
        self._selector.register(self._wakened, selectors.EVENT_READ)
        self._multi = multi = pycurl.CurlMulti()
        multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, MAX_STREAMS)
        multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, MAX_HOST_CONNECTIONS)
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._thread = threading.Thread(target=self._run, name="webpush", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch, group: Group) -> None:
        self._todo.append((batch, group))
        self._waker.send(b"w")

    def abandon(self, batch: Batch) -> None:
        self._todo.append((batch, None))
        self._waker.send(b"w")

    def close(self) -> None:
        self._closing = True
        self._waker.send(b"w")
        self._thread.join()

    def _run(self) -> None:
        while not self._closing:
            self._wait()
            self._do_todo()
            self._finish_exchanges()
        self._end(self._exchanges.values())
        for exchange in self._spare:
            exchange.curl.close()
        self._multi.close()
        self._selector.close()
        self._waker.close()
        self._wakened.close()

    def _wait(self) -> None:
        """Wait for sockets and curl's timer, and do what they ask for."""
        wait = None if self._due is None else max(self._due - time.monotonic(), 0.0)
        for key, events in self._selector.select(wait):
            if key.fileobj is self._wakened:
                self._wakened.recv(4096)
            else:
                self._multi.socket_action(key.fd, _SELECTED[events])
        if self._due is not None and time.monotonic() >= self._due:
            self._due = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _do_todo(self) -> None:
        while self._todo:
            batch, group = self._todo.popleft()
            if group is None:
                self._end([exchange for exchange in self._exchanges.values() if exchange.batch is batch])
            else:
                self._start(batch, group)

    def _start(self, batch: Batch, group: Group) -> None:
        for request, prepared in group:
            exchange = self._spare.pop() if self._spare else _Exchange(self._transport)
            exchange.set_up(batch, request, prepared)
            self._exchanges[exchange.curl] = exchange
            self._multi.add_handle(exchange.curl)

    def _finish_exchanges(self) -> None:
        remaining = 1
        while remaining:
            remaining, complete, failed = self._multi.info_read()
            for curl in complete:
                self._finish(curl, 0)
            for curl, code, _ in failed:
                self._finish(curl, code)

    def _finish(self, curl: Any, code: int) -> None:
        self._multi.remove_handle(curl)
        exchange = self._exchanges.pop(curl)
        exchange.batch.has_answered(exchange.response(code))
        self._spare.append(exchange)

    def _end(self, exchanges: Iterable[_Exchange]) -> None:
        """Break off these exchanges."""
        for exchange in list(exchanges):
            self._multi.remove_handle(exchange.curl)
            del self._exchanges[exchange.curl]
            exchange.batch.has_answered(failure(exchange.request, TransportError.INTERNAL))
            exchange.curl.close()

    def _watch(self, what: int, descriptor: int, multi: Any, data: Any) -> None:
        selector = self._selector
        known = descriptor in selector.get_map()
        if what == pycurl.POLL_REMOVE:
            if known:
                selector.unregister(descriptor)
        elif known:
            selector.modify(descriptor, _WATCHED[what])
        else:
            selector.register(descriptor, _WATCHED[what])

    def _set_timer(self, milliseconds: int) -> None:
        self._due = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


class _Exchange:
    """A reusable easy handle and what it collects: one request and its reply."""

    def __init__(self, transport: CurlTransport) -> None:
        self.curl = curl = pycurl.Curl()
        self._transport = transport
        self._headers: list[bytes] = []
        self._header_bytes = 0
        self._body = b""
        self._address_refused = False
        file, directory = trusted_certificates(transport.ca_bundle)
        if file:
            curl.setopt(pycurl.CAINFO, file)
        if directory:
            curl.setopt(pycurl.CAPATH, directory)
        private = transport.endpoint_policy.allow_private
        options = {
            pycurl.POST: 1,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTPS | (pycurl.PROTO_HTTP if private else 0),
            pycurl.FOLLOWLOCATION: 0,
            pycurl.PATH_AS_IS: 1,
            pycurl.NOSIGNAL: 1,
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_2TLS,
            pycurl.PIPEWAIT: 1,
            pycurl.SSL_VERIFYPEER: 1,
            pycurl.SSL_VERIFYHOST: 2,
            pycurl.SSLVERSION: pycurl.SSLVERSION_TLSv1_2,
            pycurl.TIMEOUT_MS: max(int(transport.timeout * 1000), 1),
            # Both are set so that the environment's proxy variables have no say.
            pycurl.PROXY: transport.proxy or "",
            pycurl.NOPROXY: "" if transport.proxy else "*",
            pycurl.HEADERFUNCTION: self._take_header,
            pycurl.WRITEFUNCTION: self._take_body,
        }
        for option, value in options.items():
            curl.setopt(option, value)
        if not transport.proxy:
            curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)

    def set_up(self, batch: Batch, request: PushRequest, prepared: PreparedRequest) -> None:
        curl = self.curl
        self.batch = batch
        self.request = request
        self._headers.clear()
        self._header_bytes = 0
        self._body = b""
        self._address_refused = False
        curl.setopt(pycurl.URL, prepared.url)
        curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in prepared.headers.items()])
        curl.setopt(pycurl.POSTFIELDS, prepared.body)

    def response(self, code: int) -> PushResponse:
        seconds = self.curl.getinfo(pycurl.TOTAL_TIME)
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        if code and not (status >= 200 and self._headers and self._headers[-1] == b"\r\n"):
            error = TransportError.ADDRESS_REFUSED if self._address_refused else _ERRORS.get(code, TransportError.RESET)
            return failure(self.request, error, seconds)
        return PushResponse(
            id=self.request.id, status=status, headers=_parse_headers(self._headers), body=self._body, seconds=seconds
        )

    def _take_header(self, line: bytes) -> int | None:
        if line.startswith(b"HTTP/"):
            self._headers.clear()
        self._header_bytes += len(line)
        if self._header_bytes > MAX_REPLY_HEADER_BYTES:
            return 0
        self._headers.append(line)
        return None

    def _take_body(self, data: bytes) -> int | None:
        self._body += data[: MAX_REPLY_BYTES - len(self._body)]
        # Fewer bytes taken than given: curl closes the stream.
        return None if len(self._body) < MAX_REPLY_BYTES else 0

    def _open_socket(self, purpose: int, address: Any) -> Any:
        family, kind, protocol, target = address
        if self._transport.endpoint_policy.address_refusal(target[0]):
            self._address_refused = True
            return pycurl.SOCKET_BAD
        return socket.socket(family, kind, protocol)


def _parse_headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower() in READ_HEADERS:
            headers[name.lower()] = value.strip()
    return headers


if pycurl is not None:
    _WATCHED = {
        pycurl.POLL_IN: selectors.EVENT_READ,
        pycurl.POLL_OUT: selectors.EVENT_WRITE,
        pycurl.POLL_INOUT: selectors.EVENT_READ | selectors.EVENT_WRITE,
    }
    _SELECTED = {
        selectors.EVENT_READ: pycurl.CSELECT_IN,
        selectors.EVENT_WRITE: pycurl.CSELECT_OUT,
        selectors.EVENT_READ | selectors.EVENT_WRITE: pycurl.CSELECT_IN | pycurl.CSELECT_OUT,
    }
    _ERRORS = {
        pycurl.E_COULDNT_RESOLVE_HOST: TransportError.DNS,
        pycurl.E_COULDNT_RESOLVE_PROXY: TransportError.DNS,
        pycurl.E_COULDNT_CONNECT: TransportError.CONNECT,
        pycurl.E_OPERATION_TIMEDOUT: TransportError.TIMEOUT,
        pycurl.E_SSL_CONNECT_ERROR: TransportError.TLS,
        pycurl.E_PEER_FAILED_VERIFICATION: TransportError.TLS,
        pycurl.E_SSL_CACERT_BADFILE: TransportError.TLS,
    }

"""The fast transport: libcurl's multi interface with HTTP/2 multiplexing, driven by socket events.

Needs pycurl: `pip install django-webpush-kit[curl]`.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections import deque
from math import inf
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.protocol.responses import READ_HEADERS, TransportError

from .base import MAX_REPLY_BYTES, PushResponse
from .network import Batch, NetworkTransport, PreparedRequest, failure, trusted_certificates
from .threads import IdleTimer

try:
    import pycurl
except ImportError:
    pycurl = None

MAX_HOST_CONNECTIONS = 8
MAX_STREAMS = 100
"""Streams on one HTTP/2 connection, the maximum that push services allow."""

MAX_REPLY_HEADER_BYTES = 32768

MAX_STARTS = 2
"""How often libcurl may start one request.

When a connection that was used before dies without an answer, or the push service refuses a stream, libcurl sends the
request again, up to five times. After the first failure the push service may have accepted the message.
"""


class CurlTransport(NetworkTransport):
    """Sends over HTTP/2 if the push service supports it: hundreds of concurrent requests on a few connections.

    Connections stay open between calls of `send`. Options: see `NetworkTransport`.
    """

    default_max_in_flight = 512

    def __init__(self, **options: Any) -> None:
        if pycurl is None:
            raise ImproperlyConfigured(
                "CurlTransport needs pycurl: pip install django-webpush-kit[curl], or use PyWebPushTransport."
            )
        super().__init__(**options)
        self._handles = _Handles(self)

    def open_batch(self) -> Batch:
        """Return a multi handle with open connections. Concurrent calls of `send` use different handles."""
        return self._own_handles().take()

    def close(self) -> None:
        """Close the connections."""
        self._own_handles().close()

    def _own_handles(self) -> _Handles:
        if self._handles.process_id != os.getpid():
            # After a fork, the parent's connections stay open: closing them here would break them in the parent.
            _inherited.append(self._handles)
            self._handles = _Handles(self)
        return self._handles


class _Handles:
    """The unused multi handles of one process. They are closed after the transport's `idle_seconds`."""

    def __init__(self, transport: CurlTransport) -> None:
        self.process_id = os.getpid()
        self._transport = transport
        self._lock = threading.Lock()
        self._idle: list[_Multi] = []
        self._timer = IdleTimer(transport.idle_seconds, self._close_idle)

    def take(self) -> _Multi:
        """Return the most recently used handle, or a new one."""
        with self._lock:
            return self._idle.pop() if self._idle else _Multi(self._transport, self)

    def give_back(self, multi: _Multi) -> None:
        """Store a handle for the next `send`."""
        with self._lock:
            self._idle.append(multi)
        self._timer.restart()

    def close(self) -> None:
        """Close the unused handles."""
        self._timer.expire()
        self._close_idle()

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for multi in idle:
            multi.close()


_inherited: list[_Handles | _Multi] = []
"""Handles inherited by a fork. They are referenced forever, because garbage collection would close them."""

_MAX_WAIT_SECONDS = 1.0
"""Maximum wait between two calls of curl, even if its timer is set to a later time."""

_QUIET_SECONDS = 0.02
"""After 20 ms without an event, read all sockets for responses that libcurl has buffered.

After the end of a response, libcurl may leave other decrypted responses in TLS buffers. The socket then reports no
event for them, so without this read they would time out.
"""


_AWAY_SECONDS = 0.1
"""Time without a call after which it does not count towards the timeout of requests.

The caller may wait for its database for longer than the timeout. libcurl would then give up before it reads responses
that have arrived long ago, and their messages would be sent again.
"""


class _Multi(Batch):
    """A curl multi handle with its connections. It runs in the caller's thread.

    A separate network thread was tried: it costs more CPU time than it saves.
    """

    def __init__(self, transport: CurlTransport, handles: _Handles) -> None:
        self._transport = transport
        self._handles = handles
        self._due = inf
        self._may_hold_replies = False
        self._proceeded_at = time.monotonic()
        self._check_at = inf
        self._exchanges: dict[Any, _Exchange] = {}
        self._spare: list[_Exchange] = []
        self._responses: deque[PushResponse] = deque()
        self._selector = selectors.DefaultSelector()
        self._multi = multi = pycurl.CurlMulti()
        multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, MAX_STREAMS)
        multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, MAX_HOST_CONNECTIONS)
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)

    def submit(self, requests: list[PreparedRequest]) -> None:
        self._extend_after_absence()
        for request in requests:
            exchange = self._spare.pop() if self._spare else _Exchange(self._transport)
            exchange.set_up(request)
            self._exchanges[exchange.curl] = exchange
            self._multi.add_handle(exchange.curl)
        self._proceed(0)

    def has_response(self) -> bool:
        return bool(self._responses)

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._responses and (remaining := deadline - time.monotonic()) > 0:
            self._proceed(min(max(self._due - time.monotonic(), 0), remaining))

    def next_response(self) -> PushResponse:
        while not self._responses:
            self._proceed(min(max(self._due - time.monotonic(), 0), _MAX_WAIT_SECONDS))
        self.in_flight -= 1
        return self._responses.popleft()

    def end(self) -> None:
        if self._handles.process_id != os.getpid():
            _inherited.append(self)
            return
        for curl in self._exchanges:
            self._multi.remove_handle(curl)
            curl.close()
        self._exchanges.clear()
        self._responses.clear()
        self.in_flight = 0
        self._handles.give_back(self)

    def close(self) -> None:
        for exchange in self._spare:
            exchange.curl.close()
        self._multi.close()
        self._selector.close()

    def _proceed(self, seconds: float) -> None:
        """Wait for the sockets, let curl read and write, and collect the finished requests."""
        self._extend_after_absence()
        events = self._wait(seconds)
        for descriptor, event in events:
            self._multi.socket_action(descriptor, _SELECTED[event])
        if not events or time.monotonic() >= self._due:
            self._due = inf
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._proceeded_at = now = time.monotonic()
        if now >= self._check_at:
            self._check_at = now + _MAX_WAIT_SECONDS if self._exchanges else inf
            for key in list(self._selector.get_map().values()):
                self._multi.socket_action(key.fd, 0)
        self._collect()

    def _extend_after_absence(self) -> None:
        """Extend the timeouts of the requests that were sent by the time in which the caller did not read.

        libcurl has set its timers for the timeouts before, so from now on it is asked to check all connections.
        """
        away = time.monotonic() - self._proceeded_at
        if away < _AWAY_SECONDS:
            return
        self._proceeded_at = time.monotonic()
        for exchange in self._exchanges.values():
            if exchange.is_started:
                exchange.extend(away)
                self._check_at = 0.0

    def _wait(self, seconds: float) -> list[tuple[int, int]]:
        """Return the ready sockets, or all sockets if nothing happened for `_QUIET_SECONDS` after a response."""
        if not self._may_hold_replies or seconds < _QUIET_SECONDS:
            return [(key.fd, events) for key, events in self._selector.select(seconds)]
        selected = self._selector.select(_QUIET_SECONDS)
        if selected:
            return [(key.fd, events) for key, events in selected]
        self._may_hold_replies = False
        return [(key.fd, key.events) for key in self._selector.get_map().values()]

    def _collect(self) -> None:
        remaining = 1
        while remaining:
            remaining, complete, failed = self._multi.info_read()
            for curl in complete:
                self._finish(curl, 0)
            for curl, code, _message in failed:
                self._finish(curl, code)

    def _finish(self, curl: Any, code: int) -> None:
        self._multi.remove_handle(curl)
        self._may_hold_replies = True
        exchange = self._exchanges.pop(curl)
        self._responses.append(exchange.response(code))
        self._spare.append(exchange)

    def _watch(self, what: int, descriptor: int, multi: Any, data: Any) -> None:
        selector = self._selector
        if what == pycurl.POLL_REMOVE:
            selector.unregister(descriptor)
        elif descriptor in selector.get_map():
            selector.modify(descriptor, _WATCHED[what])
        else:
            selector.register(descriptor, _WATCHED[what])

    def _set_timer(self, milliseconds: int) -> None:
        self._due = inf if milliseconds < 0 else time.monotonic() + milliseconds / 1000


class _Exchange:
    """A reusable easy handle with one request and its response."""

    def __init__(self, transport: CurlTransport) -> None:
        self.curl = curl = pycurl.Curl()
        self._transport = transport
        self._headers: list[bytes] = []
        self._header_bytes = 0
        self._body = b""
        self._address_refused = False
        self._starts = 0
        self._extension = 0.0
        file, directory = trusted_certificates(transport.ca_bundle)
        # Unset what is not given, because libcurl may have been built with other trusted certificates.
        for option, path in ((pycurl.CAINFO, file), (pycurl.CAPATH, directory)):
            curl.setopt(option, path) if path else curl.unsetopt(option)
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
            # Both are set so that proxy variables of the environment are ignored.
            pycurl.PROXY: transport.proxy.url if transport.proxy else "",
            pycurl.NOPROXY: "" if transport.proxy else "*",
            pycurl.HEADERFUNCTION: self._take_header,
            pycurl.WRITEFUNCTION: self._take_body,
        }
        if hasattr(pycurl, "PREREQFUNCTION"):  # since pycurl 7.45.7
            options[pycurl.PREREQFUNCTION] = self._start
        for option, value in options.items():
            curl.setopt(option, value)
        if transport.proxy:
            headers = [f"{name}: {value}" for name, value in transport.proxy.headers.items()]
            curl.setopt(pycurl.HEADEROPT, pycurl.HEADER_SEPARATE)
            curl.setopt(pycurl.PROXYHEADER, headers)
        else:
            curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)

    def set_up(self, request: PreparedRequest) -> None:
        curl = self.curl
        self.request = request
        self._headers.clear()
        self._header_bytes = 0
        self._body = b""
        self._address_refused = False
        self._starts = 0
        self.extend(-self._extension)
        curl.setopt(pycurl.URL, request.url)
        curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in request.headers.items()])
        curl.setopt(pycurl.POSTFIELDS, request.body)

    @property
    def is_started(self) -> bool:
        """Whether the request may have been sent. Versions of pycurl before 7.45.7 do not tell."""
        return self._starts > 0

    def extend(self, seconds: float) -> None:
        """Let the request take longer than the timeout by this time."""
        if seconds:
            self._extension += seconds
            self.curl.setopt(pycurl.TIMEOUT_MS, max(int((self._transport.timeout + self._extension) * 1000), 1))

    def response(self, code: int) -> PushResponse:
        seconds = self.curl.getinfo(pycurl.TOTAL_TIME)
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        if code and not (status >= 200 and self._has_head()):
            return failure(self.request, self._error(code), seconds)
        return PushResponse(
            id=self.request.id, status=status, headers=_parse_headers(self._headers), body=self._body, seconds=seconds
        )

    def _error(self, code: int) -> TransportError:
        if self._address_refused:
            return TransportError.ADDRESS_REFUSED
        if self.curl.getinfo(pycurl.HTTP_CONNECTCODE) >= 300:
            return TransportError.CONNECT  # the proxy refused; older versions of libcurl report a lost connection
        return _ERRORS.get(code, TransportError.RESET)

    def _start(self, *_addresses: Any) -> int:
        """Called by libcurl before it sends the request, also when it sends it again."""
        self._starts += 1
        return int(pycurl.PREREQFUNC_OK if self._starts <= MAX_STARTS else pycurl.PREREQFUNC_ABORT)

    def _take_header(self, line: bytes) -> int | None:
        if line.startswith(b"HTTP/"):
            self._headers.clear()
        self._header_bytes += len(line)
        if self._header_bytes > MAX_REPLY_HEADER_BYTES:
            return 0
        if not self._has_head():  # otherwise it is a trailer
            self._headers.append(line)
        return None

    def _has_head(self) -> bool:
        return bool(self._headers) and not self._headers[-1].strip()

    def _take_body(self, data: bytes) -> int | None:
        self._body += data[: MAX_REPLY_BYTES - len(self._body)]
        # Returning less than was given makes curl close the stream.
        return None if len(self._body) < MAX_REPLY_BYTES else 0

    def _open_socket(self, purpose: int, address: Any) -> Any:
        family, kind, protocol, target = address
        if self._transport.endpoint_policy.address_refusal(target[0]):
            self._address_refused = True
            return pycurl.SOCKET_BAD
        return _Socket(family, kind, protocol)


class _Socket(socket.socket):
    """A socket that closes without a ResourceWarning: pycurl uses a duplicate of its file descriptor."""

    def __del__(self) -> None:
        self.close()


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
        pycurl.E_UNSUPPORTED_PROTOCOL: TransportError.PROTOCOL,
        pycurl.E_FTP_WEIRD_SERVER_REPLY: TransportError.PROTOCOL,
        pycurl.E_WRITE_ERROR: TransportError.PROTOCOL,
    }

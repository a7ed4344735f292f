"""A TLS server on loopback that misbehaves on request: the path of a request names the fault."""

from __future__ import annotations

import contextlib
import gzip
import select
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field
from http.client import parse_headers
from io import BytesIO
from urllib.parse import urlsplit


@dataclass
class Received:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class FaultServer:
    """Accepts connections on 127.0.0.1 and answers each path in its own way; a context manager.

    `certificate` is a PEM file with key and certificate, "" for plain HTTP. `connections` counts accepted ones,
    `open_connections` those that neither side has closed.
    """

    certificate: str = ""
    listen: str = "127.0.0.1"
    connections: int = 0
    open_connections: int = 0
    received: list[Received] = field(default_factory=list)
    bytes_sent: int = 0

    def __enter__(self):
        self._stopping = threading.Event()
        self._threads = []
        family = socket.AF_INET6 if ":" in self.listen else socket.AF_INET
        self._listener = socket.create_server((self.listen, 0), family=family)
        self.port = self._listener.getsockname()[1]
        self._context = None
        if self.certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(self.certificate)
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Refuse new connections and close the open ones. Does nothing if called again."""
        self._stopping.set()
        self._acceptor.join()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def url(self, path, host="localhost"):
        return f"{'https' if self.certificate else 'http'}://{host}:{self.port}{path}"

    def _accept(self):
        while not self._stopping.is_set():
            if not select.select([self._listener], [], [], 0.05)[0]:
                continue
            connection, _ = self._listener.accept()
            self.connections += 1
            self.open_connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection):
        try:
            self._serve_requests(connection)
        finally:
            self.open_connections -= 1

    def _serve_requests(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            if self._context is None:
                self._answer_requests(connection)
                return
            with self._context.wrap_socket(connection, server_side=True) as encrypted:
                self._answer_requests(encrypted)

    def _answer_requests(self, connection):
        while (request := self._read_request(connection)) is not None:
            self.received.append(request)
            name, _, argument = urlsplit(request.path).path.strip("/").partition("/")
            if not getattr(self, f"do_{name.replace('-', '_')}")(connection, argument):
                return

    def _read_request(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self._receive(connection)
            if not chunk:
                return None
            data += chunk
            if data.startswith(b"\x16"):  # TLS where plain HTTP is spoken
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return None
        head, _, body = data.partition(b"\r\n\r\n")
        first, _, lines = head.partition(b"\r\n")
        headers = {name.lower(): value for name, value in parse_headers(BytesIO(lines + b"\r\n\r\n")).items()}
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65536)
        return Received(first.split()[1].decode(), headers, body)

    def _receive(self, connection):
        while not self._stopping.is_set():
            pending = getattr(connection, "pending", lambda: 0)()
            if pending or select.select([connection], [], [], 0.05)[0]:
                return connection.recv(65536)
        return b""

    # Each answers one request and returns whether the connection stays open.

    def do_status(self, connection, argument):
        connection.sendall(b"HTTP/1.1 %s X\r\nContent-Length: 0\r\n\r\n" % argument.encode())
        return True

    def do_late(self, connection, argument):
        self._stopping.wait(0.2)
        return self.do_status(connection, "201")

    def do_header(self, connection, argument):
        connection.sendall(b"HTTP/1.1 429 X\r\nReTrY-aFtEr: 17\r\nX-Other: y\r\nContent-Length: 2\r\n\r\nno")
        return True

    def do_redirect(self, connection, argument):
        status, _, port = argument.partition("/")
        head = f"HTTP/1.1 {status} X\r\nLocation: http://localhost:{port}/\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(head.encode())
        return True

    def do_early_hints(self, connection, argument):
        connection.sendall(
            b"HTTP/1.1 103 Early Hints\r\nRetry-After: 1\r\n\r\nHTTP/1.1 201 X\r\nContent-Length: 0\r\n\r\n"
        )
        return True

    def do_reset(self, connection, argument):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    def do_close(self, connection, argument):
        return False

    def do_half_head(self, connection, argument):
        connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Le")
        return False

    def do_half_body(self, connection, argument):
        connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nhalf")
        return False

    def do_garbage(self, connection, argument):
        connection.sendall(b"\x00\x01SSH-2.0-OpenSSH\r\n\r\n")
        return False

    def do_raw(self, connection, argument):
        connection.sendall(bytes.fromhex(argument))
        return False

    def do_silent(self, connection, argument):
        self._until_hung_up(connection, b"")
        return False

    def do_drip_head(self, connection, argument):
        connection.sendall(b"HTTP/1.1 201 Created\r\nX-Drip: ")
        self._until_hung_up(connection, b"x")
        return False

    def do_drip_body(self, connection, argument):
        connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n")
        self._until_hung_up(connection, b"x")
        return False

    def do_endless_headers(self, connection, argument):
        connection.sendall(b"HTTP/1.1 201 Created\r\n")
        self._pour(connection, b"X-More: " + b"x" * 1000 + b"\r\n", 50_000_000)
        return False

    def do_endless_interim(self, connection, argument):
        self._pour(connection, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 50_000_000)
        return False

    def do_endless_chunks(self, connection, argument):
        connection.sendall(b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        self._pour(connection, b"1;" + b"x" * 1000 + b"\r\nx\r\n", 50_000_000)
        return False

    def do_endless_trailers(self, connection, argument):
        connection.sendall(b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n")
        self._pour(connection, b"X-More: " + b"x" * 1000 + b"\r\n", 50_000_000)
        return False

    def do_gzip(self, connection, argument):
        body = gzip.compress(b"x" * 10_000_000)
        head = f"HTTP/1.1 400 X\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        return True

    def do_chunked(self, connection, argument):
        connection.sendall(b"HTTP/1.1 400 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nVAP\r\n2\r\nID\r\n0\r\n\r\n")
        return True

    def do_then_close(self, connection, argument):
        self.do_status(connection, "201")
        return False

    def do_huge_body(self, connection, argument):
        connection.sendall(b"HTTP/1.1 500 X\r\nContent-Length: 300000000\r\n\r\n")
        self._pour(connection, b"x" * 65536, 300_000_000)
        return False

    def _pour(self, connection, piece, total):
        while self.bytes_sent < total and not self._stopping.is_set():
            connection.sendall(piece)
            self.bytes_sent += len(piece)

    def _until_hung_up(self, connection, piece):
        while not self._stopping.wait(0.05):
            if select.select([connection], [], [], 0)[0]:
                return
            connection.sendall(piece)

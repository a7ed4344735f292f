"""Connections of the portable transport over real sockets that end in every way."""

import socket
import struct
import time

import pytest

from django_webpush_kit.protocol.responses import TransportError
from django_webpush_kit.transports.connections import Connection, ConnectionPool, ExchangeError, Origin
from django_webpush_kit.transports.event_loop import EventLoop

ORIGIN = Origin("http", "127.0.0.1", 80)
HEADERS = [("Host", "127.0.0.1"), ("Content-Length", "4")]


@pytest.fixture
def ends():
    """A connection and the server's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection(socket.create_connection(listener.getsockname()), ORIGIN)
        server, _address = listener.accept()
    yield connection, server
    connection.close()
    server.close()


def reset(sock):
    """End the connection with a reset instead of a farewell."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def exchange(connection, seconds=5.0):
    """Post a request over the connection, and return the reply or raise."""
    return run(connection.exchange("/x", HEADERS, b"body", time.monotonic() + seconds))


def run(steps):
    loop = EventLoop()
    loop.start(outcome(steps))
    while not loop.results:
        loop.run(5)
    loop.close()
    if isinstance(loop.results[0], Exception):
        raise loop.results[0]
    return loop.results[0]


def outcome(steps):
    try:
        return (yield from steps)
    except ExchangeError as error:
        return error


def test_an_idle_connection_is_alive_until_the_server_ends_it(ends):
    connection, server = ends
    assert connection.is_alive()
    server.close()
    assert not connection.is_alive()


def test_a_reset_connection_is_not_alive(ends):
    connection, server = ends
    reset(server)
    assert not connection.is_alive()


def test_a_connection_with_unexpected_data_is_not_reused(ends):
    connection, server = ends
    server.sendall(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert not connection.is_alive()


def test_a_request_after_its_deadline_is_not_written(ends):
    connection, server = ends
    with pytest.raises(ExchangeError) as failure:
        exchange(connection, seconds=-1)
    assert failure.value.error is TransportError.TIMEOUT
    connection.close()
    assert server.recv(1) == b""


def test_a_request_that_cannot_be_written_is_unsent(ends):
    connection, _server = ends
    connection.close()
    with pytest.raises(ExchangeError) as failure:
        exchange(connection)
    assert (failure.value.error, failure.value.is_unsent) == (TransportError.RESET, True)


@pytest.mark.parametrize(("header", "is_complete"), [(b"", True), (b"Connection: close\r\n", False)])
def test_a_connection_with_connection_close_is_not_reused(ends, header, is_complete):
    connection, server = ends
    server.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n" + header + b"\r\nok")
    reply = exchange(connection)
    assert (reply.status, reply.body, reply.is_complete) == (201, b"ok", is_complete)


def test_a_connection_given_back_to_a_closed_pool_is_closed(ends):
    connection, server = ends
    pool = ConnectionPool(max_idle_seconds=60)
    pool.close()
    pool.give_back(connection)
    assert server.recv(1) == b""
    assert pool.take(ORIGIN) is None

"""What `PyWebPushTransport` does its own way: its event loop, and no request that may have arrived is sent twice."""

import logging
import socket
import threading
import time
from functools import partial

import pytest

from django_webpush_kit.protocol.responses import TransportError
from django_webpush_kit.transports import PyWebPushTransport
from django_webpush_kit.transports.connections import Origin
from django_webpush_kit.transports.threads import IdleTimer, JobThreads

from .conftest import PRIVATE


@pytest.fixture
def transport(certificates):
    transport = PyWebPushTransport(ca_bundle=certificates / "ca.pem", endpoint_policy=PRIVATE, timeout=5)
    yield transport
    transport.close()


def test_a_request_that_may_have_been_read_is_not_sent_again(transport, browser, server):
    paths = ["/status/201", "/close"]
    first, second = [next(transport.send([browser.request(server.url(path))])) for path in paths]
    assert (first.status, second.error) == (201, TransportError.RESET.value)
    assert [request.path for request in server.received] == paths


def test_a_slow_name_lookup_ends_at_the_deadline(transport, browser, monkeypatch):
    answered, asked = threading.Event(), []

    def hang(host, *arguments, **options):
        asked.append(host)
        answered.wait(20)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    transport.timeout = 0.1
    transport.close()  # the deadline is taken over when it is used again
    (response,) = transport.send([browser.request("https://localhost/x")])
    answered.set()
    assert (response.error, asked) == (TransportError.TIMEOUT.value, ["localhost"])


def test_a_request_with_invalid_headers_is_refused(transport, browser, server):
    request = browser.request(server.url("/status/201"), vapid_authorization="vapid ")
    (response,) = transport.send([request])
    assert response.error == TransportError.INVALID_REQUEST.value
    assert not server.received


def test_an_unexpected_error_fails_one_request(transport, browser, server, monkeypatch, caplog):
    resolve = socket.getaddrinfo

    def fail(host, *arguments, **options):
        if host == "127.0.0.3":
            raise LookupError("a resolver of the project's own")
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    urls = ["http://127.0.0.3/x", server.url("/status/201")]
    answers = {response.id: response for response in transport.send([browser.request(url) for url in urls])}
    assert answers[urls[0]].error == TransportError.INTERNAL.value
    assert answers[urls[1]].status == 201
    assert "LookupError" in caplog.text


def test_a_log_handler_that_raises_ends_nothing(transport, browser, server, monkeypatch):
    class Broken(logging.Handler):
        def emit(self, record):
            raise RuntimeError("the error reporter is down")

    handler, logger = Broken(), logging.getLogger("django_webpush_kit.transports.pywebpush")
    logger.addHandler(handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr("django_webpush_kit.transports.pywebpush.Origin.of", raise_lookup_error)
            responses = list(transport.send([browser.request(server.url("/status/201"))]))
    finally:
        logger.removeHandler(handler)
    assert [response.error for response in responses] == [TransportError.INTERNAL.value]


def raise_lookup_error(url):
    raise LookupError(url)


def test_a_second_address_is_tried_when_the_first_refuses(transport, browser, server, monkeypatch):
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, port, **options: [*resolve("127.0.0.9", port, **options), *resolve("127.0.0.1", port, **options)],
    )
    assert [response.status for response in transport.send([browser.request(server.url("/status/201"))])] == [201]


def test_running_out_of_descriptors_fails_only_the_request(transport, browser, server, monkeypatch):
    class NoSocket(socket.socket):
        def __init__(self, family=-1, *arguments, **options):
            if family in (socket.AF_INET, socket.AF_INET6):
                raise OSError(24, "Too many open files")
            super().__init__(family, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr("django_webpush_kit.transports.connections.socket.socket", NoSocket)
        (response,) = transport.send([browser.request(server.url("/status/201"))])
    assert response.error == TransportError.CONNECT.value


class TestJobThreads:
    @pytest.fixture
    def threads(self):
        threads = JobThreads(name="test", idle_seconds=30)
        yield threads
        threads.close()

    def test_jobs_run_at_the_same_time(self, threads):
        barrier = threading.Barrier(6)
        threads.run([partial(barrier.wait, 10)] * 2)
        threads.run([partial(barrier.wait, 10)] * 3)
        barrier.wait(10)

    def test_a_free_thread_takes_the_next_job(self, threads):
        names, done = set(), threading.Event()

        def job():
            names.add(threading.get_ident())
            done.set()

        for _ in range(5):
            done.clear()
            threads.run([job])
            assert done.wait(10)
            while threads.free != 1:
                time.sleep(0.001)
        assert len(names) == 1

    def test_without_any_thread_the_caller_does_the_work(self, threads, monkeypatch):
        def refuse(self):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        done = []
        threads.run([partial(done.append, threading.get_ident())] * 2)
        assert done == [threading.get_ident()] * 2


class TestIdleTimer:
    def test_without_threads_the_idle_timer_does_nothing(self, monkeypatch):
        def refuse(self):
            raise RuntimeError("can't start new thread")

        called = []
        timer = IdleTimer(0, lambda: called.append(1))
        monkeypatch.setattr(threading.Thread, "start", refuse)
        timer.restart()
        timer.expire()
        assert not called


def test_the_authority_of_an_ipv6_origin_is_in_brackets():
    assert Origin.of("https://[2606:4700::1111]/x").authority == "[2606:4700::1111]:443"

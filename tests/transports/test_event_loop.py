"""Generators that wait for sockets and events, and the lookups that connections share."""

import selectors
import socket
import threading
import time
from functools import partial

import pytest

from django_webpush_kit.transports.event_loop import READ, WRITE, Event, EventLoop, EventWait, SocketWait
from django_webpush_kit.transports.resolver import Resolver
from django_webpush_kit.transports.threads import JobThreads

LATER = 60


@pytest.fixture
def loop():
    loop = EventLoop()
    yield loop
    loop.close()


@pytest.fixture
def pair():
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        yield here, there


def until(deadline):
    return time.monotonic() + deadline


def finish(loop, number=1):
    """Run until so many generators have ended, and return their values."""
    while len(loop.results) < number:
        loop.run(LATER)
    return [loop.results.popleft() for _ in range(number)]


def received(sock, deadline=LATER):
    try:
        yield SocketWait(sock, READ, until(deadline))
    except (OSError, TimeoutError) as error:
        return type(error)
    return sock.recv(10)


class TestEventLoop:
    def test_generators_end_as_their_sockets_become_ready(self, loop):
        pairs = [socket.socketpair() for _ in range(3)]
        for here, _there in pairs:
            loop.start(received(here))
        for number in (2, 0, 1):
            pairs[number][1].send(b"%d" % number)
            assert finish(loop) == [b"%d" % number]
        for sock in (sock for pair in pairs for sock in pair):
            sock.close()

    def test_one_that_waits_too_long_gets_a_timeout_and_others_go_on(self, loop, pair):
        here, there = pair
        other, _silent = socket.socketpair()
        with other, _silent:
            loop.start(received(other, deadline=0.05))
            loop.start(received(here))
            assert finish(loop) == [TimeoutError]
            there.send(b"late")
            assert finish(loop) == [b"late"]

    def test_a_deadline_of_an_earlier_wait_is_forgotten(self, loop, pair):
        here, there = pair

        def steps():
            yield SocketWait(here, WRITE, until(0.05))
            return (yield from received(here))

        loop.start(steps())
        loop.run(LATER)
        time.sleep(0.06)
        loop.run(0)
        assert not loop.results
        there.send(b"x")
        assert finish(loop) == [b"x"]

    def test_an_event_of_another_thread_wakes_the_loop(self, loop):
        event = Event()

        def steps(number):
            yield EventWait(event, until(LATER))
            return number

        for number in range(3):
            loop.start(steps(number))
        thread = threading.Thread(target=event.set)
        thread.start()
        assert finish(loop, 3) == [0, 1, 2]
        thread.join()

    def test_an_event_that_is_set_already_does_not_wait(self, loop):
        event = Event()
        event.set()

        def steps():
            yield EventWait(event, until(LATER))
            return "done"

        loop.start(steps())
        assert finish(loop) == ["done"]

    def test_an_event_after_its_deadline_changes_nothing(self, loop, pair):
        here, there = pair
        event = Event()

        def steps():
            try:
                yield EventWait(event, until(0.01))
            except TimeoutError:
                return (yield from received(here))

        loop.start(steps())
        time.sleep(0.02)
        loop.run(LATER)
        event.set()
        loop.run(0)
        assert not loop.results
        there.send(b"x")
        assert finish(loop) == [b"x"]

    def test_an_event_after_the_loop_was_closed_changes_nothing(self, loop):
        event = Event()

        def steps():
            yield EventWait(event, until(LATER))

        loop.start(steps())
        loop.close()
        event.set()
        loop.run(0)
        assert not loop.results

    def test_closing_ends_the_generators(self, loop, pair):
        ended = []

        def steps():
            try:
                yield SocketWait(pair[0], READ, until(LATER))
            finally:
                ended.append(True)

        loop.start(steps())
        loop.close()
        assert ended == [True]

    def test_without_descriptors_the_generator_alone_fails(self, loop, pair, monkeypatch):
        def full(self, *arguments):
            raise OSError(24, "Too many open files")

        with monkeypatch.context() as patch:
            patch.setattr(selectors.DefaultSelector, "register", full)
            loop.start(received(pair[0]))
        assert finish(loop) == [OSError]


class TestResolver:
    @pytest.fixture
    def asked(self, monkeypatch):
        """The names that were looked up. Lookups wait until `asked.answer` is set."""

        class Asked(list):
            answer = threading.Event()
            failure = None

        asked = Asked()
        asked.answer = threading.Event()

        def look_up(host, port, **options):
            asked.append(host)
            asked.answer.wait(LATER)
            if asked.failure:
                raise asked.failure
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        yield asked
        asked.answer.set()

    @pytest.fixture
    def resolver(self):
        threads = JobThreads(name="test", idle_seconds=30)
        yield Resolver(threads)
        threads.close()

    @staticmethod
    def looked_up(resolver, host, deadline=LATER):
        try:
            return (yield from resolver.addresses(host, 443, until(deadline)))
        except Exception as error:
            return error

    def test_exchanges_share_the_lookup_of_a_name(self, loop, resolver, asked):
        for host in ("a.example", "a.example", "b.example"):
            loop.start(self.looked_up(resolver, host))
        asked.answer.set()
        assert finish(loop, 3) == [[(socket.AF_INET, ("127.0.0.1", 443))]] * 3
        assert sorted(asked) == ["a.example", "b.example"]

    def test_addresses_are_kept_until_they_are_forgotten(self, loop, resolver, asked):
        asked.answer.set()
        for _ in range(2):
            loop.start(self.looked_up(resolver, "a.example"))
            finish(loop)
        assert asked == ["a.example"]
        resolver.forget("a.example", 443)
        loop.start(self.looked_up(resolver, "a.example"))
        finish(loop)
        assert asked == ["a.example"] * 2

    def test_addresses_are_kept_for_a_minute(self, loop, resolver, asked, monkeypatch):
        asked.answer.set()
        loop.start(self.looked_up(resolver, "a.example"))
        finish(loop)
        now = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: now() + 61)
        loop.start(self.looked_up(resolver, "a.example"))
        finish(loop)
        assert asked == ["a.example"] * 2

    def test_a_lookup_that_fails_is_not_kept(self, loop, resolver, asked):
        asked.failure = socket.gaierror(-2, "Name or service not known")
        asked.answer.set()
        for host in ("a.example", "a.example"):
            loop.start(self.looked_up(resolver, host))
            assert finish(loop) == [asked.failure]
        assert asked == ["a.example"] * 2

    def test_a_lookup_that_hangs_times_out_and_is_not_started_again(self, loop, resolver, asked):
        for _ in range(2):
            loop.start(self.looked_up(resolver, "a.example", deadline=0.01))
            (error,) = finish(loop)
            assert isinstance(error, TimeoutError)
        assert asked == ["a.example"]

    @pytest.mark.parametrize("host", ["127.0.0.1", "2606:4700::1111"])
    def test_an_address_needs_no_thread(self, loop, resolver, monkeypatch, host):
        monkeypatch.setattr(JobThreads, "run", partial(pytest.fail, "a thread was asked for"))
        loop.start(self.looked_up(resolver, host))
        (addresses,) = finish(loop)
        assert [address[0] for _family, address in addresses] == [host]

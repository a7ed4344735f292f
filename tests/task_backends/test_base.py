"""Wake-ups: chosen by the settings, not doubled while one waits, and never the reason why nothing is sent."""

import socket
import threading

import pytest
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit import services
from django_webpush_kit.caching import scoped_key
from django_webpush_kit.outages import call_within
from django_webpush_kit.task_backends import ImmediateBackend, NullBackend, get_task_backend
from django_webpush_kit.task_backends.base import WAKE_UP_PENDING_KEY, clear_pending_wake_up
from tests import backends
from tests.backends import CountingQueue

PATH = "django_webpush_kit.task_backends."


@pytest.fixture(autouse=True)
def woken():
    backends.woken.clear()
    return backends.woken


@pytest.fixture
def shared_cache(settings, tmp_path):
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": tmp_path}
    }


@pytest.fixture
def broken_cache(settings, tmp_path):
    """A cache on a disk that does not work: its folder is a file."""
    (tmp_path / "file").touch()
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": tmp_path / "file" / "cache",
        }
    }


@pytest.mark.parametrize("name", ["ImmediateBackend", "NullBackend"])
def test_the_settings_choose_the_backend(push_settings, name):
    push_settings(TASK_BACKEND=PATH + name)
    assert type(get_task_backend()).__name__ == name


def test_without_a_setting_delivery_is_immediate(settings):
    settings.WEBPUSH_KIT = {}
    assert isinstance(get_task_backend(), ImmediateBackend)


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        (
            {"BACKEND": PATH + "NullBackend", "OPTIONS": {"colour": "red"}},
            r'WEBPUSH_KIT\["TASK_BACKEND"\]: .*NullBackend',
        ),
        ({"BACKEND": PATH + "NullBackend", "OPTION": {}}, "must be a dotted path"),
        ({"BACKEND": None}, "must be a dotted path"),
    ],
)
def test_an_invalid_setting_is_an_error_that_names_it(push_settings, backend, message):
    push_settings(TASK_BACKEND=backend)
    with pytest.raises(ImproperlyConfigured, match=message):
        get_task_backend()


def test_a_backend_without_schedules_says_what_to_do_instead():
    with pytest.raises(ImproperlyConfigured, match=r"NullBackend stores no schedules in the database.*deliver_push"):
        NullBackend().install_schedules()


def test_the_null_backend_wakes_nobody_and_has_no_messages():
    NullBackend().wake()
    NullBackend().wake_all()
    assert NullBackend().check() == ImmediateBackend().check() == []
    assert not backends.woken


class TestCoalescing:
    @pytest.mark.usefixtures("shared_cache")
    def test_a_pending_wake_up_is_not_repeated_until_a_worker_starts(self, woken):
        for _ in range(3):
            CountingQueue().wake()
        assert len(woken) == 1
        clear_pending_wake_up()
        CountingQueue().wake()
        assert len(woken) == 2

    @pytest.mark.parametrize("backend", ["locmem.LocMemCache", "dummy.DummyCache"])
    def test_a_cache_that_is_not_shared_coalesces_nothing(self, settings, woken, backend):
        settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}"}}
        for _ in range(3):
            CountingQueue().wake()
        clear_pending_wake_up()
        assert len(woken) == 3
        assert cache.get(scoped_key(WAKE_UP_PENDING_KEY)) is None

    @pytest.mark.usefixtures("shared_cache")
    def test_a_failed_wake_up_does_not_prevent_the_next_one(self, woken):
        with pytest.raises(ConnectionError):
            CountingQueue(is_away=True).wake()
        CountingQueue().wake()
        assert len(woken) == 1

    @pytest.mark.usefixtures("broken_cache")
    def test_a_cache_outage_does_not_delay_wake_ups(self, woken, caplog):
        CountingQueue().wake()
        CountingQueue().wake()
        assert len(woken) == 2
        assert caplog.text.count("The cache does not answer") == 1

    @pytest.mark.django_db
    @pytest.mark.usefixtures("broken_cache")
    def test_a_cache_outage_does_not_delay_workers(self, subscription, monkeypatch, caplog):
        from django.core.cache.backends.filebased import FileBasedCache

        from django_webpush_kit import services, tasks

        def fail(self, key, version=None):
            raise OSError("the disk is away")

        monkeypatch.setattr(FileBasedCache, "delete", fail)  # a file cache takes a missing folder for an empty one
        services.send(subscription, "Hello")
        assert tasks.wake_up() == {"sent": 1}
        assert "The cache does not answer" in caplog.text

    @pytest.mark.usefixtures("shared_cache")
    def test_a_broadcast_wakes_every_worker_even_if_a_wake_up_is_pending(self, woken):
        CountingQueue().wake()
        CountingQueue().wake_all()
        assert len(woken) == 1 + CountingQueue.workers

    def test_a_broker_outage_does_not_stop_a_fan_out(self, caplog):
        CountingQueue(is_away=True, name="fan-out").wake_all()
        assert "The broker of the task backend does not answer" in caplog.text


@pytest.fixture
def black_hole():
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def connections(listener):
    """How many connections wait to be accepted; they are ended."""
    listener.setblocking(False)
    count = 0
    try:
        while True:
            listener.accept()[0].close()
            count += 1
    except BlockingIOError:
        return count


class TestOutages:
    """Of the broker and of the cache."""

    @pytest.mark.usefixtures("shared_cache")
    def test_a_broker_is_not_called_for_a_while_after_a_failure(self, woken, caplog, monkeypatch):
        queue = CountingQueue(is_away=True, name="left alone")
        with pytest.raises(ConnectionError):
            queue.wake()
        queue.wake()
        queue.wake_all()
        assert queue.attempts == 1
        assert caplog.text.count("does not answer") == 1
        assert queue.find_outage() == "ConnectionError"
        assert CountingQueue(name="another process").find_outage() == "ConnectionError"

        monkeypatch.setattr("django_webpush_kit.outages.time.monotonic", lambda: float("inf"))
        with pytest.raises(ConnectionError):
            queue.wake()
        assert queue.attempts == 2

    @pytest.mark.usefixtures("shared_cache")
    def test_a_broker_that_comes_back_is_used_again(self, woken, caplog, monkeypatch):
        monkeypatch.setattr("django_webpush_kit.outages.AWAY_SECONDS", 0)
        queue = CountingQueue(is_away=True, name="comes back")
        for _ in range(2):
            with pytest.raises(ConnectionError):
                queue.wake()
        queue.is_away = False
        queue.wake()
        assert len(woken) == 1
        assert caplog.text.count("does not answer") == 1
        assert "answers again" in caplog.text
        assert queue.find_outage() == ""

    @pytest.mark.thorough
    @pytest.mark.django_db(transaction=True)
    def test_a_cache_that_never_answers_does_not_delay_send(
        self, subscription, settings, push_settings, black_hole, monkeypatch, caplog
    ):
        pytest.importorskip("redis")
        monkeypatch.setattr("django_webpush_kit.outages.CALL_SECONDS", 0.2)
        location = f"redis://127.0.0.1:{black_hole.getsockname()[1]}"
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": location}}
        push_settings(TASK_BACKEND="tests.backends.CountingQueue")
        for _ in range(3):
            services.send(subscription, "Hello")
        assert len(backends.woken) == 3
        assert connections(black_hole) == 1
        assert caplog.text.count("The cache does not answer") == 1

    def test_a_slow_call_times_out_in_the_caller(self):
        with pytest.raises(LookupError):
            call_within(5, lambda: {}["missing"])
        assert call_within(5, lambda: 7) == 7
        ended = threading.Event()
        with pytest.raises(TimeoutError):
            call_within(0.01, lambda: ended.wait(10))
        ended.set()

    def test_without_threads_the_call_runs_in_the_caller(self, monkeypatch):
        def refuse(self):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert call_within(5, threading.get_ident) == threading.get_ident()

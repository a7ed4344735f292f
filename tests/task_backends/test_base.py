"""Wake-ups: chosen by the settings, not doubled while one waits, and never the reason why nothing is sent."""

import pytest
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.caching import scoped_key
from django_webpush_kit.task_backends import ImmediateBackend, NullBackend, get_task_backend
from django_webpush_kit.task_backends.base import WAKE_MARK, clear_wake_mark
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


def configure(settings, backend):
    settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, "TASK_BACKEND": backend}


@pytest.mark.parametrize("name", ["ImmediateBackend", "NullBackend"])
def test_the_settings_choose_the_backend(settings, name):
    configure(settings, PATH + name)
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
        ({"BACKEND": PATH + "NullBackend", "OPTION": {}}, 'takes "BACKEND"'),
        ({"BACKEND": None}, 'takes "BACKEND"'),
    ],
)
def test_a_mistake_in_the_setting_is_named(settings, backend, message):
    configure(settings, backend)
    with pytest.raises(ImproperlyConfigured, match=message):
        get_task_backend()


def test_a_backend_without_schedules_says_what_to_do_instead():
    with pytest.raises(ImproperlyConfigured, match=r"NullBackend keeps no schedules in the database.*deliver_push"):
        NullBackend().install_schedules()


def test_the_null_backend_wakes_nobody_and_has_nothing_to_say():
    NullBackend().wake()
    NullBackend().wake_all()
    assert NullBackend().check() == []
    assert not backends.woken


def test_the_immediate_backend_reminds_of_what_it_leaves_to_others():
    (message,) = ImmediateBackend().check()
    assert message.id == "webpush_kit.I001"
    assert "deliver_push --loop" in message.hint


# coalescing


@pytest.mark.usefixtures("shared_cache")
def test_a_wake_up_that_waits_is_not_doubled_until_a_worker_looks(woken):
    for _ in range(3):
        CountingQueue().wake()
    assert len(woken) == 1
    clear_wake_mark()
    CountingQueue().wake()
    assert len(woken) == 2


@pytest.mark.parametrize("backend", ["locmem.LocMemCache", "dummy.DummyCache"])
def test_a_cache_that_others_do_not_see_coalesces_nothing(settings, woken, backend):
    settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}"}}
    for _ in range(3):
        CountingQueue().wake()
    clear_wake_mark()
    assert len(woken) == 3
    assert cache.get(scoped_key(WAKE_MARK)) is None


@pytest.mark.usefixtures("shared_cache")
def test_a_wake_up_that_could_not_be_enqueued_does_not_keep_the_next_from_it(woken):
    with pytest.raises(ConnectionError):
        CountingQueue(is_away=True).wake()
    CountingQueue().wake()
    assert len(woken) == 1


@pytest.mark.usefixtures("broken_cache")
def test_a_cache_that_is_away_holds_up_no_wake_up(woken, caplog):
    CountingQueue().wake()
    CountingQueue().wake()
    assert len(woken) == 2
    assert "wake-ups are not coalesced" in caplog.text


@pytest.mark.django_db
@pytest.mark.usefixtures("broken_cache")
def test_a_cache_that_is_away_holds_up_no_worker(subscription, monkeypatch, caplog):
    from django.core.cache.backends.filebased import FileBasedCache

    from django_webpush_kit import services, tasks

    def fail(self, key, version=None):
        raise OSError("the disk is away")

    monkeypatch.setattr(FileBasedCache, "delete", fail)  # a file cache takes a missing folder for an empty one
    services.send(subscription, "Hello")
    assert tasks.wake_up() == {"sent": 1}
    assert "wake-ups may come late" in caplog.text


@pytest.mark.usefixtures("shared_cache")
def test_a_broadcast_wakes_every_worker_whatever_waits(woken):
    CountingQueue().wake()
    CountingQueue().wake_all()
    assert len(woken) == 1 + CountingQueue.workers


def test_a_broker_that_is_away_does_not_stop_a_fan_out(caplog):
    CountingQueue(is_away=True).wake_all()
    assert "Workers could not be woken for a broadcast" in caplog.text

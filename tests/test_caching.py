"""What is remembered, for how long, and that it is never needed."""

import time
from importlib.metadata import PackageNotFoundError

import pytest
from django.core.cache.backends.locmem import LocMemCache

from django_webpush_kit import caching
from django_webpush_kit.caching import ask_cache, forget_kept_values, keep, kept, remember
from django_webpush_kit.conf import installed_version


def counter():
    calls = []

    def compute():
        calls.append(1)
        return len(calls)

    return compute


@pytest.fixture
def shared_cache(settings, tmp_path):
    """A cache that several processes could share."""
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": tmp_path}
    }


def test_the_second_call_is_answered_by_a_shared_cache(shared_cache):
    compute = counter()
    assert [remember("x", compute=compute), remember("x", compute=compute)] == [1, 1]


def test_each_combination_of_key_parts_is_computed(shared_cache):
    compute = counter()
    assert [remember("x", 1, compute=compute), remember("x", 2, compute=compute)] == [1, 2]


def test_what_takes_long_is_kept_longer(shared_cache):
    calls = []

    def compute():
        calls.append(1)
        time.sleep(0.05)
        return len(calls)

    for share, wanted in ((0.0005, [1, 1]), (1.0, [2, 3])):
        found = []
        for _ in range(2):
            found.append(remember(f"x-{share}", compute=compute, seconds=0.001, share=share))
            time.sleep(0.1)
        assert found == wanted


def test_none_is_cached_too(shared_cache):
    calls = []
    for _ in range(2):
        assert remember("x", compute=lambda: calls.append(1)) is None
    assert calls == [1]


def test_a_cache_of_one_process_is_not_used():
    compute = counter()
    assert [remember("x", compute=compute), remember("x", compute=compute)] == [1, 2]


def test_a_slow_result_is_kept_by_its_process(monkeypatch):
    """Such as the figures of a broadcast to a million browsers, which its page asks for every few seconds."""
    monkeypatch.setattr(caching, "SLOW_SECONDS", 0.0)
    compute = counter()
    assert [remember("x", compute=compute), remember("x", compute=compute)] == [1, 1]
    assert remember("x", compute=compute, seconds=0) == 2
    for number in range(2 * caching.MAX_KEPT):
        remember("y", number, compute=compute)
    assert len(caching._kept) <= caching.MAX_KEPT


def test_a_result_that_may_be_slow_is_kept_by_its_process():
    compute = counter()
    assert [remember("x", compute=compute, seconds=60, is_slow=True) for _ in range(2)] == [1, 1]


def test_a_slow_result_is_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr(caching, "SLOW_SECONDS", 0.0)
    compute = counter()
    found = []
    for _ in range(2):
        found.append(remember("x", compute=compute, seconds=0.001))
        time.sleep(0.1)
    assert found == [1, 2]


def test_a_value_is_kept_for_its_time():
    """Without a shared cache by this process."""
    assert kept("x", 1) is None
    keep("value", "x", 1, seconds=60)
    keep("old", "x", 2, seconds=0.0)
    assert [kept("x", 1), kept("x", 2)] == ["value", None]


@pytest.mark.usefixtures("shared_cache")
def test_a_kept_value_is_known_to_all_processes():
    keep("value", "x", seconds=60)
    forget_kept_values()
    assert kept("x") == "value"


@pytest.mark.usefixtures("shared_cache")
def test_another_version_does_not_read_the_values_of_this_one(monkeypatch):
    """Its classes may have other fields."""
    keep("value", "x", seconds=60)
    monkeypatch.setattr(caching, "installed_version", lambda: "0.0.1")
    assert kept("x") is None


def test_the_version_is_unknown_without_metadata(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("django_webpush_kit.conf.version", missing)
    assert installed_version.__wrapped__() == "unknown"


def test_zero_seconds_disable_the_cache(shared_cache, settings):
    settings.WEBPUSH_KIT = {"STATISTICS_CACHE_SECONDS": 0}
    compute = counter()
    assert [remember("x", compute=compute), remember("x", compute=compute)] == [1, 2]


def test_a_cache_outage_is_tolerated(settings, caplog):
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
    }
    assert remember("x", compute=lambda: "computed") == "computed"
    assert "The cache does not answer" in caplog.text


def test_a_cache_outage_during_a_call_is_tolerated(shared_cache, settings, caplog):
    def compute():
        settings.CACHES = {
            "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/7"}
        }
        return "computed"

    assert remember("x", compute=compute) == "computed"
    assert "The cache does not answer" in caplog.text


class LateClient(LocMemCache):
    """A cache whose client takes long to import, as that of Redis on a busy machine."""

    _is_ready = False

    @property
    def _cache(self):
        if not self._is_ready:
            time.sleep(0.3)
            self._is_ready = True
        return self._values

    @_cache.setter
    def _cache(self, values):
        self._values = values


def test_importing_the_client_is_not_taken_for_an_outage(settings, monkeypatch, caplog):
    monkeypatch.setattr("django_webpush_kit.outages.CALL_SECONDS", 0.2)
    monkeypatch.setattr("django_webpush_kit.caching.is_cache_shared", lambda: True)
    settings.CACHES = {"default": {"BACKEND": "tests.test_caching.LateClient", "LOCATION": "late"}}
    assert ask_cache(lambda cache: cache.get("x", 1)) == 1
    assert caplog.records == []

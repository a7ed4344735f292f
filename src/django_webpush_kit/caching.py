"""Short-lived caching for statistics and health, in Django's default cache.

Only a cache shared by all processes is used. Otherwise, the results of different processes would contradict each other.
A result that took long to compute is an exception: its process keeps it, too. So is what `keep()` keeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any, TypeVar, cast

from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from django_webpush_kit.conf import current_scope, installed_version, kit_settings
from django_webpush_kit.outages import guard_of

Value = TypeVar("Value")

SLOW_SECONDS = 2.0
"""A result that took longer is kept in this process. On a small site, nothing does."""

MAX_KEPT = 100
"""Values kept in this process."""

_kept: dict[str, tuple[Any, float]] = {}
"""Values of this process by key, and when they are too old (time.monotonic())."""


def remember(
    name: str,
    *parts: object,
    compute: Callable[[], Value],
    seconds: float | None = None,
    share: float = 1.0,
    is_slow: bool = False,
) -> Value:
    """Return the cached result of `compute()`, at most `seconds` old (default: `STATISTICS_CACHE_SECONDS`).

    `name` and `parts` form the cache key. A result that takes long is kept longer than `seconds`, so that computing it
    takes at most this `share` of the time. If no shared cache answers, the result is computed, or was kept by this
    process because it took more than `SLOW_SECONDS` or `is_slow`.
    """
    seconds = kit_settings.STATISTICS_CACHE_SECONDS if seconds is None else seconds
    if seconds <= 0:
        return compute()
    found = _find(name, *parts)
    if found is not None:
        return cast("Value", found[0])
    started = time.monotonic()
    value = compute()
    taken = time.monotonic() - started
    _store(value, name, *parts, seconds=max(seconds, taken / share), is_kept=is_slow or taken > SLOW_SECONDS)
    return value


def keep(value: Any, name: str, *parts: object, seconds: float) -> None:
    """Keep a value for `kept()` with the same `name` and `parts`, in the shared cache and in this process."""
    _store(value, name, *parts, seconds=seconds, is_kept=True)


def kept(name: str, *parts: object) -> Any:
    """Return the value that `keep()` kept, or None. Without a shared cache, each process has its own."""
    found = _find(name, *parts)
    return None if found is None else found[0]


def forget_kept_values() -> None:
    """Forget the values of this process, for tests."""
    _kept.clear()


def _find(name: str, *parts: object) -> tuple[Any] | None:
    """Return a tuple with the value, or None."""
    key = _value_key(name, *parts)
    found: tuple[Any] | None = ask_cache(lambda cache: cache.get(key))
    if found is not None:
        return found
    value, expires_at = _kept.get(key, (None, 0.0))
    return (value,) if time.monotonic() < expires_at else None


def _store(value: Any, name: str, *parts: object, seconds: float, is_kept: bool) -> None:
    key = _value_key(name, *parts)
    ask_cache(lambda cache: cache.set(key, (value,), seconds))
    if is_kept:
        if len(_kept) >= MAX_KEPT:
            _kept.clear()
        _kept[key] = value, time.monotonic() + seconds


def _value_key(name: str, *parts: object) -> str:
    """Return the cache key of a value. Another version of this package has others, since it may store other classes."""
    return scoped_key(name, installed_version(), *parts)


def scoped_key(name: str, *parts: object) -> str:
    """Return a cache key for `name`, `parts` and the current tenant (the setting `SCOPE`)."""
    return f"webpush_kit:{name}:{sha256(repr((current_scope(), *parts)).encode()).hexdigest()}"


def is_cache_shared() -> bool:
    """Return whether all processes share the default cache. One that cannot be created fails when it is asked."""
    try:
        cache = caches[DEFAULT_CACHE_ALIAS]
    except Exception:  # noqa: BLE001 - backends raise errors of their own
        return True
    return not isinstance(cache, DummyCache | LocMemCache)


def default_cache() -> BaseCache:
    """Return the default cache. The library of its client is imported, because that can take longer than an answer."""
    cache = caches[DEFAULT_CACHE_ALIAS]
    getattr(cache, "_cache", None)  # Django's caches create their client here, without connecting it
    return cache


def ask_cache(question: Callable[[BaseCache], Any]) -> Any:
    """Return `question(cache)`, or None if the cache is not shared, fails or takes too long.

    After a failure, the cache is not used for a while, so that an outage does not slow down every request.
    """
    guard = guard_of("The cache", repr(settings.CACHES[DEFAULT_CACHE_ALIAS]))
    try:
        # each thread has its own cache object; the helper thread must use ours
        cache = guard.call(default_cache, is_remote=False)
        if not is_cache_shared():
            return None
        return guard.call(lambda: question(cache), is_remote=not isinstance(cache, BaseDatabaseCache))
    except Exception:  # noqa: BLE001 - the guard has logged it
        return None

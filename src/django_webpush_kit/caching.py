"""What is read often and may be a little old, through Django's default cache.

Only a cache that all processes share is used: answers from a cache per process would contradict each other.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, TypeVar

from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from django_webpush_kit.conf import current_scope, kit_settings
from django_webpush_kit.outages import guard_of

Value = TypeVar("Value")


def remember(name: str, *parts: object, compute: Callable[[], Value], seconds: float | None = None) -> Value:
    """Return `compute()`, or what it returned at most `seconds` ago (default: `STATISTICS_CACHE_SECONDS`).

    `parts` tell apart what is computed under one name. A cache that does not answer is done without.
    """
    seconds = kit_settings.STATISTICS_CACHE_SECONDS if seconds is None else seconds
    if seconds <= 0:
        return compute()
    key = scoped_key(name, *parts)
    kept = ask_cache(lambda cache: cache.get(key))
    if kept is not None:
        found: Value = kept[0]
        return found
    value = compute()
    ask_cache(lambda cache: cache.set(key, (value,), seconds))
    return value


def scoped_key(name: str, *parts: object) -> str:
    """A cache key for `name`, for these `parts` and the current tenant (the setting `SCOPE`)."""
    return f"webpush_kit:{name}:{sha256(repr((current_scope(), *parts)).encode()).hexdigest()}"


def is_cache_shared() -> bool:
    """Return whether other processes see what this one puts into the default cache."""
    return not isinstance(caches[DEFAULT_CACHE_ALIAS], DummyCache | LocMemCache)


def ask_cache(question: Callable[[BaseCache], Any]) -> Any:
    """Return `question(cache)`; None when the cache is not shared, fails or takes too long.

    A cache that fails is left alone for a while, so that it holds up nobody.
    """
    guard = guard_of("The cache", repr(settings.CACHES[DEFAULT_CACHE_ALIAS]))
    try:
        # each thread has a cache object of its own: the thread that asks in our place uses ours
        cache = guard.call(lambda: caches[DEFAULT_CACHE_ALIAS], is_remote=False)
        if not is_cache_shared():
            return None
        return guard.call(lambda: question(cache), is_remote=not isinstance(cache, BaseDatabaseCache))
    except Exception:  # noqa: BLE001 - the guard has logged it
        return None

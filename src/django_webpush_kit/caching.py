"""What is read often and may be a little old, through Django's default cache.

Only a cache that all processes share is used: answers from a cache per process would contradict each other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from hashlib import sha256
from typing import Any, TypeVar

from django.core.cache import DEFAULT_CACHE_ALIAS, cache, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from django_webpush_kit.conf import current_scope, kit_settings

Value = TypeVar("Value")

_logger = logging.getLogger("django_webpush_kit")


def remember(name: str, *parts: object, compute: Callable[[], Value], seconds: float | None = None) -> Value:
    """Return `compute()`, or what it returned at most `seconds` ago (default: `STATISTICS_CACHE_SECONDS`).

    `parts` tell apart what is computed under one name. A cache that does not answer is done without.
    """
    seconds = kit_settings.STATISTICS_CACHE_SECONDS if seconds is None else seconds
    if seconds <= 0 or not is_cache_shared():
        return compute()
    key = scoped_key(name, *parts)
    kept = _ask_cache(lambda: cache.get(key))
    if kept is not None:
        found: Value = kept[0]
        return found
    value = compute()
    _ask_cache(lambda: cache.set(key, (value,), seconds))
    return value


def scoped_key(name: str, *parts: object) -> str:
    """A cache key for `name`, for these `parts` and the current tenant (the setting `SCOPE`)."""
    return f"webpush_kit:{name}:{sha256(repr((current_scope(), *parts)).encode()).hexdigest()}"


def is_cache_shared() -> bool:
    """Return whether other processes see what this one puts into the default cache."""
    return not isinstance(caches[DEFAULT_CACHE_ALIAS], DummyCache | LocMemCache)


def _ask_cache(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except Exception:
        _logger.warning("The cache does not answer", exc_info=True)
        return None

"""Code of a project that raises: receivers, functions and classes, each in a worker of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import cycle
from typing import Any, NoReturn

from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

from benchmarks.chaos import workers
from benchmarks.chaos.oddities import KINDS
from django_webpush_kit import signals
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.observers import Observer
from django_webpush_kit.task_backends import TaskBackend

_turns = cycle(KINDS)
_raises = {"audience": False}


def fail(*_arguments: Any, **_options: Any) -> NoReturn:
    """Raise the next kind of exception."""
    raise next(_turns)()


def audience() -> Any:
    """Everybody, or an exception."""
    if _raises["audience"]:
        fail()
    return get_subscription_model().objects.all()


class FailingObserver(Observer):
    """Raises whatever it is told."""

    on_chunk = on_queued = fail


class FailingBackend(TaskBackend):
    """Cannot wake anybody."""

    wake = wake_all = fail


class FailingCache(BaseCache):
    """A cache that is away."""

    def __init__(self, _location: str, parameters: dict[str, Any]) -> None:
        super().__init__(parameters)

    get = set = add = delete = incr = touch = clear = fail


def _fail_for_users(notification: Any, **_options: Any) -> None:
    if notification.user_id is not None:
        fail()


def _receivers() -> None:
    for signal in (signals.notifications_queued, signals.subscription_deactivated, signals.post_send):
        signal.connect(fail, weak=False)


def _pre_send() -> None:
    signals.pre_send.connect(_fail_for_users, weak=False)


def _managers() -> None:
    get_user_model().objects.__class__.get_queryset = fail  # type: ignore[method-assign]


def _error_reporters() -> None:
    handler = logging.Handler(level=logging.ERROR)
    handler.emit = fail  # type: ignore[method-assign]
    logging.getLogger("django_webpush_kit").addHandler(handler)
    _pre_send()


def _cache() -> None:
    from django.conf import settings

    settings.CACHES = {"default": {"BACKEND": f"{__name__}.FailingCache"}}
    caches.__dict__.pop("settings", None)  # kept from before


def _in_settings(name: str, value: Any) -> Callable[[], None]:
    def set_it() -> None:
        from django.conf import settings

        settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, name: value}

    return set_it


PLACES: dict[str, Callable[[], None]] = {
    "receivers of signals": _receivers,
    "receivers of pre_send": _pre_send,
    "RECIPIENT_CONTEXT": _in_settings("RECIPIENT_CONTEXT", fail),
    "AUDIENCES": lambda: _raises.update(audience=True),
    "ACTIVE_USERS": _in_settings("ACTIVE_USERS", fail),
    "task backends": _in_settings("TASK_BACKEND", f"{__name__}.FailingBackend"),
    "the cache": _cache,
    "managers of the user model": _managers,
    "error reporters": _error_reporters,
    "OBSERVERS": _in_settings("OBSERVERS", [f"{__name__}.FailingObserver"]),
}
"""How each place is made to raise. The names are those of the bulkheads in `tests/test_bulkheads.py`."""

MESSAGES = {"AUDIENCES": 3, "ACTIVE_USERS": 1}
"""How many of a send and three broadcasts others get: a broadcast that cannot know its audience waits or fails."""

ELSEWHERE = {
    "SCOPE": "without it no token can be signed, for nobody: nothing is sent, and nothing fails",
    "DATABASE_ROUTERS": "without them the outbox cannot be found, by nobody: nothing is claimed, and nothing fails",
    "transports": "requests under way wait for the end of their lease, which takes longer than 2 seconds",
    "template filters": "a project cannot add any; the line of odd values of a recipient gives odd values to ours",
    "AUTHENTICATORS": "asked by requests alone, not by delivery",
    "commands and checks": "nothing that is due waits for them",
}
"""Bulkheads that the bench leaves to `tests/test_bulkheads.py`, and why."""


def deliver_beside(place: str) -> None:
    """A worker in which one place raises."""
    logging.getLogger("django_webpush_kit").addHandler(logging.NullHandler())
    for name in ("django_webpush_kit", "django.dispatch"):
        logging.getLogger(name).propagate = False
    PLACES[place]()
    workers.deliver_for_ever()

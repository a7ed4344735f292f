"""Observers: classes that are called for each batch, chunk and event, for metrics and traces.

    WEBPUSH_KIT = {"OBSERVERS": ["django_webpush_kit.contrib.prometheus.Metrics"]}

List them in the setting `OBSERVERS`. Without observers, nothing is measured. If an observer raises, the exception is
logged and delivery continues.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.error_reports import log_error
from django_webpush_kit.signals import event_recorded, notifications_queued

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RequestReport:
    """One request to a push service.

    `status` is the HTTP status, None without an answer. `outcome` is the result for the notification:
    "sent", "retried", "failed", ... `started_at` is in seconds since 1970.
    """

    notification: Any
    batch: UUID
    type: str
    push_service: str
    status: int | None
    outcome: str
    started_at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class ChunkReport:
    """Rows that a worker claimed together, once the last of them is done.

    `outcomes` counts the rows of each outcome, as in `DeliveryReport`; "unanswered" are those whose request got
    lost. Rows that were not sent (suppressed, deferred, ...) have no request. `started_at` is in seconds since 1970.
    """

    claimed: int
    outcomes: Counter[str]
    requests: Sequence[RequestReport]
    started_at: float
    seconds: float
    batches: frozenset[UUID] = field(default_factory=frozenset)


class Observer:
    """Base class: override what you need. The options of the setting are the keyword arguments of the class."""

    def on_queued(self, batch: UUID, result: Any) -> None:
        """A batch was written and committed; `result` is its `SendResult`, or the `PushBroadcast`."""

    def on_chunk(self, report: ChunkReport) -> None:
        """A worker has finished a chunk of rows. Called in the worker's process."""

    def on_event(self, notification: Any, event: str) -> None:
        """A browser reported an event: "delivered", "clicked", "dismissed" or "action_clicked"."""


def observers() -> tuple[Observer, ...]:
    """Return the observers of the setting `OBSERVERS`, created once per process.

    An observer that cannot be created is logged and skipped; `manage.py check` reports it.
    """
    try:
        given = kit_settings.OBSERVERS
        return _made(repr(given), os.getpid()) if given else ()
    except Exception as error:  # noqa: BLE001 - contained
        log_error(_logger, 'WEBPUSH_KIT["OBSERVERS"] cannot be read', error=error)
        return ()


def make_observer(spec: str | Mapping[str, Any]) -> Observer:
    """Create an observer from a dotted path, or a dict of BACKEND and OPTIONS. Raises ImproperlyConfigured."""
    path = spec
    try:
        path, options = (spec, {}) if isinstance(spec, str) else (spec["BACKEND"], spec.get("OPTIONS") or {})
        observer = import_string(path)(**options)
    except Exception as error:
        raise ImproperlyConfigured(f'WEBPUSH_KIT["OBSERVERS"]: {path!r} cannot be used: {error}') from error
    if not isinstance(observer, Observer):
        raise ImproperlyConfigured(f'WEBPUSH_KIT["OBSERVERS"]: {path!r} is not a subclass of observers.Observer.')
    return observer


def tell(method: str, *arguments: Any) -> None:
    """Call a method of every observer. Exceptions are logged."""
    for observer in observers():
        try:
            getattr(observer, method)(*arguments)
        except Exception as error:  # noqa: BLE001 - contained
            log_error(_logger, "%s raised in %s", type(observer).__name__, method, error=error)


def connect() -> None:
    """Connect the observers to the signals of batches and events. Called at startup if there are observers."""
    notifications_queued.connect(_queued, dispatch_uid="webpush_kit_observers")
    event_recorded.connect(_event_recorded, dispatch_uid="webpush_kit_observers")


def disconnect() -> None:
    """Undo `connect`."""
    notifications_queued.disconnect(dispatch_uid="webpush_kit_observers")
    event_recorded.disconnect(dispatch_uid="webpush_kit_observers")


@lru_cache(maxsize=4)
def _made(_given: str, _process_id: int) -> tuple[Observer, ...]:
    made = []
    for spec in kit_settings.OBSERVERS:
        try:
            made.append(make_observer(spec))
        except ImproperlyConfigured as error:
            log_error(_logger, "%s", error)
    return tuple(made)


def _queued(batch: UUID, result: Any, **kwargs: Any) -> None:
    tell("on_queued", batch, result)


def _event_recorded(notification: Any, event: str, **kwargs: Any) -> None:
    tell("on_event", notification, event)

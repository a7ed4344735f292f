"""Health status of push delivery, for load balancers, monitoring and `push_doctor`.

- `healthy`: no problem was found, or there was no traffic
- `degraded`: push services accepted fewer than 90 % of the recent messages, a push service is paused, a broadcast has
  failed, some subscriptions have an unknown VAPID key, the broker does not answer, the scheduler is silent, or no
  worker was seen lately
- `unhealthy`: due notifications or broadcasts are not being delivered, a push service refuses our credentials, the
  database does not answer, the clock is wrong, or there are subscriptions but no valid VAPID key

Each problem comes with a fix. `delivery.problems` finds most of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.db.models import Count, Q
from django.utils import timezone

from django_webpush_kit.analytics import percentage
from django_webpush_kit.caching import remember
from django_webpush_kit.conf import backend_spec, current_scope, vapid_keyring
from django_webpush_kit.database import (
    GRANT,
    TABLES_MISSING,
    is_denied,
    is_missing_table,
    is_read_only,
    is_statement_error,
    is_unavailable,
)
from django_webpush_kit.delivery.breaker import Fault
from django_webpush_kit.delivery.manual_pause import ALL_SERVICES
from django_webpush_kit.delivery.pacing import send_limits
from django_webpush_kit.delivery.problems import (
    WAITING_SECONDS,
    Problem,
    broadcast_problems,
    clock_problems,
    idle_problems,
    is_in_use,
    key_problems,
    lag_problems,
    service_problems,
    worker_problems,
)
from django_webpush_kit.error_reports import error_text, log_error, log_event
from django_webpush_kit.models import PushServiceState, get_notification_model, get_subscription_model
from django_webpush_kit.overview import Readings, oldest_due
from django_webpush_kit.protocol.responses import GONE_STATUSES
from django_webpush_kit.querysets import without_index
from django_webpush_kit.readable_rows import EARLIEST
from django_webpush_kit.single_statements import CountOf, FirstOf, figures
from django_webpush_kit.states import NotificationStatus
from django_webpush_kit.task_backends import get_task_backend
from django_webpush_kit.task_backends.base import QueueBackend, TaskBackend

HEALTHY = "healthy"
DEGRADED = "degraded"
UNHEALTHY = "unhealthy"

MIN_SUCCESS_RATE = 90.0

RECENT_HOURS = 24

RECENT_ROWS = 50_000
"""Maximum number of rows for the success rate, so that the query costs the same on a large site."""

NOTHING_ACCEPTED = 10
"""A success rate of 0 means `unhealthy` if at least this many messages failed or expired."""

SUBSCRIPTIONS_CACHE_SECONDS = 60.0

_logger = logging.getLogger(__name__)


def get_health(*, details: bool = False, readings: Readings | None = None) -> dict[str, Any]:
    """Return `{"status", "success_rate", "active_subscriptions", "recent_notifications", "timestamp"}`.

    `success_rate` is a percentage for the last 24 hours or None, `timestamp` is ISO 8601. `details` adds
    `{"problems": [text], "findings": [{"level", "area", "text", "fix"}], "oldest_due_seconds", "paused_services":
    [{"push_service", "paused_until", "reason"}], "paused_by_hand": [{"push_service", "since"}], "refused_credentials":
    [{"push_service", "vapid_key_id", "reason", "since"}], "send_rates": [{"push_service", "per_minute",
    "throttled_at"}], "transport", "task_backend", "period_hours"}`. `level` is "unhealthy" or "degraded";
    `push_service` "" stands for all. The figures are cached for `STATISTICS_CACHE_SECONDS`; otherwise,
    `readings` keeps what was read for a page that shows more.
    """
    current = readings or Readings()
    try:
        found = remember("health", compute=lambda: _current_health(current))
    except DatabaseError as error:
        found = _unknown_health(_database_problem(error))
    _log_changes(found)
    return {**found["public"], **(found["details"] if details else {})}


def _database_problem(error: DatabaseError) -> Problem:
    if is_missing_table(error):
        log_error(_logger, "%s: run manage.py migrate. %s", TABLES_MISSING, error)
        return Problem("database", f"{TABLES_MISSING}.", "Run `manage.py migrate`.")
    if is_denied(error):
        log_error(_logger, "The database user lacks a permission", error=error)
        return Problem("database", f"The database user lacks a permission: {error_text(error)}.", GRANT)
    log_error(_logger, "The database does not answer", error=error)
    return Problem("database", "The database does not answer.", "Start it, or correct DATABASES.")


def http_status(health: dict[str, Any], *, strict: bool) -> int:
    """Return the HTTP status for the result of `get_health`: 503 if unhealthy and `strict`, otherwise 200.

    A load balancer takes a site out of service after a 503. A problem with push alone should not cause that.
    """
    return 503 if strict and health["status"] == UNHEALTHY else 200


def _current_health(readings: Readings) -> dict[str, Any]:
    now = readings.now
    recent = _recent(now)
    success_rate = percentage(recent["sent"], recent["sent"] + recent["unsent"])
    lag = recent["lag"]
    subscriptions = remember("subscriptions", compute=_subscriptions, seconds=SUBSCRIPTIONS_CACHE_SECONDS, share=0.1)
    states = readings.paused_services
    is_all_paused = any(state.paused_by_hand_at and state.push_service == ALL_SERVICES for state in states)
    difference = readings.clock_difference
    problems = [
        *key_problems(subscriptions["active"], subscriptions["lost"]),
        *service_problems(states, now),
        *_readable("workers", lambda: _worker_problems(readings, 0.0 if is_all_paused else lag)),
        *([] if is_all_paused else _readable("broadcasts", lambda: broadcast_problems(now))),
        *_queue_problems(),
        *clock_problems(difference),
        *_read_only_problems(),
        *_success_problems(success_rate, recent["unsent"]),
    ]
    return {
        "public": {
            "status": _status(problems),
            "success_rate": success_rate,
            "active_subscriptions": subscriptions["active"],
            "recent_notifications": recent["all"],
            "timestamp": now.isoformat(),
        },
        "details": {
            **_in_words(problems),
            "oldest_due_seconds": lag,
            **_service_details(states, now),
            "send_rates": _send_rates(readings.services),
            **_backends(),
            "period_hours": RECENT_HOURS,
        },
    }


def _readable(area: str, find: Callable[[], Iterable[Problem]]) -> list[Problem]:
    """Return the problems that `find` yields, or one that says that stored values cannot be read."""
    try:
        return list(find())
    except Exception as error:
        if is_unavailable(error) or is_statement_error(error):
            raise
        log_error(_logger, "Health cannot read the %s", area, error=error)
        text = f"Stored values of the {area} cannot be read ({type(error).__name__})."
        fix = "The log names the value: correct it in the database."
        return [Problem(area, text, fix, is_serious=False)]


def _status(problems: Sequence[Problem]) -> str:
    if any(problem.is_serious for problem in problems):
        return UNHEALTHY
    return DEGRADED if problems else HEALTHY


def _in_words(problems: Iterable[Problem]) -> dict[str, Any]:
    """Return the problems as sentences, serious ones first."""
    problems = sorted(problems, key=lambda problem: not problem.is_serious)
    return {
        "problems": [str(problem) for problem in problems],
        "findings": [
            {
                "level": UNHEALTHY if problem.is_serious else DEGRADED,
                "area": problem.area,
                "text": problem.text,
                "fix": problem.fix,
            }
            for problem in problems
        ],
    }


def _log_changes(found: dict[str, Any]) -> None:
    """Log when delivery becomes unhealthy and when it recovers, as soon as this process notices."""
    before, status = _last.get(_scope()), found["public"]["status"]
    _last[_scope()] = status
    if status == UNHEALTHY != before:
        findings = [one for one in found["details"]["findings"] if one["level"] == UNHEALTHY]
        text = " ".join(one["text"] for one in findings)
        areas = sorted({one["area"] for one in findings})
        log_event(_logger, logging.ERROR, "webpush.unhealthy", "Push delivery is unhealthy: %s", text, areas=areas)
    elif before == UNHEALTHY != status:
        log_event(_logger, logging.INFO, "webpush.recovered", "Push delivery is %s", status)


_last: dict[str, str] = {}
"""The last status of each tenant, as this process knows it."""


def _scope() -> str:
    try:
        return current_scope()
    except ImproperlyConfigured:
        return ""


def _service_details(states: Iterable[PushServiceState], now: datetime) -> dict[str, list[dict[str, str]]]:
    states = list(states)
    return {
        "paused_services": [
            {"push_service": state.push_service, "paused_until": state.paused_until.isoformat(), "reason": state.reason}
            for state in states
            if state.paused_until and state.paused_until > now
        ],
        "paused_by_hand": [
            {"push_service": state.push_service, "since": state.paused_by_hand_at.isoformat()}
            for state in states
            if state.paused_by_hand_at
        ],
        "refused_credentials": [
            {
                "push_service": state.push_service,
                "vapid_key_id": state.vapid_key_id,
                "reason": state.reason,
                "since": state.updated_at.isoformat(),
            }
            for state in states
            if state.paused_until and state.reason.startswith(Fault.CREDENTIALS.value) and is_in_use(state.vapid_key_id)
        ],
    }


def _unknown_health(problem: Problem) -> dict[str, Any]:
    return {
        "public": {
            "status": UNHEALTHY,
            "success_rate": None,
            "active_subscriptions": None,
            "recent_notifications": None,
            "timestamp": timezone.now().isoformat(),
        },
        "details": {
            **_in_words([problem]),
            "oldest_due_seconds": None,
            **_service_details([], timezone.now()),
            "send_rates": [],
            **_backends(),
            "period_hours": RECENT_HOURS,
        },
    }


def _recent(now: datetime) -> dict[str, Any]:
    """Count the rows of the last 24 hours, and how many of the latest `RECENT_ROWS` were sent, and failed or expired.

    Subscriptions that ended (404, 410) are not counted as failures. `lag` is how long the oldest due row has waited for
    a worker, or a row with a lapsed lease for recovery, in seconds.
    """
    recent = get_notification_model().objects.filter(created_at__gte=now - timedelta(hours=RECENT_HOURS))
    is_gone = Q(status=NotificationStatus.FAILED, response_status__in=GONE_STATUSES)
    is_unsent = Q(status__in=(NotificationStatus.FAILED, NotificationStatus.EXPIRED))
    counts = recent.order_by("-created_at")[:RECENT_ROWS].aggregate(
        sent=Count("pk", filter=Q(status=NotificationStatus.SENT)),
        all_unsent=Count("pk", filter=is_unsent),
        gone=Count("pk", filter=is_gone),
    )
    is_lapsed = {"status": NotificationStatus.SENDING, "next_attempt_at__range": (EARLIEST, now)}
    lapsed = FirstOf(recent.model.objects.filter(**is_lapsed).order_by("next_attempt_at"), "next_attempt_at")
    found = figures(recent.db, {"all": CountOf(recent), "lapsed": lapsed, **oldest_due(now)})
    number = found.pop("all")
    return {
        "all": number,
        "sent": counts["sent"],
        "unsent": counts["all_unsent"] - counts["gone"],
        "lag": round(max(((now - moment).total_seconds() for moment in found.values() if moment), default=0.0), 1),
    }


def _read_only_problems() -> Iterator[Problem]:
    if is_read_only():
        text = "The database is read-only: nothing can be subscribed, written or sent."
        yield Problem("database", text, "Connect to the primary. Workers and requests continue by themselves.")


def _send_rates(states: Iterable[PushServiceState]) -> list[dict[str, Any]]:
    """Return the send rates of push services. `throttled_at` is None for rates in `SEND_RATES`."""
    try:
        return [limit.as_json() for limit in send_limits(states)]
    except ImproperlyConfigured:
        return []  # checks report the setting


def _subscriptions() -> dict[str, int]:
    """Return the numbers of active subscriptions, and of those made with a VAPID key that is not configured.

    Both are counted in the index by push service and key, which SQLite would not use for `is_active`.
    """
    active = get_subscription_model().objects.filter(without_index("is_active", True)).order_by()
    groups = active.values_list("push_service", "vapid_key_id").annotate(Count("pk"))
    numbers = [(key_id, number) for _push_service, key_id, number in groups]
    return {"active": sum(number for _key_id, number in numbers), "lost": _lost(numbers)}


def _lost(numbers: Iterable[tuple[str, int]]) -> int:
    try:
        keyring = vapid_keyring()
    except ImproperlyConfigured:
        return 0
    known = {"", keyring.current.key_id, *(key.key_id for key in keyring.fallbacks)}
    return sum(number for key_id, number in numbers if key_id not in known)


def _worker_problems(readings: Readings, lag: float) -> Iterator[Problem]:
    """Yield problems of the workers, judged by their heartbeats and the age of the oldest due notification."""
    try:
        workers = readings.workers
    except DatabaseError:
        text = "The heartbeats of the workers cannot be read."
        yield Problem("workers", text, "Run `manage.py migrate`.", is_serious=False)
        yield from lag_problems(lag, [])
        return
    backend = _task_backend()
    problems = list(
        worker_problems(
            workers,
            lag,
            start_hint=(backend or TaskBackend).start_hint,
            has_queue=isinstance(backend, QueueBackend),
            delivers_in_requests=backend is not None and backend.delivers_in_requests,
        )
    )
    yield from problems
    if any(problem.area == "workers" and problem.is_serious for problem in problems):
        return
    idle = list(_idle_problems(readings, lag)) if lag > WAITING_SECONDS else []
    yield from idle or lag_problems(lag, workers)


def _idle_problems(readings: Readings, lag: float) -> Iterator[Problem]:
    backend = _task_backend()
    last_sent = readings.backlog.last_sent_at
    is_sending = last_sent is not None and last_sent > timezone.now() - timedelta(seconds=lag)
    return idle_problems(
        readings.workers,
        lag,
        sum(state.due for state in readings.backlog.lanes),
        start_hint=(backend or TaskBackend).start_hint,
        may_be_others=is_sending and backend is not None and not backend.delivers_in_requests,
    )


def _task_backend() -> TaskBackend | None:
    try:
        return get_task_backend()
    except (ImproperlyConfigured, ImportError):
        return None  # the checks and the doctor report settings


def _queue_problems() -> Iterator[Problem]:
    backend = _task_backend()
    outage = backend.find_outage() if isinstance(backend, QueueBackend) else ""
    if outage:
        yield Problem(
            "queue",
            f"The broker of the task backend does not answer ({outage}): workers are not woken.",
            "Start the broker, or correct its address. Until then the periodic sweep delivers.",
            is_serious=False,
        )


def _success_problems(success_rate: float | None, unsent: int) -> Iterator[Problem]:
    if success_rate is not None and success_rate < MIN_SUCCESS_RATE:
        yield Problem(
            "success",
            f"Push services accepted only {success_rate:g} % of the messages of the last {RECENT_HOURS} hours.",
            "Filter the outbox by the status failed or expired to see the reasons.",
            is_serious=success_rate == 0 and unsent >= NOTHING_ACCEPTED,
        )


def _backends() -> dict[str, str]:
    return {"transport": backend_path("TRANSPORT"), "task_backend": backend_path("TASK_BACKEND")}


def backend_path(name: str) -> str:
    """Return the dotted path in the setting `name`, or "unusable" if the setting is invalid."""
    try:
        return backend_spec(name)[0]
    except ImproperlyConfigured:
        return "unusable"

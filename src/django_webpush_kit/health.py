"""Health status of push delivery, for load balancers, monitoring and `push_doctor`.

- `healthy`: no problem was found, or there was no traffic
- `degraded`: push services accepted fewer than 90 % of the recent messages
- `unhealthy`: due notifications are not being delivered, a push service refuses our credentials, the database does not
  answer, or there are subscriptions but no valid VAPID key
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.db.models import Count, Q
from django.utils import timezone

from django_webpush_kit.analytics import percentage
from django_webpush_kit.caching import remember
from django_webpush_kit.conf import backend_spec, kit_settings, vapid_keyring
from django_webpush_kit.delivery.breaker import credentials_alarms
from django_webpush_kit.models import PushServiceState, get_notification_model, get_subscription_model
from django_webpush_kit.states import Lane, NotificationStatus

HEALTHY = "healthy"
DEGRADED = "degraded"
UNHEALTHY = "unhealthy"

MIN_SUCCESS_RATE = 90.0

RECENT_HOURS = 24

RECENT_ROWS = 50_000
"""Maximum number of rows for the success rate, so that the query costs the same on a large site."""

SUBSCRIPTIONS_CACHE_SECONDS = 60.0

_logger = logging.getLogger(__name__)


def get_health(*, details: bool = False) -> dict[str, Any]:
    """Return `{"status", "success_rate", "active_subscriptions", "recent_notifications", "timestamp"}`.

    `success_rate` is a percentage for the last 24 hours or None, `timestamp` is ISO 8601. `details` adds
    `{"problems": [text], "oldest_due_seconds", "paused_services": [{"push_service", "paused_until", "reason"}],
    "refused_credentials": [{"push_service", "vapid_key_id", "reason", "since"}], "transport", "task_backend",
    "period_hours"}`. The figures are cached for `STATISTICS_CACHE_SECONDS`.
    """
    try:
        found = remember("health", compute=_current_health)
    except DatabaseError:
        _logger.exception("The database does not answer")
        found = _unknown_health("The database does not answer.")
    return {**found["public"], **(found["details"] if details else {})}


def http_status(health: dict[str, Any], *, strict: bool) -> int:
    """Return the HTTP status for the result of `get_health`: 503 if unhealthy and `strict`, otherwise 200.

    A load balancer takes a site out of service after a 503. A problem with push alone should not cause that.
    """
    return 503 if strict and health["status"] == UNHEALTHY else 200


def _current_health() -> dict[str, Any]:
    now = timezone.now()
    recent = _recent(now)
    success_rate = percentage(recent["sent"], recent["sent"] + recent["failed"])
    alarms = [alarm for alarm in credentials_alarms() if _is_in_use(alarm.vapid_key_id)]
    lag = _oldest_due_seconds(now)
    subscriptions = remember("active-subscriptions", compute=_active_subscriptions, seconds=SUBSCRIPTIONS_CACHE_SECONDS)
    faults = [*_key_faults(subscriptions), *_credentials_faults(alarms), *_lag_faults(lag)]
    weaknesses = _success_faults(success_rate)
    return {
        "public": {
            "status": UNHEALTHY if faults else DEGRADED if weaknesses else HEALTHY,
            "success_rate": success_rate,
            "active_subscriptions": subscriptions,
            "recent_notifications": recent["all"],
            "timestamp": now.isoformat(),
        },
        "details": {
            "problems": [*faults, *weaknesses],
            "oldest_due_seconds": lag,
            "paused_services": _paused_services(now),
            "refused_credentials": [
                {
                    "push_service": alarm.push_service,
                    "vapid_key_id": alarm.vapid_key_id,
                    "reason": alarm.reason,
                    "since": alarm.updated_at.isoformat(),
                }
                for alarm in alarms
            ],
            **_backends(),
            "period_hours": RECENT_HOURS,
        },
    }


def _is_in_use(vapid_key_id: str) -> bool:
    """Return whether this key is still configured. Faults of a removed key no longer matter."""
    try:
        return vapid_keyring().find(vapid_key_id) is not None
    except ImproperlyConfigured:
        return True


def _unknown_health(problem: str) -> dict[str, Any]:
    return {
        "public": {
            "status": UNHEALTHY,
            "success_rate": None,
            "active_subscriptions": None,
            "recent_notifications": None,
            "timestamp": timezone.now().isoformat(),
        },
        "details": {
            "problems": [problem],
            "oldest_due_seconds": None,
            "paused_services": [],
            "refused_credentials": [],
            **_backends(),
            "period_hours": RECENT_HOURS,
        },
    }


def _recent(now: datetime) -> dict[str, int]:
    """Count the rows of the last 24 hours, and how many of the latest `RECENT_ROWS` were sent and failed."""
    recent = get_notification_model().objects.filter(created_at__gte=now - timedelta(hours=RECENT_HOURS))
    counts = recent.order_by("-created_at")[:RECENT_ROWS].aggregate(
        sent=Count("pk", filter=Q(status=NotificationStatus.SENT)),
        failed=Count("pk", filter=Q(status=NotificationStatus.FAILED)),
    )
    return {"all": recent.count(), **counts}


def _oldest_due_seconds(now: datetime) -> float:
    """Return how long the oldest due row has waited for a worker, or a row with a lapsed lease for recovery."""
    rows = get_notification_model().objects
    oldest = [
        rows.filter(status=status, lane=lane, next_attempt_at__lte=now)
        .order_by("next_attempt_at")
        .values_list("next_attempt_at", flat=True)
        .first()
        for status in (NotificationStatus.PENDING, NotificationStatus.SENDING)
        for lane in Lane
    ]
    return round(max(((now - moment).total_seconds() for moment in oldest if moment), default=0.0), 1)


def _active_subscriptions() -> int:
    return get_subscription_model().objects.filter(is_active=True).count()


def _paused_services(now: datetime) -> list[dict[str, str]]:
    return [
        {"push_service": state.push_service, "paused_until": state.paused_until.isoformat(), "reason": state.reason}
        for state in PushServiceState.objects.filter(paused_until__gt=now).order_by("push_service")
        if state.paused_until
    ]


def _key_faults(subscriptions: int) -> list[str]:
    """Report missing or invalid keys. Without subscriptions, push is just not set up yet."""
    try:
        vapid_keyring()
    except ImproperlyConfigured as error:
        return [f"Notifications cannot be sent: {error}"] if subscriptions else []
    return []


def _credentials_faults(alarms: Iterable[PushServiceState]) -> list[str]:
    return [
        f"{alarm.push_service} refuses the VAPID key {alarm.vapid_key_id}: check the key pair and VAPID_SUBJECT."
        for alarm in alarms
    ]


def _lag_faults(seconds: float) -> list[str]:
    if seconds <= kit_settings.HEALTH_MAX_LAG_SECONDS:
        return []
    return [f"A notification has been due for {seconds:.0f} s. Check that deliver_push or the queue's worker runs."]


def _success_faults(success_rate: float | None) -> list[str]:
    if success_rate is None or success_rate >= MIN_SUCCESS_RATE:
        return []
    return [f"Push services accepted only {success_rate:g} % of the messages of the last {RECENT_HOURS} hours."]


def _backends() -> dict[str, str]:
    return {"transport": backend_path("TRANSPORT"), "task_backend": backend_path("TASK_BACKEND")}


def backend_path(name: str) -> str:
    """Return the dotted path in the setting `name`, or "unusable" if the setting is invalid."""
    try:
        return backend_spec(name)[0]
    except ImproperlyConfigured:
        return "unusable"

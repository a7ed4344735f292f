"""Is push healthy? One answer for load balancers, monitors and the doctor.

`healthy`; `degraded`: fewer than 90 % of the recent messages were accepted; `unhealthy`: there are subscriptions and no
usable VAPID key, a push service refuses our credentials, what is due is not being delivered, or the database does not
answer. Without traffic there is no success rate, and nothing wrong.
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

LEAST_SUCCESS_RATE = 90.0

RECENT_HOURS = 24

RECENT_ROWS = 50_000
"""The success rate is that of the latest rows, at most so many: health must cost the same on a large site."""

SUBSCRIPTIONS_CACHE_SECONDS = 60.0

_logger = logging.getLogger(__name__)


def get_health(*, details: bool = False) -> dict[str, Any]:
    """`{"status", "success_rate", "active_subscriptions", "recent_notifications", "timestamp"}`.

    `success_rate` is a percentage of the last 24 hours or None, `timestamp` ISO 8601. With `details` also
    `{"problems": [words], "oldest_due_seconds", "paused_services": [{"push_service", "paused_until", "reason"}],
    "refused_credentials": [{"push_service", "vapid_key_id", "reason", "since"}], "transport", "task_backend",
    "period_hours"}`. The figures may be `STATISTICS_CACHE_SECONDS` old.
    """
    try:
        found = remember("health", compute=_look)
    except DatabaseError:
        _logger.exception("The database does not answer")
        found = _nothing_known("The database does not answer.")
    return {**found["public"], **(found["details"] if details else {})}


def http_status(health: dict[str, Any], *, strict: bool) -> int:
    """The HTTP status that goes with an answer of `get_health`: 200, or 503 when it is unhealthy and `strict`.

    Load balancers that read 503 take a site out of service; they should not do so because of push alone.
    """
    return 503 if strict and health["status"] == UNHEALTHY else 200


def _look() -> dict[str, Any]:
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
    """Whether messages are still signed with this key; what was held against a key that was given up is history."""
    try:
        return vapid_keyring().find(vapid_key_id) is not None
    except ImproperlyConfigured:
        return True


def _nothing_known(problem: str) -> dict[str, Any]:
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
    """How many rows of the last 24 hours there are, and of the latest of them how many were sent and failed."""
    recent = get_notification_model().objects.filter(created_at__gte=now - timedelta(hours=RECENT_HOURS))
    counts = recent.order_by("-created_at")[:RECENT_ROWS].aggregate(
        sent=Count("pk", filter=Q(status=NotificationStatus.SENT)),
        failed=Count("pk", filter=Q(status=NotificationStatus.FAILED)),
    )
    return {"all": recent.count(), **counts}


def _oldest_due_seconds(now: datetime) -> float:
    """How long the most overdue row has waited, be it for a worker or for its dead worker's lease to be taken back."""
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
    """Without keys nothing can be sent; before anybody has subscribed, push is merely not set up yet."""
    try:
        vapid_keyring()
    except ImproperlyConfigured as error:
        return [f"Nothing can be sent: {error}"] if subscriptions else []
    return []


def _credentials_faults(alarms: Iterable[PushServiceState]) -> list[str]:
    return [
        f"{alarm.push_service} refuses the VAPID key {alarm.vapid_key_id}: check the key pair and VAPID_SUBJECT."
        for alarm in alarms
    ]


def _lag_faults(seconds: float) -> list[str]:
    if seconds <= kit_settings.HEALTH_MAX_LAG_SECONDS:
        return []
    return [f"A notification has been due for {seconds:.0f} s: is a worker running (deliver_push, or the queue's)?"]


def _success_faults(success_rate: float | None) -> list[str]:
    if success_rate is None or success_rate >= LEAST_SUCCESS_RATE:
        return []
    return [f"Only {success_rate:g} % of the messages of the last {RECENT_HOURS} hours were accepted."]


def _backends() -> dict[str, str]:
    return {"transport": backend_path("TRANSPORT"), "task_backend": backend_path("TASK_BACKEND")}


def backend_path(name: str) -> str:
    """The dotted path in the setting `name`, or "unusable"."""
    try:
        return backend_spec(name)[0]
    except ImproperlyConfigured:
        return "unusable"

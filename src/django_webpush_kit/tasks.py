"""Tasks for queues and schedulers. Their names are stable, because schedules store them.

Task backends enqueue `wake_up`. Schedule `send_scheduled_notifications` every minute and
`cleanup_expired_subscriptions` every hour.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.heartbeats import beating, task_heartbeat
from django_webpush_kit.delivery.pruning import clean_up
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.task_backends.base import WAKE_UP_TASK, clear_pending_wake_up, get_task_backend
from django_webpush_kit.task_backends.celery import register_tasks


def wake_up() -> dict[str, int]:
    """Deliver due notifications within the queue's time limit. Enqueue another task if rows remain."""
    return _deliver(is_sweep=False)


def _deliver(*, is_sweep: bool) -> dict[str, int]:
    clear_pending_wake_up()
    backend = get_task_backend()
    heartbeat = task_heartbeat(type(backend).__name__)
    if is_sweep:
        heartbeat.note_sweep()
    heartbeat.note()
    with beating(heartbeat):
        report = deliver_due(seconds=backend.seconds, on_backlog=backend.wake_all)
    if report.more:
        backend.wake()
    return dict(report.outcomes)


def deliver_batches(batches: Sequence[UUID], limit: int) -> dict[str, int]:
    """Deliver at most `limit` rows of these batches. `ImmediateBackend` calls this after commit."""
    outcomes: Counter[str] = Counter()
    for batch in batches:
        if limit > 0:
            report = deliver_due(limit, batch=batch)
            limit -= report.claimed
            outcomes += report.outcomes
    return dict(outcomes)


def send_scheduled_notifications() -> dict[str, int]:
    """Deliver all due rows: scheduled, deferred, to be retried, or left behind by a worker that died."""
    return _deliver(is_sweep=True)


def retry_failed_notifications() -> dict[str, int]:
    """Legacy alias of `send_scheduled_notifications`."""
    return _deliver(is_sweep=True)


def cleanup_expired_subscriptions() -> dict[str, int]:
    """Deactivate subscriptions past their expiration time and delete rows past their retention."""
    return clean_up(seconds=get_task_backend().seconds)


def send_push_notification_task(
    subscription_id: Any, title: str, body: str = "", data: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Send one notification to one subscription. Returns the dict of `PushNotificationService.send_notification`."""
    subscription = get_subscription_model().objects.filter(pk=subscription_id).first()
    if subscription is None:
        return {"success": False, "error": "The subscription does not exist"}
    return services.PushNotificationService().send_notification(subscription, title, body, data)


register_tasks(
    {
        WAKE_UP_TASK: wake_up,
        "send_scheduled_notifications": send_scheduled_notifications,
        "retry_failed_notifications": retry_failed_notifications,
        "cleanup_expired_subscriptions": cleanup_expired_subscriptions,
        "send_push_notification_task": send_push_notification_task,
    }
)

"""The tasks that queues and schedulers call."""

from datetime import timedelta

import pytest
from django.utils import timezone

from django_webpush_kit import services, tasks
from django_webpush_kit.models import IdempotencyKey, get_notification_model, get_subscription_model
from django_webpush_kit.task_backends.base import WAKE_UP_TASK
from django_webpush_kit.testing import outbox
from tests import backends
from tests.factories import make_notification

pytestmark = pytest.mark.django_db


def test_task_names_are_those_of_the_functions():
    assert f"{tasks.wake_up.__module__}.{tasks.wake_up.__qualname__}" == WAKE_UP_TASK


@pytest.mark.parametrize("sweep", [tasks.wake_up, tasks.send_scheduled_notifications, tasks.retry_failed_notifications])
def test_each_sweep_task_delivers_all_due_rows(subscription, sweep):
    hour = timedelta(hours=1)
    now = timezone.now()
    services.send(subscription, "Now")
    services.send(subscription, "Scheduled", scheduled_for=now - hour)
    services.send(subscription, "Later", scheduled_for=now + hour)
    make_notification(subscription, "pending", title="To be retried", retry_count=1)
    make_notification(subscription, "sending", title="Left behind", claims=1)
    assert sweep() == {"sent": 4}
    assert {message.title for message in outbox} == {"Now", "Scheduled", "To be retried", "Left behind"}
    assert sweep() == {}


def test_a_task_that_reaches_its_time_limit_wakes_another(user, make_subscription, push_settings, monkeypatch):
    push_settings(CHUNK_SIZE=1, TASK_BACKEND="tests.backends.RecordingBackend")
    backends.woken.clear()
    monkeypatch.setattr(backends.RecordingBackend, "seconds", 0.0)
    services.send([make_subscription(user), make_subscription(user)], "Hello")
    assert tasks.wake_up() == {}
    assert backends.woken == [[]]
    monkeypatch.setattr(backends.RecordingBackend, "seconds", None)
    assert tasks.wake_up() == {"sent": 2}
    assert backends.woken == [[]]


def test_clean_up_deactivates_and_prunes(user, make_subscription, push_settings):
    push_settings(RETENTION_DAYS=10, IDEMPOTENCY_DAYS=5)
    now = timezone.now()
    kept = make_subscription(user)
    make_subscription(user, is_active=True)
    get_subscription_model().objects.exclude(pk=kept.pk).update(expiration_time=now - timedelta(seconds=1))
    make_subscription(user, is_active=False, deactivated_at=now - timedelta(days=11))
    make_subscription(user, is_active=False, deactivated_at=now - timedelta(days=9))
    for status in ("sent", "failed", "pending", "sending"):
        make_notification(kept, status, days_ago=11)
    make_notification(kept, "sent", days_ago=9)
    services.send(user, "Hello", idempotency_key="old")
    IdempotencyKey.objects.update(created_at=now - timedelta(days=6))
    get_notification_model().objects.filter(batch=IdempotencyKey.objects.get().batch).update(status="sent")
    services.send(user, "Hello", idempotency_key="new")

    done = tasks.cleanup_expired_subscriptions()

    assert {name: done[name] for name in ("expired", "notifications", "subscriptions", "idempotency_keys")} == {
        "expired": 1,
        "notifications": 2,
        "subscriptions": 1,
        "idempotency_keys": 1,
    }
    assert get_subscription_model().objects.filter(is_active=True).get() == kept
    assert get_subscription_model().objects.filter(is_active=False).count() == 2
    old = get_notification_model().objects.filter(created_at__lt=now - timedelta(days=10))
    assert set(old.values_list("status", flat=True)) == {"pending", "sending"}
    assert IdempotencyKey.objects.get().key_hash == IdempotencyKey.hash_of("new")
    assert tasks.cleanup_expired_subscriptions()["expired"] == 0


def test_pruning_goes_in_small_steps(subscription, monkeypatch):
    monkeypatch.setattr("django_webpush_kit.delivery.pruning.DELETE_SIZE", 2)
    for _ in range(5):
        make_notification(subscription, "sent", days_ago=1000)
    assert tasks.cleanup_expired_subscriptions()["notifications"] == 5
    assert not get_notification_model().objects.exists()


def test_a_task_for_a_single_notification(subscription):
    done = tasks.send_push_notification_task(subscription.pk, "Hello", "World", {"a": 1})
    row = get_notification_model().objects.get()
    assert done == {"success": True, "notification_id": row.pk}
    assert (row.title, row.body, row.data) == ("Hello", "World", {"a": 1})


def test_a_task_for_an_inactive_subscription_is_not_retried(subscription):
    key = subscription.pk
    subscription.delete()
    assert tasks.send_push_notification_task(key, "Hello") == {
        "success": False,
        "error": "The subscription does not exist",
    }

"""Health: what it says in which state of the database."""

from datetime import datetime, timedelta

import pytest
from django.core.cache import caches
from django.db import connection
from django.utils import timezone

from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.health import get_health, http_status
from django_webpush_kit.models import PushServiceState, get_notification_model
from tests.factories import make_notification

pytestmark = pytest.mark.django_db

SERVICE = "updates.push.services.mozilla.com"


def refuse_credentials(key_id):
    PushServiceState.objects.create(
        push_service=SERVICE,
        vapid_key_id=key_id,
        reason="credentials: HTTP 403",
        paused_until=timezone.now() + timedelta(minutes=5),
    )


def test_without_traffic_it_is_healthy_and_has_no_rate():
    health = get_health()
    assert datetime.fromisoformat(health.pop("timestamp")).tzinfo is not None
    assert health == {
        "status": "healthy",
        "success_rate": None,
        "active_subscriptions": 0,
        "recent_notifications": 0,
    }


def test_the_figures_are_of_the_last_24_hours_and_of_active_subscriptions(subscription, make_subscription):
    gone = make_subscription()
    gone.is_active = False
    gone.save()
    for _ in range(9):
        make_notification(subscription)
    make_notification(subscription, "failed")
    make_notification(subscription, "suppressed")
    make_notification(subscription, "failed", days_ago=1.1)
    health = get_health()
    assert (health["status"], health["success_rate"]) == ("healthy", 90.0)
    assert (health["active_subscriptions"], health["recent_notifications"]) == (1, 11)


def test_below_90_percent_it_is_degraded_and_still_answers_200(subscription):
    for status in ("sent", "failed"):
        make_notification(subscription, status)
    health = get_health(details=True)
    assert (health["status"], health["success_rate"], http_status(health, strict=True)) == ("degraded", 50.0, 200)
    assert health["problems"] == ["Push services accepted only 50 % of the messages of the last 24 hours."]


@pytest.mark.parametrize("status", ["pending", "sending"])
def test_a_row_that_is_due_for_too_long_makes_it_unhealthy(subscription, status):
    make_notification(subscription, status, days_ago=310 / 86400)
    health = get_health(details=True)
    assert (health["status"], http_status(health, strict=True)) == ("unhealthy", 503)
    assert health["oldest_due_seconds"] >= 310
    assert "worker runs" in health["problems"][0]


def test_how_long_is_too_long_is_a_setting(subscription, settings):
    settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, "HEALTH_MAX_LAG_SECONDS": 3600}
    make_notification(subscription, "pending", days_ago=310 / 86400)
    assert get_health()["status"] == "healthy"


def test_rows_that_wait_for_later_are_nothing_to_worry_about(subscription):
    make_notification(subscription, "pending", next_attempt_at=timezone.now() + timedelta(days=1))
    health = get_health(details=True)
    assert (health["status"], health["oldest_due_seconds"]) == ("healthy", 0.0)


def test_refused_credentials_make_it_unhealthy_and_name_the_service():
    refuse_credentials(vapid_keyring().current.key_id)
    health = get_health(details=True)
    assert (health["status"], http_status(health, strict=True)) == ("unhealthy", 503)
    assert SERVICE in health["problems"][0]
    assert health["refused_credentials"][0]["reason"] == "credentials: HTTP 403"
    assert health["paused_services"][0]["push_service"] == SERVICE


@pytest.mark.parametrize("keys", [{"VAPID_PRIVATE_KEY": ""}, {"VAPID_FALLBACK_PRIVATE_KEYS": ["nonsense"]}])
def test_with_subscribers_and_without_usable_keys_it_is_unhealthy_before_anything_is_due(request, settings, keys):
    settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, **keys}
    assert get_health()["status"] == "healthy", "a site that has not set push up yet"
    caches["default"].clear()
    request.getfixturevalue("subscription")
    health = get_health(details=True)
    assert (health["status"], http_status(health, strict=True), health["oldest_due_seconds"]) == ("unhealthy", 503, 0.0)
    assert health["problems"][0].startswith(f'Notifications cannot be sent: WEBPUSH_KIT["{next(iter(keys))}')
    assert "nonsense" not in health["problems"][0]


def test_what_was_held_against_a_key_that_is_not_used_any_more_is_history():
    refuse_credentials("an-older-key")
    assert get_health()["status"] == "healthy"


def test_with_unreadable_keys_every_alarm_counts(settings):
    settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, "VAPID_PRIVATE_KEY": "nonsense"}
    refuse_credentials("some-key")
    assert get_health()["status"] == "unhealthy"


def test_a_pause_alone_is_a_detail(subscription):
    PushServiceState.objects.create(
        push_service=SERVICE, reason="throttled: HTTP 429", paused_until=timezone.now() + timedelta(minutes=1)
    )
    health = get_health(details=True)
    assert (health["status"], health["refused_credentials"]) == ("healthy", [])
    assert health["paused_services"][0]["reason"] == "throttled: HTTP 429"


def test_strangers_learn_only_the_five_public_fields(subscription):
    make_notification(subscription, "failed")
    assert set(get_health()) == {
        "status",
        "success_rate",
        "active_subscriptions",
        "recent_notifications",
        "timestamp",
    }


def test_details_name_what_is_in_use():
    health = get_health(details=True)
    assert health["transport"] == "django_webpush_kit.transports.LocmemTransport"
    assert health["task_backend"] == "django_webpush_kit.task_backends.NullBackend"


def test_settings_that_cannot_be_used_are_no_reason_to_fail(settings):
    settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, "TRANSPORT": {"PATH": "x"}}
    assert get_health(details=True)["transport"] == "unusable"


def test_a_table_that_does_not_answer_makes_it_unhealthy_instead_of_an_error(transactional_db):
    table = get_notification_model()._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
        try:
            health = get_health(details=True)
        finally:
            cursor.execute(f"ALTER TABLE {table}_away RENAME TO {table}")
    assert (health["status"], http_status(health, strict=True), health["success_rate"]) == ("unhealthy", 503, None)
    assert health["problems"] == ["The database does not answer."]


def test_queries_are_few_and_do_not_grow(subscription, django_assert_max_num_queries):
    for _ in range(20):
        make_notification(subscription)
    with django_assert_max_num_queries(13):
        get_health(details=True)

"""Health: what it says in which state of the database."""

from datetime import datetime, timedelta

import pytest
from django.core.cache import caches
from django.db import OperationalError, connection
from django.utils import timezone

from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.database import clock_difference, database_now
from django_webpush_kit.delivery.manual_pause import pause, paused_by_hand, resume
from django_webpush_kit.health import get_health, http_status
from django_webpush_kit.models import (
    PushBroadcast,
    PushServiceState,
    WorkerHeartbeat,
    get_notification_model,
    get_subscription_model,
)
from django_webpush_kit.task_backends.base import QueueBackend
from tests.factories import make_notification

pytestmark = pytest.mark.django_db

SERVICE = "updates.push.services.mozilla.com"


def make_worker():
    now = database_now(clock_difference())
    WorkerHeartbeat.objects.create(name="web1:7", is_loop=True, started_at=now, seen_at=now)


def refuse_credentials(key_id):
    PushServiceState.objects.create(
        push_service=SERVICE,
        vapid_key_id=key_id,
        reason="credentials: HTTP 403",
        paused_until=timezone.now() + timedelta(minutes=5),
    )


class TestSuccessRate:
    def test_without_traffic_it_is_healthy_and_has_no_rate(self):
        health = get_health()
        assert datetime.fromisoformat(health.pop("timestamp")).tzinfo is not None
        assert health == {
            "status": "healthy",
            "success_rate": None,
            "active_subscriptions": 0,
            "recent_notifications": 0,
        }

    def test_figures_cover_the_last_24_hours_and_active_subscriptions(self, subscription, make_subscription):
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

    def test_below_90_percent_it_is_degraded_with_status_200(self, subscription):
        for status in ("sent", "failed"):
            make_notification(subscription, status)
        health = get_health(details=True)
        assert (health["status"], health["success_rate"], http_status(health, strict=True)) == ("degraded", 50.0, 200)
        assert health["findings"][0]["text"] == "Push services accepted only 50 % of the messages of the last 24 hours."

    def test_gone_subscriptions_do_not_lower_it(self, subscription):
        for status in (404, 410):
            make_notification(subscription, "failed", response_status=status)
        assert get_health()["success_rate"] is None
        make_notification(subscription, "sent")
        health = get_health()
        assert (health["status"], health["success_rate"]) == ("healthy", 100.0)
        make_notification(subscription, "failed", response_status=413)
        assert get_health()["success_rate"] == 50.0

    def test_expired_messages_lower_it(self, subscription):
        for _ in range(9):
            make_notification(subscription, "expired", failure_reason="Not sent before its deadline")
        assert status_and_areas() == ("degraded", ["success"])
        make_notification(subscription, "expired", failure_reason="timed out")
        assert status_and_areas() == ("unhealthy", ["success"]), "nothing is accepted any more"
        make_notification(subscription, "sent")
        assert status_and_areas() == ("degraded", ["success"])


class TestOutbox:
    @pytest.mark.parametrize("status", ["pending", "sending"])
    def test_a_row_overdue_for_too_long_makes_it_unhealthy(self, subscription, status):
        make_notification(subscription, status, days_ago=310 / 86400)
        health = get_health(details=True)
        assert (health["status"], http_status(health, strict=True)) == ("unhealthy", 503)
        assert health["oldest_due_seconds"] >= 310
        assert "no worker runs" in health["problems"][0]

    def test_the_limit_for_overdue_rows_is_a_setting(self, subscription, push_settings):
        make_worker()
        make_notification(subscription, "pending", days_ago=310 / 86400)
        assert status_and_areas() == ("unhealthy", ["lag"])
        push_settings(HEALTH_MAX_LAG_SECONDS=3600)
        caches["default"].clear()
        assert get_health()["status"] == "healthy"

    def test_scheduled_rows_are_healthy(self, subscription):
        make_notification(subscription, "pending", next_attempt_at=timezone.now() + timedelta(days=1))
        health = get_health(details=True)
        assert (health["status"], health["oldest_due_seconds"]) == ("healthy", 0.0)

    def test_rows_under_a_lease_are_healthy(self, subscription):
        make_notification(subscription, "sending", next_attempt_at=timezone.now() + timedelta(minutes=5))
        assert status_and_areas() == ("healthy", [])
        assert get_health(details=True)["oldest_due_seconds"] == 0.0


class TestKeys:
    def test_refused_credentials_make_it_unhealthy_and_name_the_service(self):
        refuse_credentials(vapid_keyring().current.key_id)
        health = get_health(details=True)
        assert (health["status"], http_status(health, strict=True)) == ("unhealthy", 503)
        assert SERVICE in health["problems"][0]
        assert health["refused_credentials"][0]["reason"] == "credentials: HTTP 403"
        assert health["paused_services"][0]["push_service"] == SERVICE

    @pytest.mark.parametrize("keys", [{"VAPID_PRIVATE_KEY": ""}, {"VAPID_FALLBACK_PRIVATE_KEYS": ["nonsense"]}])
    def test_subscribers_without_a_usable_key_make_it_unhealthy(self, request, push_settings, keys):
        push_settings(**keys)
        assert get_health()["status"] == "healthy", "a site that has not set push up yet"
        caches["default"].clear()
        request.getfixturevalue("subscription")
        health = get_health(details=True)
        assert (health["status"], http_status(health, strict=True), health["oldest_due_seconds"]) == (
            "unhealthy",
            503,
            0.0,
        )
        assert health["problems"][0].startswith(f'Notifications cannot be sent: WEBPUSH_KIT["{next(iter(keys))}')
        assert "nonsense" not in health["problems"][0]

    def test_breakers_of_former_keys_are_ignored(self):
        refuse_credentials("an-older-key")
        assert get_health()["status"] == "healthy"

    def test_with_unreadable_keys_every_breaker_counts(self, push_settings):
        push_settings(VAPID_PRIVATE_KEY="nonsense")
        refuse_credentials("some-key")
        assert get_health()["status"] == "unhealthy"

    def test_subscriptions_of_a_removed_key_are_reported(self, make_subscription):
        for _ in range(50):
            make_subscription()
        subscriptions = get_subscription_model().objects
        first = subscriptions.first()
        subscriptions.filter(pk=first.pk).update(vapid_key_id="replaced")
        health = get_health(details=True)
        assert (health["status"], health["findings"][0]["area"]) == ("degraded", "keys")
        assert health["problems"][0].startswith("1 of 50 active subscriptions were made with a VAPID key")
        subscriptions.update(vapid_key_id="replaced")
        assert status_and_areas() == ("unhealthy", ["keys"])
        subscriptions.update(vapid_key_id="")
        assert status_and_areas() == ("healthy", [])


class TestPushServices:
    """Breakers, manual pauses and send rates."""

    def test_a_pause_makes_it_degraded(self, subscription):
        PushServiceState.objects.create(
            push_service=SERVICE, reason="throttled: HTTP 429", paused_until=timezone.now() + timedelta(minutes=1)
        )
        health = get_health(details=True)
        assert (health["status"], health["refused_credentials"]) == ("degraded", [])
        assert health["problems"][0].startswith(f"{SERVICE} is paused (throttled: HTTP 429); its notifications wait.")
        assert health["paused_services"][0]["reason"] == "throttled: HTTP 429"

    def test_a_breaker_without_recent_probes_is_ignored(self):
        PushServiceState.objects.create(
            push_service=SERVICE, reason="outage: timed out", paused_until=timezone.now() - timedelta(hours=1)
        )
        assert status_and_areas() == ("healthy", [])

    def test_a_manual_pause_is_reported_instead_of_its_effects(self, subscription):
        make_notification(subscription, "pending", days_ago=1)
        PushBroadcast.objects.create(type="news", created_at=timezone.now() - timedelta(days=1))
        pause()
        health = get_health(details=True)
        assert status_and_areas() == ("degraded", ["services"])
        assert health["problems"][0].startswith("Sending to all push services is paused by hand since")
        assert "push_resume" in health["problems"][0]
        assert health["paused_by_hand"][0]["push_service"] == ""
        resume(paused_by_hand())
        assert status_and_areas() == ("unhealthy", ["workers", "broadcasts"])

    def test_a_manually_paused_service_is_named(self):
        pause(SERVICE)
        assert get_health(details=True)["problems"][0].startswith(f"Sending to {SERVICE} is paused by hand since")

    def test_learned_rates_are_details(self, push_settings):
        push_settings(SEND_RATES={"fcm.googleapis.com": "900/m"})
        now = timezone.now()
        PushServiceState.objects.create(push_service=SERVICE, rate=950, rate_changed_at=now)
        health = get_health(details=True)
        assert health["status"] == "healthy"
        assert health["send_rates"] == [
            {"push_service": "fcm.googleapis.com", "per_minute": 900.0, "throttled_at": None},
            {"push_service": SERVICE, "per_minute": 950.0, "throttled_at": now.isoformat()},
        ]

    def test_a_malformed_rate_does_not_break_the_response(self, push_settings):
        push_settings(SEND_RATES={SERVICE: "fast"})
        assert get_health(details=True)["send_rates"] == []


def test_visitors_see_only_the_five_public_fields(subscription):
    make_notification(subscription, "failed")
    assert set(get_health()) == {
        "status",
        "success_rate",
        "active_subscriptions",
        "recent_notifications",
        "timestamp",
    }


def test_details_name_the_components_in_use():
    health = get_health(details=True)
    assert health["transport"] == "django_webpush_kit.transports.LocmemTransport"
    assert health["task_backend"] == "django_webpush_kit.task_backends.NullBackend"


def test_unusable_settings_do_not_break_the_response(push_settings):
    push_settings(TRANSPORT={"PATH": "x"})
    assert get_health(details=True)["transport"] == "unusable"


class TestComponents:
    """The database, its clock and the broker."""

    def test_a_missing_table_makes_it_unhealthy_and_is_no_error(self, transactional_db, caplog):
        table = get_notification_model()._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
            try:
                health = get_health(details=True)
            finally:
                cursor.execute(f"ALTER TABLE {table}_away RENAME TO {table}")
        assert (health["status"], http_status(health, strict=True), health["success_rate"]) == ("unhealthy", 503, None)
        text = "The tables of django_webpush_kit are missing or out of date."
        assert health["problems"] == [f"{text} Run `manage.py migrate`."]
        assert [record.message.partition(": ")[0] for record in caplog.records][:1] == [text.rstrip(".")]
        assert "Traceback" not in caplog.text

    def test_a_database_that_does_not_answer_makes_it_unhealthy(self, monkeypatch):
        def fail(*args):
            raise OperationalError("connection refused")

        monkeypatch.setattr("django_webpush_kit.health._recent", fail)
        health = get_health(details=True)
        assert health["problems"] == ["The database does not answer. Start it, or correct DATABASES."]

    def test_the_number_of_queries_is_small_and_constant(self, subscription, django_assert_max_num_queries):
        for _ in range(20):
            make_notification(subscription)
        with django_assert_max_num_queries(9):
            get_health(details=True)

    @pytest.mark.parametrize(("seconds", "status"), [(1, "healthy"), (10, "degraded"), (3600, "unhealthy")])
    @pytest.mark.parametrize("direction", [1, -1])
    def test_a_wrong_clock_is_reported(self, time_machine, seconds, status, direction):
        time_machine.move_to(timezone.now() + direction * timedelta(seconds=seconds))
        assert get_health()["status"] == status

    def test_a_broker_outage_is_reported(self, push_settings):
        backend = "tests.test_health.BackendWithoutBroker"
        push_settings(TASK_BACKEND=backend)
        assert status_and_areas() == ("healthy", [])
        with pytest.raises(ConnectionError):
            BackendWithoutBroker().wake()
        health = get_health(details=True)
        assert status_and_areas() == ("degraded", ["queue"])
        assert "does not answer (ConnectionError)" in health["problems"][0]

    def test_a_task_backend_that_cannot_be_imported_is_left_to_the_checks(self, push_settings):
        push_settings(TASK_BACKEND="tests.nowhere.Backend")
        assert get_health()["status"] == "healthy"


def status_and_areas():
    health = get_health(details=True)
    return health["status"], [finding["area"] for finding in health["findings"]]


class BackendWithoutBroker(QueueBackend):
    """A queue whose broker refuses connections."""

    def enqueue(self):
        raise ConnectionError


class TestBroadcasts:
    """Broadcasts that make progress are healthy, stalled ones are not."""

    hour_ago = timedelta(hours=1)

    def make(self, status="running", **fields):
        now = timezone.now()
        given = {"created_at": now - self.hour_ago, "started_at": now - self.hour_ago, "processed": 500}
        return PushBroadcast.objects.create(type="news", status=status, **{**given, **fields})

    def test_one_without_progress_is_stalled(self):
        broadcast = self.make()
        health = get_health(details=True)
        assert status_and_areas() == ("unhealthy", ["broadcasts"])
        assert health["problems"][0].startswith(f"Broadcast {broadcast.pk} (news) is stalled at 500 recipients.")

    def test_one_with_a_lapsed_lease_is_stalled(self):
        self.make(lease_until=timezone.now() - self.hour_ago)
        assert status_and_areas() == ("unhealthy", ["broadcasts"])

    def test_one_that_no_worker_starts_is_stalled(self):
        self.make("pending", started_at=None)
        assert status_and_areas() == ("unhealthy", ["broadcasts"])

    def test_one_that_was_due_an_hour_ago_is_stalled(self):
        self.make("pending", started_at=None, scheduled_for=timezone.now() - self.hour_ago)
        assert status_and_areas() == ("unhealthy", ["broadcasts"])

    @pytest.mark.parametrize(
        "fields",
        [
            {"lease_until": 30},
            {"next_page_at": 30},
            {"next_page_at": -30},
            {"started_at": -30},
            {"status": "pending", "scheduled_for": 3600, "started_at": None},
            {"status": "pending", "created_at": -30, "started_at": None},
        ],
    )
    def test_one_with_recent_progress_or_a_later_start_is_healthy(self, fields):
        now = timezone.now()
        moments = {k: v if isinstance(v, str | None) else now + timedelta(seconds=v) for k, v in fields.items()}
        self.make(**moments)
        assert status_and_areas() == ("healthy", [])

    def test_one_with_recent_rows_is_healthy(self, subscription):
        make_notification(subscription, batch=self.make().batch)
        assert status_and_areas() == ("healthy", [])

    def test_one_with_enough_pending_rows_is_healthy(self, subscription, push_settings):
        push_settings(BROADCAST_AHEAD=1, HEALTH_MAX_LAG_SECONDS=60)
        make_worker()
        late = timezone.now() - timedelta(seconds=30)
        make_notification(subscription, "pending", batch=self.make().batch, days_ago=0.1, next_attempt_at=late)
        assert status_and_areas() == ("healthy", [])

    def test_others_may_wait_while_one_makes_progress(self):
        self.make()
        self.make(lease_until=timezone.now() + timedelta(seconds=30))
        assert status_and_areas() == ("healthy", [])

    @pytest.mark.parametrize("status", ["paused", "completed", "cancelled"])
    def test_finished_and_paused_ones_are_healthy(self, status):
        self.make(status)
        assert status_and_areas() == ("healthy", [])

    def test_a_failed_one_is_reported_for_a_day(self):
        broadcast = self.make("failed", finished_at=timezone.now() - self.hour_ago, failure_reason="No such audience")
        health = get_health(details=True)
        assert status_and_areas() == ("degraded", ["broadcasts"])
        assert f"Broadcast {broadcast.pk} (news) failed: No such audience" in health["problems"][0]
        PushBroadcast.objects.update(finished_at=timezone.now() - timedelta(days=2))
        assert status_and_areas() == ("healthy", [])


def test_stored_values_that_cannot_be_read_cost_only_their_part(db, monkeypatch, caplog):
    def find(now):
        raise ValueError("month must be in 1..12")

    monkeypatch.setattr("django_webpush_kit.health.broadcast_problems", find)
    health = get_health(details=True)
    assert health["status"] == "degraded"
    assert "Stored values of the broadcasts cannot be read" in health["problems"][0]
    assert "month must be in 1..12" in caplog.text

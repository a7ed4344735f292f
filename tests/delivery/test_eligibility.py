"""What is asked again right before a row is sent."""

from datetime import datetime, timedelta, timezone
from uuid import uuid4

import pytest
from django.utils import timezone as django_timezone

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.transports import PushResponse, Transport, locmem

pytestmark = pytest.mark.django_db(transaction=True)


def queue(subscription, **options):
    return services.send(subscription, "Hello", type="news", **options).notifications.get()


def deliver(row):
    deliver_due()
    row.refresh_from_db()
    return row.status, row.failure_reason


def change(subscription, **values):
    get_subscription_model().objects.filter(pk=subscription.pk).update(**values)


def quiet_now(time_zone="UTC"):
    now = django_timezone.now().astimezone(timezone.utc)
    start, end = now - timedelta(hours=1), now + timedelta(hours=1)
    return {"quiet_hours": {"enabled": True, "start": f"{start:%H:%M}", "end": f"{end:%H:%M}", "timezone": time_zone}}


class TestRecipient:
    def test_a_subscription_gets_no_messages_of_its_former_user(self, subscription, make_user):
        row = queue(subscription)
        change(subscription, user=make_user())
        assert deliver(row) == ("cancelled", "The subscription belongs to another user now")
        assert not locmem.sent

    def test_a_deactivated_user_gets_nothing(self, subscription, user):
        row = queue(subscription)
        user.is_active = False
        user.save()
        assert deliver(row) == ("cancelled", "The user is not active")

    def test_an_inactive_subscription_gets_nothing(self, subscription):
        row = queue(subscription)
        change(subscription, is_active=False, deactivated_at=django_timezone.now(), deactivation_reason="")
        assert deliver(row) == ("suppressed", "The subscription is not active: deactivated")

    def test_a_subscription_past_its_expiration_time_is_deactivated(self, subscription):
        row = queue(subscription)
        change(subscription, expiration_time=django_timezone.now())
        assert deliver(row) == ("suppressed", "The subscription is not active: its expiration time has passed")
        subscription.refresh_from_db()
        assert not subscription.is_active


class TestDeadline:
    def test_a_row_past_its_deadline_expires(self, subscription):
        row = queue(subscription, ttl=60)
        type(row).objects.update(created_at=django_timezone.now() - timedelta(seconds=61))
        assert deliver(row) == ("expired", "Not sent before its deadline")

    def test_a_row_without_ttl_is_sent_however_late_it_is(self, subscription):
        row = queue(subscription, ttl=0)
        type(row).objects.update(created_at=django_timezone.now() - timedelta(days=1))
        assert deliver(row)[0] == "sent"

    def test_expires_at_lowers_the_ttl_header(self, subscription):
        queue(subscription, expires_at=django_timezone.now() + timedelta(seconds=100), ttl=3600)
        queue(subscription, ttl=3600)
        deliver_due()
        assert 90 <= locmem.sent[0].ttl <= 100
        assert locmem.sent[1].ttl == 3600


class TestPreferences:
    def test_preferences_changed_after_queueing_apply(self, subscription):
        row = queue(subscription)
        change(subscription, preferences={"categories": {"news": False}})
        assert deliver(row) == ("suppressed", "Blocked by user preferences")

    def test_quiet_hours_that_started_after_queueing_defer_the_row(self, subscription):
        row = queue(subscription)
        change(subscription, preferences=quiet_now())
        assert deliver(row) == ("pending", "Quiet hours")
        assert row.next_attempt_at > django_timezone.now()
        assert row.claims == 0

    def test_critical_messages_bypass_preferences_and_quiet_hours(self, subscription):
        change(subscription, preferences={**quiet_now(), "categories": {"news": False}})
        subscription.refresh_from_db()
        assert deliver(queue(subscription, critical=True))[0] == "sent"


class TestDailyCap:
    def test_it_counts_messages_per_user_not_per_browser(self, push_settings, make_subscription, user):
        push_settings(NOTIFICATION_TYPES={"news": {"label": "News", "max_per_day": 2}})
        for _ in range(2):
            make_subscription(user)
        outcomes = []
        for _ in range(3):
            result = services.send(user, "Hello", type="news")
            deliver_due()
            outcomes.append(sorted(result.notifications.values_list("status", flat=True)))
        assert outcomes == [["sent", "sent"], ["sent", "sent"], ["suppressed", "suppressed"]]

    def test_it_holds_within_one_chunk_and_for_anonymous_subscriptions(self, push_settings, make_subscription):
        push_settings(NOTIFICATION_TYPES={"news": {"label": "News", "max_per_day": 1}})
        one, other = make_subscription(), make_subscription()
        for subscription in (one, one, other):
            services.send(subscription, "Hello", type="news")
        services.send(one, "Hello", type="other")
        assert deliver_due().outcomes == {"sent": 3, "suppressed": 1}
        services.send(one, "Hello", type="news")
        assert deliver_due().outcomes == {"suppressed": 1}

    @pytest.mark.parametrize("status", [404, 413])
    def test_messages_that_were_not_accepted_do_not_count(self, push_settings, subscription, make_subscription, status):
        push_settings(NOTIFICATION_TYPES={"news": {"label": "News", "max_per_day": 1}})
        other = make_subscription(subscription.user)
        locmem.answers.append(PushResponse(id=None, status=status))
        services.send(subscription, "Hello", type="news")
        services.send(other, "Hello", type="news")
        deliver_due()
        assert [request.endpoint for request in locmem.sent] == [subscription.endpoint, other.endpoint]

    def test_a_message_waits_if_it_depends_on_a_request_in_flight(self, push_settings, subscription):
        types = {"news": {"label": "News", "max_per_day": 1}}
        transport = f"{__name__}.AnsweringLateTransport"
        push_settings(NOTIFICATION_TYPES=types, TRANSPORT=transport)
        _first, second = (services.send(subscription, "Hello", type="news").notifications for _ in range(2))
        assert deliver_due().outcomes == {"failed": 1, "deferred": 1}
        push_settings(TRANSPORT="django_webpush_kit.transports.LocmemTransport")
        second.update(next_attempt_at=django_timezone.now() - timedelta(seconds=1))
        assert deliver_due().outcomes == {"sent": 1}

    def test_messages_of_yesterday_do_not_count(self, push_settings, subscription):
        push_settings(NOTIFICATION_TYPES={"news": {"label": "News", "max_per_day": 1}})
        row = queue(subscription)
        deliver(row)
        type(row).objects.update(sent_at=datetime(2020, 1, 1, tzinfo=timezone.utc))
        assert deliver(queue(subscription))[0] == "sent"


class AnsweringLateTransport(Transport):
    """Answers when there are no more requests to be had: the first is rejected, the others are accepted."""

    def send(self, requests):
        for number, request in enumerate(list(requests)):
            yield PushResponse(id=request.id, status=201 if number else 413)


class TestTopics:
    def test_a_retried_row_is_cancelled_if_a_newer_one_of_its_topic_was_sent(self, subscription, make_subscription):
        make_subscription()  # of another browser at the same push service, which works
        locmem.answers.append(PushResponse(id=None, status=500))
        older = queue(subscription, topic="score")
        deliver_due(limit=1)
        type(older).objects.update(
            next_attempt_at=django_timezone.now() - timedelta(seconds=1), status="sending", lease_token=uuid4()
        )
        newer = queue(subscription, topic="score")
        assert deliver(older)[0] == "cancelled"
        assert deliver(newer)[0] == "sent"

    def test_other_topics_and_cancelled_newer_rows_do_not_supersede(self, subscription):
        row = queue(subscription, topic="score")
        type(row).objects.update(status="sending", lease_token=uuid4())
        services.cancel(queue(subscription, topic="score"))
        queue(subscription, topic="weather")
        type(row).objects.filter(pk=row.pk).update(next_attempt_at=django_timezone.now() - timedelta(seconds=1))
        assert deliver(row)[0] == "sent"

"""What each answer of a push service does to its row, to its subscription and to the breaker."""

from datetime import timedelta

import pytest
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import PushServiceState, get_subscription_model
from django_webpush_kit.signals import post_send, pre_send, subscription_deactivated
from django_webpush_kit.transports import PushResponse, locmem

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _patient_retries(push_settings):
    push_settings(RETRY_BASE_SECONDS=30)


def answer(status=None, error="", body=b"", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    locmem.answers.append(PushResponse(id=None, status=status, error=error, body=body, headers=named))


def send_one(subscription, **options):
    """Queue one message, deliver, and return its row."""
    row = services.send(subscription, "Hello", **options).notifications.get()
    deliver_due()
    row.refresh_from_db()
    return row


def make_due(row):
    type(row).objects.filter(pk=row.pk).update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    deliver_due()
    row.refresh_from_db()
    return row


def age(subscription, **ago):
    get_subscription_model().objects.filter(pk=subscription.pk).update(created_at=timezone.now() - timedelta(**ago))


class TestAccepted:
    @pytest.mark.parametrize("status", [200, 201, 202, 204])
    def test_a_2xx_answer_makes_the_row_sent(self, subscription, status):
        answer(status)
        row = send_one(subscription)
        assert (row.status, row.response_status, row.failure_reason) == ("sent", status, "")
        assert row.sent_at is not None
        assert row.lease_token is None


class TestGone:
    @pytest.mark.parametrize("status", [404, 410])
    def test_the_subscription_is_deactivated_with_reason_and_date(self, subscription, status):
        age(subscription, hours=2)
        answer(status)
        row = send_one(subscription)
        subscription.refresh_from_db()
        assert (row.status, row.response_status) == ("failed", status)
        assert not subscription.is_active
        assert subscription.deactivation_reason == f"gone (HTTP {status})"
        assert subscription.deactivated_at is not None

    def test_the_signal_subscription_deactivated_is_sent(self, subscription):
        age(subscription, hours=2)
        heard = []

        def receiver(subscription, reason, **kwargs):
            heard.append((subscription.pk, reason))

        subscription_deactivated.connect(receiver)
        answer(410)
        send_one(subscription)
        subscription_deactivated.disconnect(receiver)
        assert heard == [(subscription.pk, "gone (HTTP 410)")]

    def test_a_new_subscription_gets_one_more_try(self, subscription):
        answer(410)
        row = send_one(subscription)
        assert (row.status, row.retry_count) == ("pending", 1)
        assert row.next_attempt_at > timezone.now() + timedelta(seconds=30)
        subscription.refresh_from_db()
        assert subscription.is_active
        answer(410)
        assert make_due(row).status == "failed"
        subscription.refresh_from_db()
        assert not subscription.is_active

    def test_a_young_subscription_that_has_accepted_a_message_gets_no_second_try(self, subscription):
        send_one(subscription)
        answer(410)
        assert send_one(subscription).status == "failed"

    def test_a_subscription_with_new_keys_stays_active(self, subscription):
        age(subscription, hours=2)
        answer(410)
        services.send(subscription, "Hello")

        def replace_keys(notification, **kwargs):
            get_subscription_model().objects.filter(pk=subscription.pk).update(auth_key="AAAAAAAAAAAAAAAAAAAAAA")

        pre_send.connect(replace_keys)
        deliver_due()
        pre_send.disconnect(replace_keys)
        subscription.refresh_from_db()
        assert subscription.is_active


class TestFaults:
    """Answers that fail one row or pause a push service."""

    @pytest.mark.parametrize(("status", "body"), [(401, b""), (403, b""), (400, b"VapidPkHashMismatch")])
    def test_a_credentials_fault_pauses_service_and_key_and_deactivates_nothing(self, subscription, status, body):
        age(subscription, hours=2)
        answer(status, body=body)
        row = send_one(subscription)
        subscription.refresh_from_db()
        assert subscription.is_active
        assert (row.status, row.retry_count, row.response_status) == ("pending", 0, status)
        state = PushServiceState.objects.get()
        assert (state.push_service, state.vapid_key_id) == (subscription.push_service, subscription.vapid_key_id)
        assert state.reason.startswith("credentials")
        assert row.next_attempt_at >= state.paused_until

    @pytest.mark.parametrize("status", [413, 400, 302])
    def test_a_rejected_message_fails_alone(self, subscription, status):
        age(subscription, hours=2)
        answer(status)
        row = send_one(subscription)
        subscription.refresh_from_db()
        assert (row.status, row.response_status) == ("failed", status)
        assert row.failure_reason
        assert subscription.is_active

    def test_another_push_service_is_not_paused(self, make_subscription, user):
        mozilla = make_subscription(user)
        google = make_subscription(user, endpoint="https://fcm.googleapis.com/fcm/send/abc")
        answer(429, retry_after="120")
        send_one(mozilla)
        assert send_one(google).status == "sent"

    def test_pauses_without_retry_after_grow_until_a_success(self, subscription):
        answer(503)
        row = send_one(subscription)
        PushServiceState.objects.update(paused_until=timezone.now() - timedelta(seconds=1))
        answer(503)
        make_due(row)
        assert PushServiceState.objects.get().failures == 2
        PushServiceState.objects.update(paused_until=timezone.now() - timedelta(seconds=1))
        assert make_due(row).status == "sent"
        assert not PushServiceState.objects.exists()

    def test_many_throttled_answers_in_one_chunk_count_as_one_failure(self, make_subscription, user):
        for _ in range(5):
            make_subscription(user)
            answer(429, retry_after="60")
        services.send(user, "Hello")
        deliver_due()
        assert PushServiceState.objects.get().failures == 1

    def test_an_invalid_key_fails_its_row_and_no_other(self, make_subscription, user):
        broken, good = make_subscription(user), make_subscription(user)
        answer(None, "invalid keys")
        services.send([broken, good], "Hello")
        report = deliver_due()
        assert report.outcomes == {"failed": 1, "sent": 1}


@pytest.fixture
def neighbour(subscription, make_subscription):
    """Another subscription at the same push service, so that one answer is no evidence against the service."""
    return make_subscription(subscription.user)


class TestRetries:
    @pytest.mark.parametrize(("status", "error"), [(500, ""), (502, ""), (None, "timed out"), (None, "TLS failed")])
    def test_an_unavailable_service_consumes_a_retry(self, subscription, neighbour, status, error):
        answer(status, error)
        row = send_one(subscription)
        assert (row.status, row.retry_count, row.claims) == ("pending", 1, 0)
        assert row.failure_reason
        subscription.refresh_from_db()
        assert subscription.is_active

    def test_retries_end_after_max_retries(self, subscription, neighbour):
        answer(500)
        row = send_one(subscription, max_retries=2)
        for expected in ("pending", "failed"):
            assert send_one(neighbour).status == "sent"
            answer(500)
            assert make_due(row).status == expected
        assert row.retry_count == 2

    def test_retry_after_on_a_5xx_answer_is_honoured(self, subscription):
        answer(500, retry_after="900")
        assert send_one(subscription).next_attempt_at > timezone.now() + timedelta(seconds=890)

    def test_backoff_can_be_set_per_call(self, subscription, neighbour):
        answer(500)
        row = send_one(subscription, retry_base=0, retry_cap=0)
        assert (row.status, row.retry_count) == ("sent", 1)

    def test_a_retry_that_would_come_after_the_deadline_expires_the_row(self, subscription):
        answer(500, retry_after="900")
        assert send_one(subscription, ttl=600).status == "expired"

    def test_ttl_zero_means_one_attempt(self, subscription):
        answer(500)
        row = send_one(subscription, ttl=0)
        assert row.status == "expired"
        assert locmem.sent[0].ttl == 0

    def test_rows_of_one_chunk_are_retried_at_different_times(self, make_subscription, user):
        for seconds in ("60", "600"):
            make_subscription(user)
            answer(500, retry_after=seconds)
        result = services.send(user, "Hello")
        deliver_due()
        first, second = result.notifications.order_by("next_attempt_at").values_list("next_attempt_at", flat=True)
        assert second - first > timedelta(seconds=500)


class TestPostSend:
    def test_receivers_get_row_outcome_and_response(self, subscription):
        heard = []

        def receiver(notification, outcome, answer, **kwargs):
            heard.append((notification.status, outcome, answer.reason))

        post_send.connect(receiver)
        answer(413)
        send_one(subscription)
        post_send.disconnect(receiver)
        assert heard == [("failed", "too_large", "HTTP 413")]

    def test_it_is_not_sent_for_a_deleted_row(self, subscription):
        heard = []

        def receiver(**kwargs):
            heard.append(kwargs)

        def delete(notification, **kwargs):
            notification.delete()

        post_send.connect(receiver)
        pre_send.connect(delete)
        services.send(subscription, "Hello")
        deliver_due()
        post_send.disconnect(receiver)
        pre_send.disconnect(delete)
        assert heard == []

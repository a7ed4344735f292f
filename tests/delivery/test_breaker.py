"""Circuit breakers: what opens them, what closes them, and how little they hold up."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.health import get_health
from django_webpush_kit.models import PushServiceState, get_notification_model, get_subscription_model
from django_webpush_kit.transports import PushResponse, Transport, locmem

pytestmark = pytest.mark.django_db(transaction=True)

FAULTS = [
    pytest.param({"status": 403}, "credentials", id="refused"),
    pytest.param({"status": 429}, "throttled", id="throttled"),
    pytest.param({"status": 503}, "throttled", id="503"),
    pytest.param({"status": 500}, "outage", id="500"),
    pytest.param({"error": "timed out"}, "outage", id="timed out"),
    pytest.param({"error": "name not resolved"}, "outage", id="DNS"),
]


@pytest.fixture(autouse=True)
def _retries_much_later(push_settings):
    push_settings(RETRY_BASE_SECONDS=10**6, RETRY_CAP_SECONDS=10**6)


@pytest.fixture
def browsers(user, make_subscription):
    """Five subscriptions at one push service, older than a day."""
    made = [make_subscription(user) for _ in range(5)]
    get_subscription_model().objects.update(created_at=timezone.now() - timedelta(days=1))
    return made


def answer(number=1, *, status=None, error="", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    locmem.answers += [PushResponse(id=None, status=status, error=error, headers=named) for _ in range(number)]


def send_to(subscription, **options):
    row = services.send(subscription, "Hello", **options).notifications.get()
    deliver_due()
    row.refresh_from_db()
    return row


def rows():
    return get_notification_model().objects.order_by("pk")


def make_due(*chosen):
    due = rows().filter(pk__in=[row.pk for row in chosen]) if chosen else rows().filter(status="pending")
    due.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    deliver_due()
    for row in chosen:
        row.refresh_from_db()


def open_breaker(browsers, **fault):
    """One message to all browsers: the answers to the first three open the breaker, and the others wait."""
    answer(len(browsers), **fault)
    services.send(browsers[0].user, "Hello")
    deliver_due()
    locmem.answers.clear()


def end_pause():
    PushServiceState.objects.update(paused_until=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
class TestOpening:
    def test_two_subscriptions_are_no_evidence(self, browsers, fault, kind):
        for browser in browsers[:2]:
            answer(**fault)
            assert send_to(browser).status == "pending"
        assert send_to(browsers[2]).status == "sent"

    def test_three_subscriptions_open_it_for_all(self, browsers, fault, kind):
        for browser in browsers[:3]:
            answer(**fault)
            send_to(browser)
        assert send_to(browsers[3]).failure_reason == "The push service is paused"
        assert len(locmem.sent) == 3
        state = PushServiceState.objects.get()
        assert state.reason.startswith(kind)
        assert timedelta(seconds=3) < state.paused_until - timezone.now() <= timedelta(seconds=5)

    def test_the_same_subscription_again_and_again_is_no_evidence(self, browsers, fault, kind):
        answer(**fault)
        row = send_to(browsers[0])
        for _ in range(3):
            answer(**fault)
            make_due(row)
        assert send_to(browsers[1]).status == "sent"

    def test_a_success_in_between_takes_the_evidence_away(self, browsers, fault, kind):
        for browser in browsers[:4]:
            answer(**fault)
            send_to(browser)
            assert send_to(browsers[4]).status == "sent"

    def test_all_subscriptions_of_a_service_are_evidence_however_few(self, subscription, fault, kind):
        answer(**fault)
        row = send_to(subscription)
        assert row.next_attempt_at == PushServiceState.objects.get().paused_until

    def test_it_consumes_no_retry(self, browsers, fault, kind):
        for browser in browsers:
            answer(**fault)
            send_to(browser, max_retries=0)
        for _ in range(3):
            end_pause()
            answer(5, **fault)
            make_due()
        assert set(rows().values_list("status", "retry_count")) == {("pending", 0)}
        end_pause()
        locmem.answers.clear()
        make_due()
        make_due()
        assert set(rows().values_list("status", flat=True)) == {"sent"}

    def test_one_probe_at_a_time_goes_out_and_each_failure_doubles_the_pause(self, browsers, fault, kind):
        open_breaker(browsers, **fault)
        sent = len(locmem.sent)
        for pause in (10, 20, 40, 80, 160, 300, 300):
            end_pause()
            answer(**fault)
            make_due()
            sent += 1
            assert len(locmem.sent) == sent
            wait = PushServiceState.objects.get().paused_until - timezone.now()
            assert timedelta(seconds=pause - 3) < wait <= timedelta(seconds=pause)

    def test_a_probe_that_is_accepted_lets_all_others_go(self, browsers, fault, kind):
        open_breaker(browsers, **fault)
        late = send_to(browsers[0])
        end_pause()
        rows().filter(pk=late.pk).update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        deliver_due()
        late.refresh_from_db()
        assert late.status == "sent"
        make_due()
        assert set(rows().values_list("status", flat=True)) == {"sent"}

    def test_kinds_are_not_added_up(self, browsers, fault, kind):
        others = [{"status": 403}, {"status": 429}, {"status": 500}]
        for browser, other in zip(browsers[:3], others, strict=True):
            answer(**other)
            send_to(browser)
        assert send_to(browsers[3]).status == "sent"


def test_retry_after_stretches_the_pause_to_at_most_15_minutes(browsers):
    open_breaker(browsers, status=503, retry_after="86400")
    wait = PushServiceState.objects.get().paused_until - timezone.now()
    assert timedelta(minutes=14) < wait <= timedelta(minutes=15)


class AnsweringLateTransport(Transport):
    """Answers with 429 when there are no more requests to be had, and asks the last time for ten minutes."""

    def send(self, requests):
        requests = list(requests)
        for number, request in enumerate(requests, 1):
            headers = {"retry-after": "600"} if number == len(requests) else {}
            yield PushResponse(id=request.id, status=429, headers=headers)


def test_a_longer_retry_after_in_a_later_answer_stretches_a_pause_in_force(browsers, push_settings):
    push_settings(TRANSPORT=f"{__name__}.AnsweringLateTransport")
    services.send(browsers[0].user, "Hello")
    deliver_due()
    state = PushServiceState.objects.get()
    assert state.paused_until - timezone.now() > timedelta(seconds=590)
    assert state.failures == 1


def test_one_of_many_that_is_throttled_for_a_day_waits_alone(browsers):
    answer(status=503, retry_after="86400")
    services.send(browsers[0].user, "Hello")
    deliver_due()
    assert sorted(rows().values_list("status", flat=True)) == ["pending", *["sent"] * 4]
    waiting = rows().get(status="pending")
    assert waiting.next_attempt_at > timezone.now() + timedelta(hours=23)
    assert waiting.retry_count == 0


def test_a_wait_that_is_longer_than_the_message_lives_is_shortened(browsers):
    answer(status=503, retry_after="86400")
    row = send_to(browsers[0], ttl=7200)
    assert row.status == "pending"
    assert row.next_attempt_at < timezone.now() + timedelta(minutes=16)


@pytest.mark.parametrize("status", [401, 403])
def test_a_subscription_made_with_another_key_is_deactivated_after_waiting(browsers, status):
    answer(status=status)
    row = send_to(browsers[0])
    assert row.status == "pending"
    assert row.next_attempt_at > timezone.now() + timedelta(seconds=3)
    assert send_to(browsers[1]).status == "sent"
    assert get_health()["status"] == "healthy"
    answer(status=status)
    make_due(row)
    browsers[0].refresh_from_db()
    assert (row.status, browsers[0].is_active) == ("failed", False)
    assert browsers[0].deactivation_reason == "made with another VAPID key"


def test_a_subscription_that_is_refused_while_nothing_else_is_sent_keeps_waiting(browsers):
    answer(status=403)
    row = send_to(browsers[0])
    for _ in range(3):
        answer(status=403)
        make_due(row)
    browsers[0].refresh_from_db()
    assert (row.status, browsers[0].is_active) == ("pending", True)


def test_a_row_without_retries_fails_once_others_are_accepted_after_its_first_fault(browsers):
    answer(status=500)
    row = send_to(browsers[0], max_retries=0)
    assert (row.status, row.retry_count) == ("pending", 0)
    send_to(browsers[1])
    answer(status=500)
    make_due(row)
    assert row.status == "failed"


def test_an_answer_below_500_is_no_outage(subscription):
    answer(status=408)
    row = send_to(subscription, max_retries=0)
    assert (row.status, PushServiceState.objects.count()) == ("failed", 0)


def test_health_is_red_while_a_credentials_breaker_is_open_only(browsers):
    answer(2, status=403)
    services.send(browsers[0].user, "Hello")
    deliver_due()
    assert get_health()["status"] == "healthy"
    PushServiceState.objects.all().delete()


def test_a_message_without_ttl_waits_for_a_short_pause_and_not_for_a_long_one(browsers):
    open_breaker(browsers, error="timed out")
    assert send_to(browsers[0], ttl=0).status == "pending"
    for _ in range(6):
        end_pause()
        answer(error="timed out")
        make_due()
    assert send_to(browsers[0], ttl=0).status == "expired"


def test_waiting_rows_go_back_in_one_statement_with_one_moment(browsers, django_assert_max_num_queries):
    open_breaker(browsers, status=500)
    for _ in range(40):
        services.send(browsers[0].user, "Hello")
    with django_assert_max_num_queries(60):
        deliver_due()
    moments = set(rows().filter(failure_reason="The push service is paused").values_list("next_attempt_at", flat=True))
    assert moments == {PushServiceState.objects.get().paused_until}


def test_a_probe_is_sent_to_a_subscription_that_has_not_met_the_fault(browsers):
    for browser in browsers[:3]:
        answer(status=403)
        send_to(browser)
    waiting = services.send(browsers[3], "Hello").notifications.get()
    end_pause()
    make_due()
    assert locmem.sent[3].id == waiting.pk


def test_a_probe_that_cannot_be_built_makes_room_for_the_next(browsers):
    open_breaker(browsers, status=500)
    rows().exclude(pk=rows().first().pk).delete()
    rows().update(title="x" * 200, body="x" * 5000)
    other = services.send(browsers[1], "Hello").notifications.get()
    end_pause()
    make_due()
    other.refresh_from_db()
    assert other.status in ("pending", "sent")
    make_due(other)
    assert other.status == "sent"


def test_a_gone_probe_makes_room_for_the_next(browsers):
    open_breaker(browsers, status=500)
    end_pause()
    answer(status=410)
    make_due()
    make_due()
    assert rows().filter(status="sent").exists()


def test_the_evidence_of_several_workers_adds_up(browsers):
    answer(3, status=429)
    errors = []

    def work(browser):
        try:
            send_to(browser)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    for browser in browsers[:3]:
        worker = threading.Thread(target=work, args=[browser])
        worker.start()
        worker.join()
    assert errors == []
    assert send_to(browsers[3]).status == "pending"


def test_stored_evidence_that_cannot_be_read_is_ignored(browsers):
    PushServiceState.objects.create(
        push_service=browsers[0].push_service,
        vapid_key_id=browsers[0].vapid_key_id,
        suspects={"1": "x", "2": [1, 2], "3": ["outage", "yesterday"], "4": ["outage", "2026-01-01"]},
    )
    PushServiceState.objects.create(push_service="push.example.com", suspects=["x"])
    answer(status=500)
    assert send_to(browsers[0]).status == "pending"
    assert send_to(browsers[1]).status == "sent"


def test_a_worker_that_is_refused_itself_deactivates_nobody(browsers):
    """As with a wrong clock: this worker is refused for all, while what another one sends is accepted."""
    refused = []
    for browser in browsers[:3]:
        answer(status=403)
        refused.append(send_to(browser))
        assert send_to(browsers[4]).status == "sent"
    answer(status=403)
    make_due(refused[0])
    assert refused[0].status == "pending"
    assert get_subscription_model().objects.filter(is_active=True).count() == 5
    services.send(browsers[4], "Hello", urgency="high")
    locmem.answers.append(PushResponse(id=None, status=201))
    answer(status=403)
    make_due(refused[0])
    assert refused[0].status == "failed"


def test_the_only_subscription_is_tried_again_as_soon_as_its_message_asks(subscription):
    answer(status=500)
    assert send_to(subscription, retry_base=0).status == "sent"
    assert not PushServiceState.objects.filter(paused_until__isnull=False).exists()


def test_later_pauses_do_not_follow_the_message(subscription):
    answer(5, status=500)
    assert send_to(subscription, retry_base=0).status == "pending"
    assert len(locmem.sent) == 2
    assert PushServiceState.objects.get().paused_until > timezone.now() + timedelta(seconds=8)

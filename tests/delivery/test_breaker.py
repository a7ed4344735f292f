"""Circuit breakers: what opens them, what closes them, and how little they hold up."""

import threading
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.delivery import breaker, breakers
from django_webpush_kit.delivery.breakers import Breakers
from django_webpush_kit.delivery.claiming import claim
from django_webpush_kit.delivery.eligibility import Gate
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.outcomes import Recorder
from django_webpush_kit.health import get_health
from django_webpush_kit.models import PushServiceState, get_notification_model, get_subscription_model
from django_webpush_kit.options import RowOptions
from django_webpush_kit.transports import PushResponse, Transport, locmem
from tests.factories import new_notification

pytestmark = pytest.mark.django_db(transaction=True)

FAULTS = [
    pytest.param({"status": 403}, "credentials", id="refused"),
    pytest.param({"status": 429}, "throttled", id="throttled"),
    pytest.param({"status": 503}, "throttled", id="503", marks=pytest.mark.thorough),
    pytest.param({"status": 500}, "outage", id="500", marks=pytest.mark.thorough),
    pytest.param({"error": "timed out"}, "outage", id="timed out"),
    pytest.param({"error": "name not resolved"}, "outage", id="DNS", marks=pytest.mark.thorough),
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
    def test_two_subscriptions_do_not_open_it(self, browsers, fault, kind):
        for browser in browsers[:2]:
            answer(**fault)
            assert send_to(browser).status == "pending"
        assert send_to(browsers[2]).status == "sent"

    def test_three_subscriptions_open_it(self, browsers, fault, kind):
        for browser in browsers[:3]:
            answer(**fault)
            send_to(browser)
        assert send_to(browsers[3]).failure_reason == "The push service is paused"
        assert len(locmem.sent) == 3
        state = PushServiceState.objects.get()
        assert state.reason.startswith(kind)
        assert timedelta(seconds=3) < state.paused_until - timezone.now() <= timedelta(seconds=5)

    def test_repeated_faults_of_one_subscription_do_not_open_it(self, browsers, fault, kind):
        answer(**fault)
        row = send_to(browsers[0])
        for _ in range(3):
            answer(**fault)
            make_due(row)
        assert send_to(browsers[1]).status == "sent"

    def test_a_success_clears_the_evidence(self, browsers, fault, kind):
        for browser in browsers[:4]:
            answer(**fault)
            send_to(browser)
            assert send_to(browsers[4]).status == "sent"

    def test_all_subscriptions_of_a_small_service_open_it(self, subscription, fault, kind):
        answer(**fault)
        row = send_to(subscription)
        assert row.next_attempt_at == PushServiceState.objects.get().paused_until

    def test_an_open_breaker_consumes_no_retry(self, browsers, fault, kind):
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

    def test_it_sends_one_probe_at_a_time_and_each_failure_doubles_the_pause(self, browsers, fault, kind):
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

    def test_an_accepted_probe_closes_it(self, browsers, fault, kind):
        open_breaker(browsers, **fault)
        late = send_to(browsers[0])
        end_pause()
        rows().filter(pk=late.pk).update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        deliver_due()
        late.refresh_from_db()
        assert late.status == "sent"
        make_due()
        assert set(rows().values_list("status", flat=True)) == {"sent"}

    def test_faults_of_different_kinds_are_not_added_up(self, browsers, fault, kind):
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


def test_a_longer_retry_after_extends_a_current_pause(browsers, push_settings):
    push_settings(TRANSPORT=f"{__name__}.AnsweringLateTransport")
    services.send(browsers[0].user, "Hello")
    deliver_due()
    state = PushServiceState.objects.get()
    assert state.paused_until - timezone.now() > timedelta(seconds=590)
    assert state.failures == 1


def test_a_single_subscription_throttled_for_a_day_waits_alone(browsers):
    answer(status=503, retry_after="86400")
    services.send(browsers[0].user, "Hello")
    deliver_due()
    assert sorted(rows().values_list("status", flat=True)) == ["pending", *["sent"] * 4]
    waiting = rows().get(status="pending")
    assert waiting.next_attempt_at > timezone.now() + timedelta(hours=23)
    assert waiting.retry_count == 0


def test_a_retry_after_beyond_the_deadline_is_shortened(browsers):
    answer(status=503, retry_after="86400")
    row = send_to(browsers[0], ttl=7200)
    assert row.status == "pending"
    assert row.next_attempt_at < timezone.now() + timedelta(minutes=16)


@pytest.mark.parametrize("status", [401, 403])
def test_a_subscription_of_another_key_is_deactivated_after_a_wait(browsers, status):
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


def test_a_refused_subscription_keeps_waiting_while_nothing_else_is_sent(browsers):
    answer(status=403)
    row = send_to(browsers[0])
    for _ in range(3):
        answer(status=403)
        make_due(row)
    browsers[0].refresh_from_db()
    assert (row.status, browsers[0].is_active) == ("pending", True)


def test_a_row_without_retries_fails_once_others_are_accepted(browsers):
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


def test_health_is_unhealthy_only_while_a_credentials_breaker_is_open(browsers):
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


def test_rows_of_a_paused_service_are_postponed_in_one_statement(browsers, django_assert_max_num_queries):
    open_breaker(browsers, status=500)
    for _ in range(40):
        services.send(browsers[0].user, "Hello")
    with django_assert_max_num_queries(60):
        deliver_due()
    moments = set(rows().filter(failure_reason="The push service is paused").values_list("next_attempt_at", flat=True))
    assert moments == {PushServiceState.objects.get().paused_until}


@pytest.mark.thorough
def test_a_backlog_that_waits_for_a_probe_does_not_delay_rows_of_others(browsers, make_subscription, user):
    open_breaker(browsers, status=500)
    PushServiceState.objects.update(paused_until=timezone.now() + timedelta(minutes=10))
    other = make_subscription(user, endpoint="https://fcm.googleapis.com/fcm/send/abc")
    rows().bulk_create([new_notification(browsers[0], "pending") for _ in range(1500)])
    late = new_notification(other, "pending")
    late.save()
    deliver_due(limit=700)
    late.refresh_from_db()
    assert late.status == "sent"
    state = PushServiceState.objects.get()
    waiting = rows().filter(subscription=browsers[0], failure_reason="The push service is paused")
    assert set(waiting.values_list("next_attempt_at", "claims")) == {(state.paused_until, 0)}
    assert waiting.count() == 1500
    end_pause()
    make_due()
    make_due()
    assert not rows().exclude(status="sent").exists()


def test_waiting_rows_become_due_in_small_statements_and_the_urgent_ones_first(browsers, monkeypatch):
    monkeypatch.setattr("django_webpush_kit.delivery.breakers.MOVED_AT_ONCE", 3)
    open_breaker(browsers, status=500)
    until = timezone.now() + timedelta(minutes=10)
    PushServiceState.objects.update(paused_until=until)
    for urgency in ("low", "normal", "high"):
        for _ in range(5):
            services.send(browsers[0], "Hello", urgency=urgency)
    rows().filter(status="pending").update(next_attempt_at=until)
    waiting = rows().filter(next_attempt_at=until).order_by("lane")
    left = [list(waiting.values_list("lane", flat=True))]

    def note(execute, sql, *rest):
        result = execute(sql, *rest)
        if sql.startswith("UPDATE"):
            left.append(list(waiting.values_list("lane", flat=True)))
        return result

    with connection.execute_wrapper(note):
        breakers._move_waiting(until, None)
    assert left[-1] == []
    for before, after in pairwise(left):
        assert len(before) - len(after) <= 3
        assert before[len(before) - len(after) :] == after, "the urgent ones went first"


def test_a_backlog_does_not_wait_longer_than_its_rows_live(browsers):
    open_breaker(browsers, status=500)
    PushServiceState.objects.update(paused_until=timezone.now() + timedelta(minutes=10))
    soon = timezone.now() + timedelta(minutes=9)
    rows().bulk_create([new_notification(browsers[0], "pending", expires_at=soon) for _ in range(300)])
    deliver_due(limit=150)
    assert rows().filter(expires_at=soon, status="expired").count() == 150
    assert not rows().filter(expires_at=soon, status="pending", next_attempt_at__gte=soon).exists()


def test_the_probe_goes_to_a_subscription_without_a_fault(browsers):
    for browser in browsers[:3]:
        answer(status=403)
        send_to(browser)
    waiting = services.send(browsers[3], "Hello").notifications.get()
    end_pause()
    make_due()
    assert locmem.sent[3].id == waiting.pk


def test_another_probe_follows_one_that_cannot_be_built(browsers):
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


def test_another_probe_follows_one_that_is_gone(browsers):
    open_breaker(browsers, status=500)
    end_pause()
    answer(status=410)
    make_due()
    make_due()
    assert rows().filter(status="sent").exists()


def test_evidence_of_several_workers_is_added_up(browsers):
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


class TestTwoWorkers:
    """What one worker knows of a breaker, while another one changes it."""

    @pytest.fixture
    def key(self, browsers):
        return breaker.BreakerKey(browsers[0].push_service, browsers[0].vapid_key_id)

    def row(self, browser):
        return SimpleNamespace(pk=browser.pk, subscription_id=browser.pk, options=RowOptions())

    def blame(self, worker, key, browsers):
        for browser in browsers:
            values = {"reason": "500", "retry_after": None, "now": timezone.now()}
            worker.blame(key, self.row(browser), breaker.Fault.OUTAGE, **values)

    def test_rereading_the_state_keeps_unwritten_changes(self, browsers, key):
        worker = Breakers()
        self.blame(worker, key, browsers[:3])
        worker.refresh()
        assert worker.paused_until(key) > timezone.now()
        worker.write()
        assert Breakers().paused_until(key) == worker.paused_until(key)

    def test_only_one_worker_sends_the_probe(self, browsers, key):
        first = Breakers()
        self.blame(first, key, browsers[:3])
        first.write()
        second = Breakers()
        now = first.paused_until(key)
        lease = timedelta(seconds=30)
        assert first.take_probe(key, lease, now)
        assert not second.take_probe(key, lease, now)
        assert second.paused_until(key) == now + lease

    def test_a_success_changes_nothing_if_another_worker_has_closed_it(self, browsers, key):
        first, now = Breakers(), timezone.now()
        self.blame(first, key, browsers[:3])
        first.write()
        second = Breakers()
        first.accept(key, self.row(browsers[3]), now)
        first.write()
        PushServiceState.objects.all().delete()
        second.accept(key, self.row(browsers[4]), now)
        second.write()
        assert not PushServiceState.objects.exists()

    def test_another_worker_may_insert_the_state_between_reading_and_writing(self, browsers, key, monkeypatch):
        first, second = Breakers(), Breakers()
        self.blame(first, key, browsers[:2])
        self.blame(second, key, browsers[2:3])
        create = QuerySet.get_or_create

        def created_by_another_worker(queryset, **values):
            monkeypatch.undo()
            PushServiceState.objects.create(
                push_service=key.push_service, vapid_key_id=key.vapid_key_id, suspects=suspects_of(second)
            )
            return create(queryset, **values)

        def suspects_of(worker):
            return {
                name: [suspect.fault, suspect.moment.isoformat()]
                for name, suspect in worker._known[key].suspects.items()
            }

        monkeypatch.setattr(QuerySet, "get_or_create", created_by_another_worker)
        first.write()
        assert Breakers().paused_until(key) > timezone.now()

    def test_held_rows_are_sent_if_another_worker_closes_it(self, browsers, make_subscription, user):
        other = make_subscription(user, endpoint="https://fcm.googleapis.com/fcm/send/abc")
        answer(3, status=500)
        services.send(user, "Hello")
        deliver_due()
        rows().filter(status="pending").update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        services.send(other, "Hello")
        recorder, chunk = Recorder(Counter()), claim(20)
        recorder.take(chunk.lease, chunk.rows)
        admitted = Gate(chunk.rows, recorder).admitted()
        first = next(admitted)
        assert first.subscription_id == other.pk
        held = next(row for row in chunk.rows if row.subscription_id == browsers[4].pk)
        recorder.breakers.accept(breaker.BreakerKey(held.push_service, held.vapid_key_id), held, timezone.now())
        assert {row.subscription_id for row in admitted} == {browser.pk for browser in browsers}
        recorder.release_rest()


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


FAR = [timezone.now() + timedelta(days=365), *(["infinity"] if connection.vendor == "postgresql" else [])]


@pytest.mark.parametrize("until", FAR, ids=["a year", "infinity"][: len(FAR)])
def test_a_pause_that_no_worker_makes_ends_with_a_probe(browsers, until):
    """It was written under a clock that was a year ahead, or by hand."""
    open_breaker(browsers, status=500)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {PushServiceState._meta.db_table} SET paused_until = %s", [until])
    answer(status=500)
    row = send_to(browsers[0])
    assert row.status == "pending"
    pause = PushServiceState.objects.get().paused_until - timezone.now()
    assert timedelta() < pause < timedelta(minutes=5)
    end_pause()
    make_due(row)
    assert row.status == "sent"
    assert not PushServiceState.objects.exclude(paused_until=None).exists()


@pytest.mark.thorough
def test_a_worker_that_is_always_refused_deactivates_no_subscription(browsers):
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


def test_the_only_subscription_of_a_service_is_retried_as_its_message_asks(subscription):
    answer(status=500)
    assert send_to(subscription, retry_base=0).status == "sent"
    assert not PushServiceState.objects.filter(paused_until__isnull=False).exists()


def test_later_pauses_ignore_the_retry_delay_of_the_message(subscription):
    answer(5, status=500)
    assert send_to(subscription, retry_base=0).status == "pending"
    assert len(locmem.sent) == 2
    assert PushServiceState.objects.get().paused_until > timezone.now() + timedelta(seconds=8)

"""Claim, lease, fence, isolation, bounds: what keeps the promise that nothing is lost."""

import itertools
import threading
import time
from datetime import timedelta
from typing import ClassVar
from uuid import uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.delivery import engine
from django_webpush_kit.delivery.engine import claim, deliver, deliver_due, return_lapsed
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.signals import pre_send
from django_webpush_kit.states import Lane
from django_webpush_kit.testing import outbox
from django_webpush_kit.transports import PushResponse, Transport, locmem

pytestmark = pytest.mark.django_db(transaction=True)


def rows():
    return get_notification_model().objects.order_by("pk")


def lapse_lease():
    rows().filter(status="sending").update(next_attempt_at=timezone.now() - timedelta(seconds=1))


def make_due():
    rows().filter(status="pending").update(next_attempt_at=timezone.now() - timedelta(seconds=1))


def send_many(subscription, number, **options):
    for count in range(number):
        services.send(subscription, f"Message {count}", **options)


class TestDeliverDue:
    """What one call sends, and its limits."""

    def test_due_rows_are_sent_in_order_of_urgency(self, subscription):
        services.send(subscription, "newsletter", urgency="low")
        services.send(subscription, "news")
        services.send(subscription, "password", urgency="high")
        report = deliver_due()
        assert [message.title for message in outbox] == ["password", "news", "newsletter"]
        assert (report.sent, report.claimed, report.more) == (3, 3, False)

    def test_scheduled_rows_wait_until_they_are_due(self, subscription):
        services.send(subscription, "later", scheduled_for=timezone.now() + timedelta(hours=1))
        assert deliver_due().claimed == 0
        make_due()
        assert deliver_due().sent == 1

    def test_it_is_refused_inside_a_transaction(self, subscription):
        with transaction.atomic(), pytest.raises(TransactionManagementError, match="on_commit"):
            deliver_due()

    def test_limit_bounds_the_rows_of_one_call(self, subscription, push_settings):
        push_settings(CHUNK_SIZE=2)
        send_many(subscription, 5)
        report = deliver_due(limit=3)
        assert (report.claimed, report.more) == (3, True)
        assert deliver_due().claimed == 2

    def test_only_the_requested_batch_is_sent(self, subscription):
        wanted = services.send(subscription, "wanted")
        services.send(subscription, "other")
        deliver_due(batch=wanted.batch)
        assert [message.title for message in outbox] == ["wanted"]

    def test_an_unknown_batch_delivers_nothing(self, subscription):
        assert deliver_due(batch=uuid4()).claimed == 0

    def test_no_time_left_means_no_claim(self, subscription):
        services.send(subscription, "Hello")
        report = deliver_due(seconds=0)
        assert (report.claimed, report.more) == (0, True)


class TestClaim:
    def test_two_claims_are_disjoint(self, subscription):
        send_many(subscription, 5)
        first, second = claim(3), claim(3)
        assert (len(first.rows), len(second.rows)) == (3, 2)
        assert not {row.pk for row in first.rows} & {row.pk for row in second.rows}

    def test_a_claimed_row_has_a_lease_and_counts_the_claim(self, subscription):
        services.send(subscription, "Hello")
        chunk = claim(10)
        row = rows().get()
        assert (row.status, row.claims, row.lease_token) == ("sending", 1, chunk.lease.token)
        assert row.next_attempt_at == chunk.lease.ends_at

    @pytest.mark.thorough
    def test_eight_workers_claim_disjoint_rows_without_lock_errors(self, subscription, push_settings):
        push_settings(CHUNK_SIZE=5)
        send_many(subscription, 100)
        errors = []
        claimed = []

        def work():
            try:
                claimed.append(deliver_due().claimed)
            except Exception as error:
                errors.append(error)
            finally:
                connection.close()

        workers = [threading.Thread(target=work) for _ in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert errors == []
        assert sum(claimed) == 100
        assert len({request.id for request in locmem.sent}) == len(locmem.sent) == 100
        assert rows().filter(status="sent").count() == 100

    def test_it_works_without_skip_locked_and_limits_in_subqueries(self, subscription, monkeypatch):
        for feature in ("has_select_for_update_skip_locked", "allow_sliced_subqueries_with_in"):
            monkeypatch.setattr(connection.features, feature, False)
        send_many(subscription, 3)
        assert [len(claim(2).rows) for _ in range(3)] == [2, 1, 0]


class TestLapsedLease:
    def test_the_row_is_returned_and_sent(self, subscription):
        services.send(subscription, "Hello")
        claim(10)
        assert deliver_due().claimed == 0
        lapse_lease()
        assert deliver_due().sent == 1

    def test_more_rows_than_one_statement_handles_are_returned(self, subscription, monkeypatch):
        monkeypatch.setattr(engine, "LAPSED_AT_ONCE", 2)
        send_many(subscription, 5)
        claim(10)
        lapse_lease()
        assert deliver_due().sent == 5

    def test_late_writes_change_nothing(self, subscription):
        services.send(subscription, "Hello")
        sleeper = claim(10)
        lapse_lease()
        return_lapsed()
        other = claim(10)
        report = engine.DeliveryReport()
        locmem.answers.append(PushResponse(id=None, status=410))
        deliver([sleeper], report)
        row = rows().get()
        assert (row.status, row.lease_token) == ("sending", other.lease.token)
        deliver([other], report)
        assert rows().get().status == "sent"

    def test_a_row_claimed_again_while_in_flight_is_not_sent_twice(self, subscription, push_settings):
        push_settings(TRANSPORT=f"{__name__}.OversleepingTransport", CHUNK_SIZE=1)
        services.send(subscription, "Hello")
        report = deliver_due(limit=2)
        assert (report.claimed, report.sent) == (2, 1)
        assert rows().get().status == "sent"

    def test_no_request_starts_after_the_time_limit_and_the_other_rows_are_released(self, subscription, push_settings):
        push_settings(TRANSPORT=f"{__name__}.SlowTransport")
        send_many(subscription, 3)
        chunk = claim(10, stop_at=time.monotonic() + 1)
        report = engine.DeliveryReport()
        deliver([chunk], report)
        assert report.outcomes == {"sent": 1, "released": 2}
        assert sorted(rows().values_list("status", "claims")) == [("pending", 0), ("pending", 0), ("sent", 0)]


class TestIsolation:
    """Rows whose lease lapsed twice are claimed alone."""

    def test_an_isolated_row_delays_no_other(self, subscription):
        send_many(subscription, 3)
        for _ in range(2):
            claim(10)
            lapse_lease()
            return_lapsed()
        assert set(rows().values_list("lane", flat=True)) == {Lane.ISOLATED}
        assert [len(claim(10).rows) for _ in range(4)] == [1, 1, 1, 0]

    def test_a_row_that_crashes_its_worker_too_often_is_quarantined(self, subscription, push_settings):
        push_settings(MAX_CLAIMS=3)
        send_many(subscription, 4)
        poison = rows()[1]
        sent = []
        for _ in range(12):
            while (chunk := claim(10)).rows:
                if any(row.pk == poison.pk for row in chunk.rows):
                    break
                deliver([chunk], engine.DeliveryReport())
                sent += [row.pk for row in chunk.rows]
            lapse_lease()
            return_lapsed()
        poison.refresh_from_db()
        assert (poison.status, poison.claims) == ("failed", 2 + 3)
        assert "Quarantined" in poison.failure_reason
        assert len(sent) == 3
        assert rows().filter(status="sent").count() == 3

    def test_isolated_rows_get_their_turn_under_load(self, subscription, push_settings):
        push_settings(CHUNK_SIZE=1)
        send_many(subscription, engine.EVERY_KIND + 3)
        first = rows().first()
        rows().filter(pk=first.pk).update(lane=Lane.ISOLATED)
        deliver_due(limit=engine.EVERY_KIND)
        first.refresh_from_db()
        assert first.status == "sent"

    def test_an_isolated_row_is_never_in_flight_beside_others(self, subscription, collecting):
        send_many(subscription, 4)
        rows().filter(pk=rows().first().pk).update(lane=Lane.ISOLATED)
        assert deliver_due(limit=4).sent == 4
        assert sorted(filter(None, collecting)) == [1, 3]


class CollectingTransport(Transport):
    """Answers when there are no more requests to be had, and notes how many came in one go."""

    seen: ClassVar[list[int]] = []

    def send(self, requests):
        requests = list(requests)
        self.seen.append(len(requests))
        yield from (PushResponse(id=request.id, status=201) for request in requests)


@pytest.fixture
def collecting(push_settings):
    push_settings(TRANSPORT=f"{__name__}.CollectingTransport", CHUNK_SIZE=2)
    CollectingTransport.seen.clear()
    return CollectingTransport.seen


class TestChunks:
    def test_the_next_chunk_is_claimed_while_answers_are_outstanding(self, subscription, collecting):
        send_many(subscription, 3)
        assert deliver_due().sent == 3
        assert collecting[0] == 3

    def test_a_worker_holds_fewer_than_three_chunks(self, subscription, collecting):
        send_many(subscription, 7)
        assert deliver_due().sent == 7
        assert collecting[:2] == [4, 3]

    def test_a_database_error_loses_no_outstanding_answer(self, subscription, collecting, monkeypatch):
        send_many(subscription, 3)
        really_claim, claims = engine.claim, itertools.count(1)

        def claim_once(*args, **kwargs):
            if next(claims) > 1:
                raise OperationalError("gone")
            return really_claim(*args, **kwargs)

        monkeypatch.setattr(engine, "claim", claim_once)
        with pytest.raises(OperationalError):
            deliver_due()
        assert sorted(rows().values_list("status", flat=True)) == ["pending", "sent", "sent"]

    def test_a_service_paused_while_its_chunk_is_under_way_gets_no_further_request(self, subscription):
        send_many(subscription, 3)
        locmem.answers.append(PushResponse(id=None, status=429, headers={"retry-after": "60"}))
        report = deliver_due()
        assert len(locmem.sent) == 1
        assert report.outcomes["retried"] == 1
        assert set(rows().values_list("status", "retry_count", "claims")) == {("pending", 0, 0)}

    def test_rows_expire_if_a_pause_lasts_beyond_their_deadline(self, subscription):
        send_many(subscription, 2, ttl=30)
        locmem.answers.append(PushResponse(id=None, status=429, headers={"retry-after": "60"}))
        deliver_due()
        deliver_due()
        assert set(rows().values_list("status", flat=True)) == {"expired"}


class OversleepingTransport(Transport):
    """Loses its lease while a request is in flight."""

    def send(self, requests):
        request = next(requests)
        lapse_lease()
        return_lapsed()
        assert next(requests, None) is None
        yield PushResponse(id=request.id, status=201)


class Interrupted(Exception):
    """Something no transport should raise."""


class BreakingTransport(Transport):
    """Answers one request and breaks on the next."""

    def send(self, requests):
        for number, request in enumerate(requests):
            if number:
                raise Interrupted
            yield PushResponse(id=request.id, status=201)


class TestTransportErrors:
    def test_an_error_fails_only_the_row_being_sent(self, subscription, push_settings):
        push_settings(TRANSPORT=f"{__name__}.BreakingTransport")
        send_many(subscription, 3)
        deliver_due()
        assert sorted(rows().values_list("status", "failure_reason")) == [
            ("failed", "The transport raised Interrupted"),
            ("sent", ""),
            ("sent", ""),
        ]

    @pytest.mark.parametrize("transport", ["TransportWithPoison", "BreakingLateTransport"])
    def test_a_row_that_always_breaks_the_transport_fails_alone(self, subscription, push_settings, transport):
        push_settings(TRANSPORT=f"{__name__}.{transport}")
        poison = services.send(subscription, "poison").notifications
        neighbours = [services.send(subscription, "fine").notifications for _ in range(3)]
        deliver_due()
        assert poison.get().failure_reason == "The transport raised Interrupted"
        assert [row.get().status for row in neighbours] == ["sent"] * 3

    def test_an_error_before_any_request_fails_no_row(self, subscription, push_settings):
        push_settings(TRANSPORT=f"{__name__}.BrokenTransport")
        services.send(subscription, "Hello")
        with pytest.raises(Interrupted):
            deliver_due()
        assert rows().get().status == "pending"


class TransportWithPoison(Transport):
    """Breaks on a message that is called poison."""

    def send(self, requests):
        for request in requests:
            if b"poison" in request.payload:
                raise Interrupted
            yield PushResponse(id=request.id, status=201)


class BreakingLateTransport(Transport):
    """Takes all requests that it gets, and breaks if a message among them is called poison."""

    def send(self, requests):
        requests = list(requests)
        if any(b"poison" in request.payload for request in requests):
            raise Interrupted
        yield from (PushResponse(id=request.id, status=201) for request in requests)


class BrokenTransport(Transport):
    """Breaks before it takes a request."""

    def send(self, requests):
        raise Interrupted


class TestKeys:
    def test_without_a_key_the_error_names_the_setting_and_rows_stay_pending(
        self, subscription, push_settings, monkeypatch
    ):
        monkeypatch.delenv("VAPID_PRIVATE_KEY", raising=False)
        services.send(subscription, "Hello")
        push_settings(VAPID_PRIVATE_KEY="")
        with pytest.raises(ImproperlyConfigured, match="VAPID_PRIVATE_KEY"):
            deliver_due()
        assert rows().get().status == "pending"

    def test_a_message_is_signed_with_the_key_of_its_subscription(self, subscription, settings, push_settings):
        from django_webpush_kit.protocol.vapid import generate_vapid_keys

        old = settings.WEBPUSH_KIT["VAPID_PRIVATE_KEY"]
        push_settings(VAPID_PRIVATE_KEY=generate_vapid_keys()["private_key"], VAPID_FALLBACK_PRIVATE_KEYS=[old])
        services.send(subscription, "Hello")
        assert deliver_due().sent == 1
        push_settings(VAPID_FALLBACK_PRIVATE_KEYS=[])
        services.send(subscription, "Hello")
        deliver_due()
        waiting = rows().last()
        assert (waiting.status, waiting.failure_reason) == ("pending", "Its VAPID key is not configured here")
        assert waiting.next_attempt_at > timezone.now()
        push_settings(VAPID_FALLBACK_PRIVATE_KEYS=[old])
        make_due()
        assert deliver_due().sent == 1


class SlowTransport(Transport):
    """Takes the time of the lease for its first request."""

    timeout = 0.0

    def send(self, requests):
        for request in requests:
            engine.time.sleep(1.1)
            yield PushResponse(id=request.id, status=201)


class TestPreSend:
    """Receivers of the signal `pre_send`."""

    def test_a_receiver_may_change_the_message_or_cancel_it(self, subscription):
        def receiver(notification, message, **kwargs):
            message.title = message.title.upper()
            return False if message.title == "SECRET" else None

        pre_send.connect(receiver)
        services.send(subscription, "loud")
        services.send(subscription, "secret")
        deliver_due()
        pre_send.disconnect(receiver)
        assert [message.title for message in outbox] == ["LOUD"]
        assert rows().last().status == "cancelled"

    def test_changes_affect_only_one_row(self, user, make_subscription):
        def receiver(notification, message, **kwargs):
            message.data["seen"] = message.data.get("seen", 0) + 1
            message.actions.append({"action": "more", "title": "More"})

        for _ in range(2):
            make_subscription(user=user)
        pre_send.connect(receiver)
        services.send(user, "Hello", data={"a": 1}, actions=[{"action": "open", "title": "Open"}])
        deliver_due()
        pre_send.disconnect(receiver)
        assert [(message.data["seen"], len(message.actions)) for message in outbox] == [(1, 2), (1, 2)]

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda message: setattr(message, "body", "x" * 5000), "budget"),
            (lambda message: message.data.update(bad={1}), "TypeError"),
        ],
    )
    def test_an_unsendable_message_fails_only_its_row(self, subscription, change, reason):
        def receiver(message, **kwargs):
            if message.title == "bad":
                change(message)

        pre_send.connect(receiver)
        services.send(subscription, "bad")
        services.send(subscription, "good")
        report = deliver_due()
        pre_send.disconnect(receiver)
        assert report.outcomes == {"failed": 1, "sent": 1}
        assert reason in rows().first().failure_reason

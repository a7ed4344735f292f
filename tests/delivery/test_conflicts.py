"""Serialization failures of a real PostgreSQL under REPEATABLE READ: the engine's own transactions start over."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.api import events
from django_webpush_kit.database import is_conflict, retry_on_conflict
from django_webpush_kit.delivery import fan_out as broadcast
from django_webpush_kit.delivery.breaker import BreakerKey, Fault
from django_webpush_kit.delivery.breakers import Breakers
from django_webpush_kit.delivery.engine import claim, deliver_due, return_lapsed
from django_webpush_kit.models import (
    IdempotencyKey,
    PushBroadcast,
    PushServiceState,
    get_analytics_model,
    get_notification_model,
    get_subscription_model,
    get_template_model,
)
from django_webpush_kit.options import RowOptions
from django_webpush_kit.subscriptions.deactivation import deactivate_subscriptions
from django_webpush_kit.transports import PushResponse, Transport

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(os.environ.get("TEST_DATABASE") != "postgresql", reason="asks PostgreSQL"),
]


@pytest.fixture(autouse=True)
def _repeatable_read(settings):
    usual = connection.settings_dict["OPTIONS"]
    connection.close()
    # Django's own option, isolation_level, leaves single statements outside of transactions as they are
    connection.settings_dict["OPTIONS"] = {**usual, "options": r"-c default_transaction_isolation=repeatable\ read"}
    yield
    connection.close()
    connection.settings_dict["OPTIONS"] = usual


@contextmanager
def changed_by_another(model):
    """Another transaction holds the model's rows, and changes them once somebody waits for them."""
    other = connection.copy()
    other.inc_thread_sharing()
    table = other.ops.quote_name(model._meta.db_table)
    key = other.ops.quote_name(model._meta.pk.column)

    def change_when_waited_for():
        with other.cursor() as cursor:
            while True:
                cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND %s = ANY(pg_blocking_pids(pid))", [pid])
                if cursor.fetchall() or given_up.wait(0.02):
                    break
            cursor.execute("COMMIT")

    given_up = threading.Event()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
        cursor.execute("BEGIN")
        cursor.execute(f"UPDATE {table} SET {key} = {key}")
    thread = threading.Thread(target=change_when_waited_for)
    thread.start()
    try:
        yield
    finally:
        given_up.set()
        thread.join()
        other.close()


@pytest.fixture
def conflicts(caplog):
    """The errors that were tried again."""
    caplog.set_level("INFO", logger="django_webpush_kit")

    def read():
        return [one.exc_info[1].__cause__.sqlstate for one in caplog.records if "retrying" in one.message]

    return read


def rows():
    return get_notification_model().objects


class MeddledTransport(Transport):
    """While it has the answer, another transaction changes the row."""

    meddling = ExitStack()

    def send(self, requests):
        for request in requests:
            self.meddling.enter_context(changed_by_another(get_notification_model()))
            yield PushResponse(id=request.id, status=201)


def test_an_outcome_is_recorded(subscription, conflicts, push_settings):
    push_settings(TRANSPORT=f"{__name__}.MeddledTransport")
    services.send(subscription, "Hello")
    with MeddledTransport.meddling:
        deliver_due()
    assert conflicts() == ["40001"]
    assert rows().get().status == "sent"


def test_a_lapsed_lease_is_returned(subscription, conflicts):
    services.send(subscription, "Hello")
    claim(10)
    rows().update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    with changed_by_another(get_notification_model()):
        assert return_lapsed() == 1
    assert conflicts() == ["40001"]
    assert rows().get().status == "pending"


def test_a_breaker_is_opened_and_closed(subscription, conflicts):
    now = timezone.now()
    key = BreakerKey(subscription.push_service, subscription.vapid_key_id)
    PushServiceState.objects.create(push_service=key.push_service, vapid_key_id=key.vapid_key_id)
    row = SimpleNamespace(pk=1, subscription_id=subscription.pk, options=RowOptions(retry_base=3600.0))
    breakers = Breakers()
    with changed_by_another(PushServiceState):
        breakers.blame(key, row, Fault.THROTTLED, reason="HTTP 429", retry_after=60, now=now)
    assert PushServiceState.objects.get().paused_until == now + timedelta(seconds=60)
    breakers.accept(key, row, now)
    with changed_by_another(PushServiceState):
        breakers.write()
    assert conflicts() == ["40001", "40001"]
    assert not PushServiceState.objects.exists()


def test_a_subscription_that_is_gone_is_deactivated(subscription, conflicts):
    with changed_by_another(get_subscription_model()):
        assert deactivate_subscriptions(get_subscription_model().objects.all(), "gone") == 1
    assert conflicts() == ["40001"]


def test_a_broadcast_is_fanned_out(subscription, conflicts):
    get_template_model().objects.create(type="news", title_template="News")
    services.broadcast("news")
    with changed_by_another(PushBroadcast):
        assert broadcast.fan_out() == 1
    assert conflicts() == ["40001"]
    assert rows().count() == 1
    assert PushBroadcast.objects.get().status == "completed"


@pytest.mark.parametrize("named", ["batch", "idempotency_key"])
def test_a_notification_is_cancelled(subscription, conflicts, named):
    result = services.send(subscription, "Hello", idempotency_key="order:7")
    call = {"batch": {"target": result.batch}, "idempotency_key": {"idempotency_key": "order:7"}}[named]
    with changed_by_another(get_notification_model()):
        assert services.cancel(**call) == 1
    assert conflicts() == ["40001"]
    assert rows().get().status == "cancelled"


def test_a_broadcast_is_started_paused_resumed_and_cancelled(subscription, conflicts):
    get_template_model().objects.create(type="news", title_template="News")
    services.send([], "Nothing", idempotency_key="other")
    with changed_by_another(IdempotencyKey):
        services.cancel(idempotency_key="other")
    row = services.broadcast("news", idempotency_key="news:7")
    for change in (services.pause_broadcast, services.resume_broadcast, services.cancel):
        with changed_by_another(PushBroadcast):
            change(row)
    assert conflicts() == ["40001"] * 4
    assert PushBroadcast.objects.get().status == "cancelled"


def test_the_same_broadcast_started_twice_at_once_is_one(subscription, monkeypatch):
    """The first attempt of one of them is rolled back by a conflict after it has stored its row."""
    get_template_model().objects.create(type="news", title_template="News")
    attempts = []

    def conflict_once(*args, **kwargs):
        attempts.append(args)
        if len(attempts) == 1:
            connection.cursor().execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")

    monkeypatch.setattr("django_webpush_kit.outbox.broadcasts.wake_on_commit", conflict_once)
    first = services.broadcast("news", idempotency_key="news:7")
    assert len(attempts) == 2
    assert services.broadcast("news", idempotency_key="news:7").pk == first.pk == PushBroadcast.objects.get().pk


def test_a_transaction_of_the_host_is_the_hosts_to_start_over(subscription, conflicts):
    services.send(subscription, "Hello")

    def statements():
        with transaction.atomic():
            retry_on_conflict(lambda: rows().update(title="Changed"))

    with changed_by_another(get_notification_model()), pytest.raises(OperationalError) as caught:
        statements()
    assert is_conflict(caught.value)
    assert conflicts() == []
    retry_on_conflict(statements)
    assert rows().get().title == "Changed"


def test_reports_at_once_cannot_exceed_the_events_that_are_kept(subscription, conflicts):
    """The second one waits for the lock of the first; what it read before does not count those events."""
    row = services.send(subscription, "Hello").notifications.get()
    start = threading.Barrier(4)

    def report(number):
        clicks = [events.Event(row.pk, row.batch, "action_clicked", f"{number}.{one}") for one in range(12)]
        try:
            start.wait(timeout=30)
            return events.record(clicks)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        created = list(pool.map(report, range(4)))
    stored = get_analytics_model().objects.count()
    assert (sum(created), stored) == (events.MAX_PER_NOTIFICATION, events.MAX_PER_NOTIFICATION)
    assert set(conflicts()) <= {"40001"}


def test_a_report_that_waited_for_another_starts_over(subscription, conflicts):
    row = services.send(subscription, "Hello").notifications.get()
    with changed_by_another(get_notification_model()):
        assert events.record([events.Event(row.pk, row.batch, "clicked")]) == 1
    assert conflicts() == ["40001"]

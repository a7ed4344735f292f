"""A call and the transaction around it: what is sent when, and what two callers at once get."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.utils import timezone

from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import IdempotencyKey, get_notification_model
from django_webpush_kit.services import abroadcast, asend, asend_templated, cancel, send
from django_webpush_kit.testing import outbox
from tests import backends
from tests.factories import make_template

pytestmark = pytest.mark.django_db(transaction=True)

IMMEDIATE = "django_webpush_kit.task_backends.ImmediateBackend"


@pytest.fixture(autouse=True)
def woken(push_settings):
    """The batches of every wake-up of this test."""
    push_settings(TASK_BACKEND="tests.backends.RecordingBackend")
    backends.woken.clear()
    return backends.woken


@contextmanager
def rolled_back():
    """A transaction, or a savepoint, that is rolled back at its end."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def rows():
    return get_notification_model().objects.all()


class TestWakeUps:
    def test_without_a_transaction_a_call_wakes_workers_at_once(self, subscription, woken):
        result = send(subscription, "Hello")
        assert woken == [[result.batch]]

    def test_a_transaction_wakes_workers_once_after_its_commit(self, subscription, woken):
        with transaction.atomic():
            batches = [send(subscription, "Hello").batch for _ in range(3)]
            assert not woken
        assert woken == [batches]

    def test_savepoints_do_not_multiply_wake_ups(self, subscription, woken):
        with transaction.atomic():
            with transaction.atomic():
                first = send(subscription, "Hello").batch
            with transaction.atomic():
                with transaction.atomic():
                    second = send(subscription, "Hello").batch
                third = send(subscription, "Hello").batch
            fourth = send(subscription, "Hello").batch
        assert woken == [[first, second, third, fourth]]

    def test_rolling_back_a_savepoint_discards_only_its_own_wake_up(self, subscription, woken):
        with transaction.atomic():
            with rolled_back():
                send(subscription, "Lost")
            kept = send(subscription, "Kept").batch
        assert woken == [[kept]]
        assert list(rows().values_list("title", flat=True)) == ["Kept"]

    def test_a_wake_up_from_before_a_savepoint_survives_its_rollback(self, subscription, woken):
        with transaction.atomic():
            kept = send(subscription, "Kept").batch
            with rolled_back():
                send(subscription, "Lost")
        assert [batches[0] for batches in woken] == [kept]

    def test_a_wake_up_of_a_released_savepoint_is_discarded_with_the_outer_one(self, subscription, woken):
        with transaction.atomic():
            with rolled_back():
                with transaction.atomic():
                    send(subscription, "Lost")
                send(subscription, "Lost too")
            kept = send(subscription, "Kept").batch
        assert woken == [[kept]]

    def test_a_rollback_wakes_no_worker_and_leaves_no_rows(self, subscription, woken):
        with rolled_back():
            send(subscription, "Lost", idempotency_key="order:7")
        assert not woken
        assert not rows().exists()
        assert not send(subscription, "Hello", idempotency_key="order:7").reused

    def test_calls_without_due_rows_wake_no_worker(self, user, make_subscription, woken):

        make_subscription(user, preferences={"categories": {"news": False}})
        send(user, "Suppressed", type="news")
        send(user, "Later", scheduled_for=timezone.now() + timedelta(hours=1))
        assert not woken

    def test_errors_of_the_broker_are_logged_not_raised(self, subscription, push_settings, caplog):
        push_settings(TASK_BACKEND="tests.backends.BrokenBackend")
        others = []
        with transaction.atomic():
            result = send(subscription, "Hello")
            transaction.on_commit(lambda: others.append(1))
        assert others == [1]
        assert str(result.batch) in caplog.text
        assert "the broker is away" in caplog.text
        assert result.notifications.get().status == "pending"


class TestImmediateBackend:
    def test_it_sends_after_commit(self, subscription, push_settings):
        push_settings(TASK_BACKEND=IMMEDIATE)
        with transaction.atomic():
            result = send(subscription, "Hello")
            assert not outbox
        assert [message.title for message in outbox] == ["Hello"]
        assert result.notifications.get().status == "sent"

    def test_it_sends_a_limited_number_of_its_batches(self, user, make_subscription, push_settings, monkeypatch):
        waiting = send([make_subscription(user) for _ in range(2)], "Waiting")
        push_settings(TASK_BACKEND=IMMEDIATE)
        monkeypatch.setattr("django_webpush_kit.task_backends.base.MAX_IMMEDIATE_ROWS", 3)
        with transaction.atomic():
            batches = [send(user, "Hello") for _ in range(3)]
        assert len(outbox) == 3
        assert [batch.notifications.filter(status="sent").count() for batch in batches] == [2, 1, 0]
        assert waiting.notifications.filter(status="pending").count() == 2


def test_async_callers_have_the_same_functions(subscription):
    make_template("hello", title_template="Hello {{ name }}")

    async def call():
        plain = await asend(subscription, "Hello", "World", type="news")
        templated = await asend_templated("hello", subscription, {"name": "Ada"}, urgency="high")
        broadcast = await abroadcast("hello", context={"name": "all"})
        return plain, templated, broadcast

    plain, templated, broadcast = async_to_sync(call)()
    assert plain.notifications.get().body == "World"
    assert (templated.notifications.get().title, templated.notifications.get().lane) == ("Hello Ada", 0)
    assert broadcast.status == "pending"


def in_threads(count, function):
    """Run a function in threads at once; the results in order of their ends, errors included."""
    start, results = threading.Barrier(count), []

    def run():
        start.wait()
        try:
            results.append(function())
        except Exception as error:  # it is looked at below
            results.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class TestConcurrentCalls:
    """Calls with the same idempotency key at the same time."""

    def test_calls_from_threads_are_one_batch(self, subscription):
        results = in_threads(6, lambda: send(subscription, "Hello", idempotency_key="order:7"))
        assert len({result.batch for result in results}) == 1
        assert sorted(result.reused for result in results) == [False] + [True] * 5
        assert {result.queued for result in results} == {1}
        assert rows().count() == 1

    def test_calls_from_two_processes_are_one_batch(self, subscription):
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "tests.settings"),
            "TEST_DATABASE_NAME": str(connection.settings_dict["NAME"]),
        }
        command = [sys.executable, "-c", SENDER, str(subscription.pk)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        senders = [subprocess.Popen(command, env=environment, **pipes) for _ in range(2)]
        for sender in senders:
            assert sender.stdout.readline() == "ready\n"
        for sender in senders:
            sender.stdin.write("\n")
            sender.stdin.flush()
        answers = [json.loads(sender.communicate(timeout=60)[0]) for sender in senders]
        assert len({batch for batch, _reused in answers}) == 1
        assert sorted(reused for _batch, reused in answers) == [False, True]
        assert rows().count() == 1

    def test_the_second_caller_waits_for_the_transaction_of_the_first(self, subscription):
        order, has_sent = [], threading.Event()

        def first():
            with transaction.atomic():
                result = send(subscription, "Hello", idempotency_key="order:7")
                has_sent.set()
                time.sleep(0.3)
                order.append("committed")
            return result

        def second():
            has_sent.wait()
            result = send(subscription, "Hello", idempotency_key="order:7")
            order.append("answered")
            return result

        todo = iter([first, second])
        results = in_threads(2, lambda: next(todo)())
        assert order == ["committed", "answered"]
        assert len({result.batch for result in results}) == 1

    def test_the_second_caller_sends_when_the_first_rolls_back(self, subscription):
        has_sent = threading.Event()

        def first():
            with rolled_back():
                send(subscription, "Lost", idempotency_key="order:7")
                has_sent.set()
                time.sleep(0.2)

        def second():
            has_sent.wait()
            return send(subscription, "Hello", idempotency_key="order:7")

        todo = iter([first, second])
        (result,) = [one for one in in_threads(2, lambda: next(todo)()) if one is not None]
        assert not result.reused
        assert list(rows().values_list("title", flat=True)) == ["Hello"]

    def test_rolling_back_a_cancellation_keeps_the_key(self, subscription):
        send(subscription, "Hello", idempotency_key="order:7")
        with rolled_back():
            assert cancel(idempotency_key="order:7") == 1
        assert IdempotencyKey.objects.get().key_hash == IdempotencyKey.hash_of("order:7")
        assert rows().get().status == "pending"


SENDER = """
import json, sys
import django
django.setup()
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.services import send
subscription = get_subscription_model().objects.get(pk=sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
result = send(subscription, "Hello", idempotency_key="order:7")
print(json.dumps([str(result.batch), result.reused]))
"""


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no transactions with autocommit off")
def test_messages_can_be_written_with_autocommit_off(subscription):
    transaction.set_autocommit(False)
    try:
        send(subscription, "Rolled back")
        transaction.rollback()
        send(subscription, "Committed")
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert deliver_due().sent == 1
    assert [row.title for row in get_notification_model().objects.all()] == ["Committed"]

"""Celery: the names its scheduler knows, what goes to its broker, and real workers."""

import socket
import subprocess
import sys
import uuid
from contextlib import contextmanager
from functools import partial

import pytest
from django.db import transaction

from django_webpush_kit import services, tasks
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.task_backends import CeleryBackend, get_task_backend
from django_webpush_kit.task_backends.base import WAKE_UP_TASK
from django_webpush_kit.testing import outbox
from tests.task_backends.workers import wait_for, worker_process

PATH = "django_webpush_kit.task_backends.CeleryBackend"


celery = pytest.importorskip("celery")


@contextmanager
def application(broker):
    """The host's Celery application, current in this process until the block ends."""
    import kombu.pools
    from celery import _state

    before = _state.default_app
    app = celery.Celery(f"tests-{uuid.uuid4().hex}", broker=broker)
    app.conf.broker_connection_timeout = 2
    app.set_default()
    try:
        yield app
    finally:
        kombu.pools.reset()  # or another test would find a closed pool for the same broker
        app.close()
        _state.set_default_app(before)


@pytest.fixture
def use_celery(push_settings):
    """Choose the backend, with a queue that no other test run uses."""
    queue = f"webpush-kit-{uuid.uuid4().hex}"
    push_settings(TASK_BACKEND={"BACKEND": PATH, "OPTIONS": {"queue": queue, "seconds": 20}})
    return queue


def test_the_tasks_are_registered_under_the_names_that_schedules_use():
    with application("memory://") as app:
        assert tasks.wake_up.__module__ in WAKE_UP_TASK  # importing the tasks registers them
        assert {
            WAKE_UP_TASK,
            "send_scheduled_notifications",
            "retry_failed_notifications",
            "cleanup_expired_subscriptions",
            "send_push_notification_task",
        } <= set(app.tasks)


@pytest.mark.django_db(transaction=True)
def test_a_transaction_sends_one_wake_up_without_data(subscription, use_celery):
    with application("memory://") as app:
        with transaction.atomic():
            services.send(subscription, "Secret")
            services.send(subscription, "Secret")
        with app.connection_for_read() as connection, connection.SimpleQueue(use_celery) as queue:
            message = queue.get(timeout=1)
            assert message.headers["task"] == WAKE_UP_TASK
            assert message.payload[:2] == [[], {}]
            assert "Secret" not in str(message.body)
            message.ack()
            with pytest.raises(queue.Empty):
                queue.get_nowait()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("use_celery")
def test_eager_tasks_deliver_after_commit_without_a_broker(subscription, caplog):
    with application("redis://127.0.0.1:1/0") as app:
        app.conf.task_always_eager = True
        with transaction.atomic():
            services.send(subscription, "Hello")
            services.send(subscription, "World")
            assert not outbox
        get_task_backend().wake_all()
        assert get_task_backend().delivers_in_requests
    assert sorted(message.title for message in outbox) == ["Hello", "World"]
    assert caplog.text == ""


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_is_logged(subscription, use_celery, caplog):
    with application("redis://127.0.0.1:1/0"):
        result = services.send(subscription, "Hello")
    assert str(result.batch) in caplog.text
    assert result.notifications.get().status == "pending"


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
@pytest.mark.django_db(transaction=True)
def test_a_silent_broker_is_contacted_only_once(subscription, use_celery, monkeypatch, caplog, scheme):
    monkeypatch.setattr("django_webpush_kit.outages.CALL_SECONDS", 0.3)
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, application(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}//"):
        results = [services.send(subscription, "Hello") for _ in range(3)]
        assert get_task_backend().find_outage() == "TimeoutError"
    assert caplog.text.count("The broker of the task backend does not answer") == 1
    assert {result.notifications.get().status for result in results} == {"pending"}


@pytest.mark.thorough
def test_a_check_finds_a_project_that_does_not_import_its_app():
    code = "from django_webpush_kit.task_backends import CeleryBackend; print(CeleryBackend().is_app_missing())"
    run = partial(subprocess.run, capture_output=True, text=True, check=True, timeout=60)
    assert run([sys.executable, "-c", code]).stdout.strip() == "True"
    imported = f"from celery import Celery; app = Celery('mysite'); {code}"
    assert run([sys.executable, "-c", imported]).stdout.strip() == "False"


def test_the_app_can_be_named():
    assert CeleryBackend(app="tests.task_backends.celery_app.app").app.main == "tests"


@pytest.mark.thorough
def test_a_thread_uses_the_app_that_the_project_made():
    # Celery's current app belongs to the thread that made it.
    code = (
        "import threading; from django.conf import settings; settings.configure()\n"
        "from celery import Celery; app = Celery('mysite')\n"
        "from django_webpush_kit.task_backends import CeleryBackend\n"
        "thread = threading.Thread(target=lambda: print(CeleryBackend().app.main))\n"
        "thread.start(); thread.join()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "mysite"


def test_options_are_kept():
    backend = CeleryBackend(queue="push", seconds=7, workers=3)
    assert (backend.queue, backend.seconds, backend.workers) == ("push", 7, 3)


@pytest.mark.services
@pytest.mark.parametrize(
    "broker", ["redis://127.0.0.1:6379/15", "amqp://guest:guest@127.0.0.1:5672//"], ids=["redis", "rabbitmq"]
)
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("fake_push_service")
def test_a_real_worker_delivers_what_a_transaction_wrote(
    user, fake_browser, use_celery, push_settings, tmp_path, broker
):
    push_settings(TRANSPORT="auto", TASK_BACKEND={"BACKEND": PATH, "OPTIONS": {"queue": use_celery, "seconds": 20}})
    browser = fake_browser()
    browser.subscribe()
    services.subscribe(user=user, **browser.subscription_fields)
    log_path = tmp_path / "celery.log"
    command = ["celery", "-A", "tests.task_backends.celery_app", "worker", "--pool", "solo", "-Q", use_celery]
    with application(broker) as app:
        with worker_process(*command, log_path=log_path, TEST_BROKER=broker):
            with transaction.atomic():
                services.send(user, "Grüße 🎉", "one")
            wait_for(lambda: get_notification_model().objects.filter(status="sent").exists(), log_path)
        with app.connection_for_write() as connection:
            connection.default_channel.queue_delete(use_celery)
    assert [(shown.title, shown.body) for shown in browser.shown] == [("Grüße 🎉", "one")]

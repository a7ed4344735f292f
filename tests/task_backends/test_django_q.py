"""django-q2: what is put into its broker, its schedules, and a real cluster."""

import pytest
from django.db import transaction

from django_webpush_kit import services, tasks
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.task_backends import DjangoQBackend
from django_webpush_kit.task_backends.base import WAKE_UP_TASK
from django_webpush_kit.testing import outbox
from tests.task_backends.workers import wait_for, worker_process

PATH = "django_webpush_kit.task_backends.DjangoQBackend"


pytest.importorskip("django_q")

from django_q.models import OrmQ, Schedule  # noqa: E402  # django-q2 is optional


@pytest.fixture
def django_q(push_settings):
    push_settings(TASK_BACKEND=PATH)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("django_q")
def test_a_transaction_queues_one_wake_up_without_data(subscription):
    with transaction.atomic():
        services.send(subscription, "Secret")
        services.send(subscription, "Secret")
    (queued,) = OrmQ.objects.all()
    task = queued.task
    assert (task["func"], task["args"], task["kwargs"]) == (WAKE_UP_TASK, (), {})
    assert task["ack_failure"]
    assert "Secret" not in str(task)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("django_q")
def test_a_synchronous_cluster_delivers_after_commit_without_its_broker(subscription, settings, caplog):
    settings.Q_CLUSTER = {"name": "tests", "sync": True, "redis": "redis://127.0.0.1:1/0"}
    with transaction.atomic():
        services.send(subscription, "Hello")
        assert not outbox
    assert [message.title for message in outbox] == ["Hello"]
    assert caplog.text == ""


@pytest.mark.django_db(transaction=True)
def test_the_wake_up_can_go_to_a_cluster_by_name(subscription, push_settings):
    push_settings(TASK_BACKEND={"BACKEND": PATH, "OPTIONS": {"cluster": "push"}})
    services.send(subscription, "Hello")
    (queued,) = OrmQ.objects.all()
    assert (queued.key, queued.task["cluster"]) == ("push", "push")


@pytest.mark.django_db
def test_schedules_are_installed_once_and_corrected():
    names = DjangoQBackend().install_schedules()
    Schedule.objects.update(func="something.else", minutes=7)
    assert DjangoQBackend(cluster="push").install_schedules() == names
    found = {schedule.func: schedule for schedule in Schedule.objects.all()}
    assert {path: schedule.minutes for path, schedule in found.items()} == {
        f"django_webpush_kit.tasks.{tasks.send_scheduled_notifications.__name__}": 1,
        f"django_webpush_kit.tasks.{tasks.cleanup_expired_subscriptions.__name__}": 60,
    }
    assert {schedule.name for schedule in found.values()} == set(names)
    assert {(schedule.repeats, schedule.schedule_type, schedule.cluster) for schedule in found.values()} == {
        (-1, Schedule.MINUTES, "push")
    }


@pytest.mark.parametrize(
    ("cluster", "seconds"),
    [
        ({"timeout": 30, "retry": 120}, 15),
        ({"timeout": None, "retry": 90}, 45),
        ({"timeout": 300}, 30),
        ({}, 30),
    ],
)
def test_a_task_ends_well_before_the_timeout_of_the_cluster(settings, cluster, seconds):
    settings.Q_CLUSTER = cluster
    assert DjangoQBackend().seconds == seconds


def test_a_broadcast_wakes_as_many_workers_as_there_are(settings):
    settings.Q_CLUSTER = {"workers": 3}
    assert DjangoQBackend().workers == 3
    settings.Q_CLUSTER = {}
    assert DjangoQBackend().workers >= 1


def test_checks_find_a_cluster_that_is_missing_or_runs_tasks_twice(settings):
    assert DjangoQBackend().check() == []
    settings.Q_CLUSTER = {"timeout": 60, "retry": 60}
    assert [message.id for message in DjangoQBackend().check()] == ["webpush_kit.W020"]
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    assert [message.id for message in DjangoQBackend().check()] == ["webpush_kit.E020"]


@pytest.mark.thorough
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("django_q", "fake_push_service")
def test_a_real_cluster_delivers_what_a_transaction_wrote(user, fake_browser, push_settings, tmp_path):
    push_settings(TASK_BACKEND=PATH, TRANSPORT="auto")
    browsers = [fake_browser() for _ in range(3)]
    for browser in browsers:
        browser.subscribe()
        services.subscribe(user=user, **browser.subscription_fields)
    log_path = tmp_path / "qcluster.log"
    with worker_process("django", "qcluster", log_path=log_path):
        with transaction.atomic():
            first = services.send(user, "Grüße 🎉", "one")
            second = services.send(user, "Again", "two")
        rows = get_notification_model().objects.filter(batch__in=[first.batch, second.batch])
        wait_for(lambda: rows.filter(status="sent").count() == 6, log_path)
        wait_for(lambda: not OrmQ.objects.exists(), log_path)
    for browser in browsers:
        assert sorted((shown.title, shown.body) for shown in browser.shown) == [("Again", "two"), ("Grüße 🎉", "one")]


@pytest.mark.thorough
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("django_q")
def test_a_wake_up_that_fails_is_not_repeated_for_ever(subscription, push_settings, tmp_path):
    services.send(subscription, "Hello")
    push_settings(VAPID_PRIVATE_KEY="")
    log_path = tmp_path / "qcluster.log"
    with worker_process("django", "qcluster", log_path=log_path):
        wait_for(lambda: not OrmQ.objects.exists(), log_path)
    assert "VAPID_PRIVATE_KEY" in log_path.read_text()
    assert get_notification_model().objects.get().status == "pending"

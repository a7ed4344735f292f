"""Workers write who they are and when they were last seen; health reads it."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils import timezone

from django_webpush_kit import tasks
from django_webpush_kit.database import clock_difference, database_now
from django_webpush_kit.delivery import heartbeats
from django_webpush_kit.delivery.heartbeats import (
    Heartbeat,
    beating,
    note_death,
    note_progress,
    process_name,
    seen_workers,
    task_heartbeat,
    worker_heartbeat,
)
from django_webpush_kit.delivery.manual_pause import pause
from django_webpush_kit.health import get_health
from django_webpush_kit.models import PushBroadcast, WorkerHeartbeat, get_notification_model
from django_webpush_kit.services import send
from django_webpush_kit.task_backends.base import QueueBackend
from tests.factories import make_notification, make_template

BACKENDS = "django_webpush_kit.task_backends"
CELERY_LIKE = "tests.delivery.test_heartbeats.Queue"


@pytest.fixture(autouse=True)
def _no_heartbeat_of_another_test():
    yield
    heartbeats._of_tasks.clear()


def make_row(seen=0.0, **fields):
    """A heartbeat that was written `seen` seconds ago."""
    now = database_now(clock_difference()) - timedelta(seconds=seen)
    given = {"name": f"web1:{WorkerHeartbeat.objects.count()}", "is_loop": True, "started_at": now, "seen_at": now}
    return WorkerHeartbeat.objects.create(**{**given, **fields})


class TestWorkers:
    pytestmark = pytest.mark.django_db(transaction=True)

    def test_a_loop_records_its_process_progress_and_end(self, subscription):
        for number in range(3):
            send(subscription, f"Number {number}")
        call_command("deliver_push", "--loop", "--limit", "3", stdout=StringIO())
        row = WorkerHeartbeat.objects.get()
        assert (row.name, row.command, row.is_loop, row.rows) == (process_name(), "deliver_push --loop", True, 3)
        assert (row.ending, row.ended_at is None, row.per_minute > 0) == ("finished", False, True)
        assert row.started_at <= row.seen_at == row.swept_at == row.ended_at
        assert row.version

    def test_runs_from_cron_share_one_row(self, subscription):
        call_command("deliver_push", stdout=StringIO())
        send(subscription, "Hello")
        call_command("deliver_push", stdout=StringIO())
        row = WorkerHeartbeat.objects.get()
        assert (row.name.endswith(":once"), row.is_loop, row.rows, row.ending) == (True, False, 1, "finished")
        assert row.started_at <= row.swept_at <= row.ended_at, "cron is a scheduler, too"

    def test_calls_of_one_command_keep_the_start_of_the_first_one(self):
        call_command("deliver_push", stdout=StringIO())
        row = WorkerHeartbeat.objects.get()
        earlier = row.started_at - timedelta(seconds=60)
        WorkerHeartbeat.objects.update(started_at=earlier)
        call_command("deliver_push", stdout=StringIO())
        assert WorkerHeartbeat.objects.get().started_at == earlier
        with worker_heartbeat("another command", is_loop=False):
            assert WorkerHeartbeat.objects.get().started_at > earlier

    def test_an_exception_is_recorded_as_its_end(self):
        with pytest.raises(KeyError), worker_heartbeat("deliver_push", is_loop=True):
            raise KeyError
        assert WorkerHeartbeat.objects.get().ending == "failed: KeyError"

    def test_a_signal_is_recorded_as_its_end(self, subscription):
        send(subscription, "Hello")
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        call_command("deliver_push", "--loop", stdout=StringIO())
        timer.join()
        assert WorkerHeartbeat.objects.get().ending == "stopped by a signal"

    def test_a_killed_process_is_marked_dead_by_its_replacement(self, tmp_path):
        """Two processes of a real command; one is killed."""
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TEST_DATABASE_NAME": connection.settings_dict["NAME"],
        }
        command = [sys.executable, "-m", "django", "deliver_push", "--loop", "--processes", "2", "--seconds", "60"]
        with (tmp_path / "log").open("w") as log:
            parent = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            try:
                wait_until(lambda: WorkerHeartbeat.objects.count() == 2)
                victim = WorkerHeartbeat.objects.order_by("pk").first()
                os.kill(int(victim.name.rpartition(":")[2]), signal.SIGKILL)
                wait_until(lambda: WorkerHeartbeat.objects.filter(ending="killed by signal 9").exists())
                wait_until(lambda: WorkerHeartbeat.objects.count() == 3)
            finally:
                parent.terminate()
                parent.wait(30)
        endings = WorkerHeartbeat.objects.order_by("pk").values_list("ending", flat=True)
        assert sorted(endings) == ["killed by signal 9", "stopped by a signal", "stopped by a signal"]
        assert WorkerHeartbeat.objects.get(ending="killed by signal 9").pk == victim.pk

    def test_a_missing_table_stops_no_delivery_and_is_logged_once(self, subscription, caplog):
        send(subscription, "Hello")
        with missing_table():
            call_command("deliver_push", "--loop", "--limit", "1", "--seconds", "10", stdout=StringIO())
            assert tasks.wake_up() == {}
            note_death(1, "killed")
        assert get_notification_model().objects.get().status == "sent"
        logged = [record.message.partition(":")[0] for record in caplog.records if record.name == heartbeats.__name__]
        assert logged == ["The heartbeat of this worker could not be written"] * 2 + [
            "The end of a worker process could not be written"
        ]

    def test_health_reports_the_missing_table(self):
        with missing_table():
            health = get_health(details=True)
        assert health["status"] == "degraded"
        assert health["problems"] == ["The heartbeats of the workers cannot be read. Run `manage.py migrate`."]

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="fills the disk of SQLite")
    def test_health_notices_a_full_disk_by_the_missing_heartbeats(self, subscription, push_settings):
        """The workers cannot write, which is all that anybody can see from outside."""
        make_notification(subscription, "pending", next_attempt_at=timezone.now() - timedelta(seconds=10))
        make_row(seen=301)
        heartbeat = Heartbeat("deliver_push --loop", is_loop=True, name="x" * 200)
        execute("VACUUM")
        execute(f"PRAGMA max_page_count = {execute('PRAGMA page_count')[0]}")
        try:
            with pytest.raises(OperationalError, match="full"):
                fill_table()
            heartbeat.note()
            health = get_health(details=True)
        finally:
            execute("PRAGMA max_page_count = 1073741823")
        assert not WorkerHeartbeat.objects.filter(name=heartbeat.name).exists()
        assert (health["status"], health["findings"][0]["area"]) == ("unhealthy", "workers")
        assert "is the disk of the database full?" in health["findings"][0]["fix"]


@contextmanager
def missing_table():
    """The table of heartbeats is away."""
    execute("ALTER TABLE webpush_kit_workerheartbeat RENAME TO webpush_kit_away")
    try:
        yield
    finally:
        execute("ALTER TABLE webpush_kit_away RENAME TO webpush_kit_workerheartbeat")


def execute(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone() if cursor.description else None


def fill_table():
    for number in range(500):
        make_row(seen=301, name=f"{number:0200}")


def wait_until(is_true, seconds=30):
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.django_db
class TestHeartbeat:
    def test_it_is_written_every_ten_seconds_at_most(self, django_assert_num_queries):
        heartbeat = Heartbeat("deliver_push --loop", is_loop=True)
        heartbeat.note()
        with django_assert_num_queries(0), beating(heartbeat):
            for _ in range(1000):
                note_progress(5)
        heartbeat._write_at = heartbeat._rate_since = time.monotonic() - heartbeats.BEAT_SECONDS
        heartbeat.note(20)
        row = WorkerHeartbeat.objects.get()
        assert row.rows == 5020
        assert row.per_minute == pytest.approx(5020 * 6, rel=0.01)

    def test_progress_without_a_heartbeat_is_ignored(self):
        note_progress(5)
        assert not WorkerHeartbeat.objects.exists()

    def test_tasks_of_a_process_share_one_heartbeat(self, push_settings, subscription):
        push_settings(TASK_BACKEND=CELERY_LIKE)
        send(subscription, "Hello")
        tasks.wake_up()
        tasks.wake_up()
        row = WorkerHeartbeat.objects.get()
        assert (row.command, row.is_loop, row.swept_at, row.ended_at) == ("Queue", False, None, None)
        heartbeats._of_tasks.clear()
        tasks.send_scheduled_notifications()
        row.refresh_from_db()
        assert row.swept_at == row.seen_at

    def test_each_tenant_has_its_own_heartbeat(self, push_settings):
        push_settings(SCOPE="shop")
        one = task_heartbeat("Queue")
        assert task_heartbeat("Queue") is one
        push_settings(SCOPE="office")
        assert task_heartbeat("Queue") is not one

    def test_two_threads_never_write_it_at_once(self, django_assert_num_queries):
        heartbeat = Heartbeat("Queue", is_loop=False)
        with heartbeat._lock, django_assert_num_queries(0):
            heartbeat.note(5)

    def test_a_starting_process_removes_old_heartbeats(self, monkeypatch):
        monkeypatch.setattr(heartbeats, "MAX_ROWS", 3)
        make_row(seen=25 * 3600, name="old")
        for number in range(4):
            make_row(seen=60 * number, name=f"other{number}")
        heartbeat = Heartbeat("deliver_push --loop", is_loop=True, name="new")
        heartbeat.note()
        assert set(WorkerHeartbeat.objects.values_list("name", flat=True)) == {"new", "other0", "other1"}

    @pytest.mark.parametrize("hours", [-5, 5])
    def test_a_wrong_clock_of_a_worker_does_not_matter(self, time_machine, hours):
        time_machine.move_to(timezone.now() + timedelta(hours=hours))
        Heartbeat("deliver_push --loop", is_loop=True).note()
        time_machine.move_to(timezone.now() - timedelta(hours=hours))
        (worker,) = seen_workers(clock_difference())
        assert worker.seen_seconds < 60
        assert worker.row.clock_difference == pytest.approx(hours * 3600, abs=60)

    def test_a_heartbeat_from_the_future_does_not_count(self):
        make_row(seen=-3600)
        (worker,) = seen_workers(clock_difference())
        assert worker.seen_seconds > 3500

    @pytest.mark.parametrize(
        ("fields", "state"),
        [
            ({"seen": 5}, "running"),
            ({"seen": 100}, "silent"),
            ({"seen": 60, "is_loop": False}, "running"),
            ({"seen": 100, "is_loop": False}, "idle"),
            ({"seen": 5, "ended_at": timezone.now()}, "ended"),
        ],
    )
    def test_states(self, fields, state):
        assert str(make_row(**fields)) == "web1:0"
        assert [worker.state for worker in seen_workers(clock_difference())] == [state]


@pytest.mark.django_db
class TestHealth:
    def status_and_areas(self):
        health = get_health(details=True)
        return health["status"], [finding["area"] for finding in health["findings"]]

    def make_due(self, subscription, seconds=10):
        return make_notification(
            subscription, "pending", next_attempt_at=timezone.now() - timedelta(seconds=seconds), lane=0
        )

    def test_a_recent_heartbeat_is_healthy(self, subscription):
        make_row(seen=5)
        self.make_due(subscription)
        assert self.status_and_areas() == ("healthy", [])

    def test_missing_workers_are_reported_once_rows_are_due(self, subscription):
        make_row(seen=301)
        assert self.status_and_areas() == ("degraded", ["workers"])
        self.make_due(subscription, seconds=0)
        assert self.status_and_areas() == ("degraded", ["workers"])
        self.make_due(subscription)
        health = get_health(details=True)
        assert self.status_and_areas() == ("unhealthy", ["workers"])
        assert re.match(r"No worker has been seen for 3\d\d s, and notifications are due\.", health["problems"][0])
        self.make_due(subscription, seconds=400)
        assert self.status_and_areas() == ("unhealthy", ["workers"]), "one cause, one finding"

    def test_the_time_limit_is_a_setting(self, subscription, push_settings):
        push_settings(HEALTH_MAX_LAG_SECONDS=3600)
        make_row(seen=301)
        self.make_due(subscription)
        assert self.status_and_areas() == ("healthy", [])

    def test_a_manual_run_is_not_missed_until_rows_are_due(self, subscription):
        make_row(seen=1000, is_loop=False, ended_at=timezone.now())
        assert self.status_and_areas() == ("healthy", [])
        self.make_due(subscription)
        assert self.status_and_areas() == ("unhealthy", ["workers"])

    def test_slow_workers_are_distinguished_from_missing_ones(self, subscription):
        make_row(seen=5)
        self.make_due(subscription, seconds=310)
        (finding,) = get_health(details=True)["findings"]
        assert finding["area"] == "lag"
        assert re.match(r"A worker was seen \d+ s ago: read its log", finding["fix"])

    def test_a_silent_scheduler_is_reported(self, push_settings):
        push_settings(TASK_BACKEND=CELERY_LIKE)
        now = database_now(clock_difference())
        assert self.status_and_areas() == ("healthy", []), "nothing is known"
        row = make_row(is_loop=False, started_at=now - timedelta(hours=1))
        assert self.status_and_areas() == ("degraded", ["scheduler"])
        WorkerHeartbeat.objects.filter(pk=row.pk).update(swept_at=now - timedelta(seconds=30))
        assert self.status_and_areas() == ("healthy", [])
        WorkerHeartbeat.objects.filter(pk=row.pk).update(swept_at=now - timedelta(seconds=310))
        health = get_health(details=True)
        assert health["problems"][0].startswith("The scheduler has not started a sweep for 310 s")
        push_settings(TASK_BACKEND="django_webpush_kit.task_backends.NullBackend")
        assert self.status_and_areas() == ("healthy", [])

    def test_a_scheduler_has_time_after_the_start_of_the_workers(self, push_settings):
        push_settings(TASK_BACKEND=CELERY_LIKE)
        now = database_now(clock_difference())
        before = now - timedelta(seconds=600)
        make_row(seen=593, is_loop=False, started_at=before - timedelta(hours=1), swept_at=before)
        make_row(is_loop=False, started_at=now - timedelta(seconds=18))
        assert self.status_and_areas() == ("healthy", [])
        WorkerHeartbeat.objects.filter(name="web1:1").update(started_at=now - timedelta(seconds=320))
        assert get_health(details=True)["problems"][0].startswith("The scheduler has not started a sweep for 320 s")

    @pytest.mark.parametrize(("seconds", "status"), [(-5.0, "degraded"), (60.0, "unhealthy"), (1.0, "healthy")])
    def test_a_wrong_clock_of_a_worker_is_reported(self, seconds, status):
        make_row(seen=5, clock_difference=seconds)
        make_row(seen=5000, clock_difference=999)
        make_row(seen=5, clock_difference=999, ended_at=timezone.now())
        health = get_health(details=True)
        assert health["status"] == status
        assert all("The clock of the worker web1:0 is" in text for text in health["problems"])

    def test_no_worker_is_missed_while_all_sending_is_paused(self, subscription):
        make_row(seen=301)
        self.make_due(subscription)
        pause()
        assert self.status_and_areas() == ("degraded", ["services", "workers"])
        assert not PushBroadcast.objects.exists()
        assert get_notification_model().objects.count() == 1


class Queue(QueueBackend):
    """A queue that is never woken."""

    def enqueue(self):
        pass


@pytest.mark.django_db
class TestNoWorker:
    """Notifications are due, and nobody will deliver them: health says so after half a minute."""

    @pytest.fixture(autouse=True)
    def _default_backend(self, push_settings):
        push_settings(TASK_BACKEND=f"{BACKENDS}.ImmediateBackend", STATISTICS_CACHE_SECONDS=0)

    def make_due(self, subscription, seconds):
        moment = timezone.now() - timedelta(seconds=seconds)
        return make_notification(subscription, "pending", next_attempt_at=moment)

    def status_and_areas(self):
        health = get_health(details=True)
        return health["status"], [finding["area"] for finding in health["findings"]]

    def test_a_site_whose_worker_was_never_started_is_told_how(self, subscription):
        self.make_due(subscription, 20)
        assert self.status_and_areas() == ("healthy", [])
        self.make_due(subscription, 40)
        [finding] = get_health(details=True)["findings"]
        assert (finding["level"], finding["area"]) == ("unhealthy", "workers")
        assert re.fullmatch(r"2 notifications are due, the oldest for 4\d s, and no worker runs\.", finding["text"])
        assert "python manage.py deliver_push --loop" in finding["fix"]

    def test_one_is_counted_as_one(self, subscription):
        self.make_due(subscription, 40)
        [finding] = get_health(details=True)["findings"]
        assert re.fullmatch(r"1 notification has been due for 4\d s, and no worker runs\.", finding["text"])

    def test_what_is_late_for_long_is_one_finding(self, subscription):
        self.make_due(subscription, 1000)
        assert self.status_and_areas() == ("unhealthy", ["workers"])

    def test_a_worker_that_ended_may_be_restarting(self, subscription):
        make_row(seen=20, ended_at=timezone.now())
        self.make_due(subscription, 40)
        assert self.status_and_areas() == ("degraded", ["workers"])
        self.make_due(subscription, 310)
        assert self.status_and_areas() == ("unhealthy", ["workers"])

    @pytest.mark.parametrize(("seen", "status"), [(60, "healthy"), (120, "degraded")])
    def test_a_loop_that_was_killed_is_missed_when_it_is_silent(self, subscription, seen, status):
        make_row(seen=seen)
        self.make_due(subscription, 40)
        assert get_health()["status"] == status

    @pytest.mark.parametrize(("seen", "status"), [(59, "healthy"), (80, "degraded"), (200, "degraded")])
    @pytest.mark.parametrize("is_queue", [False, True])
    def test_cron_and_queues_are_missed_if_they_should_have_come_since_the_row_was_due(
        self, subscription, seen, status, is_queue
    ):
        now = database_now(clock_difference())
        ended_at = None if is_queue else now - timedelta(seconds=seen)
        make_row(seen=seen, is_loop=False, ended_at=ended_at, started_at=now - timedelta(seconds=600))
        self.make_due(subscription, 40)
        health = get_health(details=True)
        assert health["status"] == status
        if status == "degraded":
            text = rf"1 notification has been due for 4\d s; the last worker was seen {seen} s ago\. Start one: .*"
            assert re.fullmatch(text, health["problems"][0])

    @pytest.mark.parametrize(("seen", "status"), [(125, "healthy"), (160, "degraded")])
    def test_one_that_came_since_the_row_was_due_is_missed_after_two_calls(self, subscription, seen, status):
        make_row(seen=seen, is_loop=False)
        self.make_due(subscription, 200)
        assert get_health()["status"] == status

    def test_a_single_call_is_not_expected_back(self, subscription):
        make_row(seen=45, is_loop=False, ended_at=timezone.now())
        self.make_due(subscription, 40)
        [problem] = get_health(details=True)["problems"]
        assert "; the last worker was seen 45 s ago. Start one: " in problem

    def test_cron_may_be_as_rare_as_the_setting_allows(self, subscription, push_settings):
        push_settings(HEALTH_MAX_LAG_SECONDS=3600)
        hours_ago = database_now(clock_difference()) - timedelta(hours=3)
        make_row(seen=1000, is_loop=False, ended_at=timezone.now(), started_at=hours_ago)
        self.make_due(subscription, 900)
        assert self.status_and_areas() == ("healthy", [])

    def test_a_worker_with_a_backlog_is_no_missing_one(self, subscription):
        make_row(seen=9)
        self.make_due(subscription, 200)
        assert self.status_and_areas() == ("healthy", [])

    def test_a_worker_that_was_tried_once_is_not_missed_while_requests_deliver(self, subscription, push_settings):
        make_row(seen=1039)
        assert self.status_and_areas() == ("healthy", [])
        self.make_due(subscription, 10)
        [problem] = get_health(details=True)["problems"]
        assert "Start one: `python manage.py deliver_push --loop`" in problem
        assert problem.index("Start one") < problem.index("the disk of the database")
        get_notification_model().objects.all().delete()
        push_settings(TASK_BACKEND=f"{BACKENDS}.NullBackend")
        assert self.status_and_areas() == ("degraded", ["workers"])

    def test_requests_that_deliver_are_no_worker(self, subscription):
        self.make_due(subscription, 40)
        make_notification(subscription)
        assert self.status_and_areas() == ("unhealthy", ["workers"])

    def test_a_process_without_a_heartbeat_that_delivers_is_one(self, subscription, push_settings):
        push_settings(TASK_BACKEND=f"{BACKENDS}.NullBackend")
        self.make_due(subscription, 40)
        make_notification(subscription, days_ago=50 / 86400)
        assert self.status_and_areas() == ("unhealthy", ["workers"])
        make_notification(subscription, days_ago=10 / 86400)
        assert self.status_and_areas() == ("healthy", [])

    def test_rows_that_wait_for_a_push_service_are_not_due(self, subscription, push_outbox):
        pause(subscription.push_service)
        self.make_due(subscription, 40)
        call_command("deliver_push", verbosity=0)
        WorkerHeartbeat.objects.all().delete()
        assert not push_outbox
        assert [area for area in self.status_and_areas()[1] if area != "services"] == []

    @pytest.mark.parametrize(
        ("backend", "command"),
        [
            (f"{BACKENDS}.DjangoQBackend", "python manage.py qcluster"),
            (f"{BACKENDS}.CeleryBackend", "celery -A PROJECT worker"),
            (f"{BACKENDS}.NullBackend", "deliver_push --loop"),
            (CELERY_LIKE, "send_scheduled_notifications every minute"),
            ("tests.nowhere.Backend", "deliver_push --loop"),
        ],
    )
    def test_the_queue_says_how_its_workers_are_started(self, subscription, push_settings, backend, command):
        if "Celery" in backend:
            pytest.importorskip("celery")
        if "DjangoQ" in backend:
            pytest.importorskip("django_q")
        push_settings(TASK_BACKEND=backend)
        self.make_due(subscription, 40)
        assert command in get_health(details=True)["findings"][0]["fix"]

    @pytest.mark.django_db(transaction=True)
    def test_a_command_that_delivers_a_broadcast_is_a_worker(self, subscription):
        make_template("news", title_template="News")
        call_command("push_broadcast", "news", "--deliver", verbosity=0)
        self.make_due(subscription, 40)
        assert WorkerHeartbeat.objects.get().command == "push_broadcast --deliver"
        assert self.status_and_areas() == ("healthy", [])

"""`deliver_push --loop --processes N` as a real tree of processes, on the database of the test, over real HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from django.db import connection

from django_webpush_kit import services
from django_webpush_kit.conf import kit_settings, vapid_keyring
from django_webpush_kit.delivery import processes
from django_webpush_kit.delivery.processes import WorkerProcesses
from django_webpush_kit.models import get_notification_model, get_subscription_model
from django_webpush_kit.testing import FakeBrowser, FakePushService
from django_webpush_kit.testing.fake_push_service import Fault
from tests.commands.process_tree import children, is_running
from tests.push_settings import changed_push_settings

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc"),
]

SECONDS = 90
"""A busy machine needs so long for what takes one second on an idle one."""


@pytest.fixture
def push_service(push_settings):
    with FakePushService() as service:
        yield service


@pytest.fixture
def browsers(push_service, push_settings, user):
    push_settings(ALLOW_PRIVATE_ENDPOINTS=True)
    made = [FakeBrowser(push_service, vapid_keyring().current.public_key) for _ in range(10)]
    for browser in made:
        browser.subscribe()
        services.subscribe(user=user, **browser.subscription_fields)
    return made


@contextmanager
def workers(tmp_path, number, **kit):
    """The command with so many processes; yields the parent. Nothing of it is left afterwards."""
    code = (
        "import json, os, sys; from django.conf import settings; "
        "settings.WEBPUSH_KIT.update(json.loads(os.environ['KIT'])); "
        "import django; django.setup(); from django.core.management import call_command; "
        "call_command('deliver_push', '--loop', '--processes', sys.argv[1])"
    )
    given = {
        **changed_push_settings(),
        "VAPID_PRIVATE_KEY": kit_settings.VAPID_PRIVATE_KEY,
        "TRANSPORT": "django_webpush_kit.transports.PyWebPushTransport",
        **kit,
    }
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "tests.settings"),
        "TEST_DATABASE_NAME": str(connection.settings_dict["NAME"]),
        "KIT": json.dumps(given),
    }
    with (tmp_path / "log").open("w") as log:
        parent = subprocess.Popen([sys.executable, "-c", code, str(number)], env=environment, stdout=log, stderr=log)
        seen = set()
        try:
            wait_until(lambda: len(children(parent)) == number, tmp_path)
            yield parent, seen
        finally:
            seen |= children(parent) if parent.poll() is None else set()
            for process_id in (parent.pid, *seen):
                with suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGKILL)
            parent.wait(SECONDS)


@pytest.mark.thorough
def test_no_row_is_lost_while_processes_are_killed_again_and_again(browsers, user, tmp_path, push_service):
    push_service.script(None, Fault(status=None, delay=0.05, times=None))
    with workers(tmp_path, 2, LEASE_SECONDS=2, CHUNK_SIZE=5) as (parent, seen):
        for number in range(6):
            queue(user, 2)
            before = sent()
            wait_until(lambda before=before: sent() > before and len(children(parent)) > 0, tmp_path)
            seen |= children(parent)
            os.kill(sorted(children(parent))[number % len(children(parent))], signal.SIGKILL)
        wait_until(lambda: statuses() == {"sent": 120}, tmp_path)
        assert parent.poll() is None
    received = Counter(payload["id"] for browser in browsers for payload in browser.received)
    assert len(received) == 120


def test_one_signal_to_the_whole_group_lets_each_finish_what_it_has_in_flight(browsers, user, tmp_path, push_service):
    """As systemd stops a service: the parent and its processes get SIGTERM, and the parent passes it on as well."""
    push_service.script(None, Fault(status=None, delay=1.0, times=None))
    with workers(tmp_path, 2, CHUNK_SIZE=5) as (parent, seen):
        queue(user, 20)
        wait_until(lambda: len(push_service.requests) >= 5, tmp_path)
        group = children(parent)
        seen |= group
        for process_id in (*group, parent.pid):
            os.kill(process_id, signal.SIGTERM)
        assert parent.wait(SECONDS) == 0
        assert not any(map(is_running, group))
    found = statuses()
    assert set(found) <= {"sent", "pending"}
    assert found["sent"] == len(push_service.requests) == sum(len(browser.received) for browser in browsers)


def test_a_second_signal_to_the_parent_ends_all_at_once(browsers, user, tmp_path, push_service):
    push_service.script(None, Fault(status=None, delay=60.0, times=None))
    with workers(tmp_path, 2, CHUNK_SIZE=5) as (parent, seen):
        queue(user, 1)
        wait_until(lambda: len(push_service.requests) >= 5, tmp_path)
        group = children(parent)
        seen |= group
        parent.terminate()
        time.sleep(3 * processes.LOOK_SECONDS)
        assert parent.poll() is None  # they wait for their requests
        parent.terminate()
        parent.wait(SECONDS)
        wait_until(lambda: not any(map(is_running, group)), tmp_path)
    assert statuses()["sending"] >= 5


def test_processes_whose_parent_was_killed_end_amid_their_work(browsers, user, tmp_path, push_service):
    """They end after the chunk in flight, long before the backlog does."""
    push_service.script(None, Fault(status=None, delay=0.2, times=None))
    with workers(tmp_path, 2, CHUNK_SIZE=5) as (parent, seen):
        queue(user, 200)
        wait_until(lambda: len(push_service.requests) >= 5, tmp_path)
        group = children(parent)
        seen |= group
        parent.kill()
        parent.wait(SECONDS)
        wait_until(lambda: not any(map(is_running, group)), tmp_path)
    assert statuses()["pending"] > 0
    assert "sending" not in statuses()


class Deaths:
    """A clock that only sleeping moves, and processes that end when they are told to."""

    def __init__(self, monkeypatch, lives):
        self.now = 1000.0
        self.starts = []
        self._lives = iter(lives)
        self._ends = {}
        monkeypatch.setattr(processes.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(processes.time, "sleep", self._sleep)
        monkeypatch.setattr(processes.os, "fork", self._fork)
        monkeypatch.setattr(processes.os, "waitpid", self._wait)

    def _sleep(self, seconds):
        self.now += seconds

    def _fork(self):
        self.starts.append(self.now)
        number = len(self.starts)
        self._ends[number] = self.now + next(self._lives, float("-inf"))
        return number

    def _wait(self, process_id, options):
        end = self._ends[process_id]
        if end == float("-inf"):
            return process_id, 0  # it has nothing more to do
        return (process_id, 1 << 8) if self.now >= end else (0, 0)

    @property
    def waits(self):
        return [round(later - earlier) for earlier, later in zip(self.starts, self.starts[1:], strict=False)]


def test_the_waits_of_a_process_that_dies_at_its_start_double_up_to_a_bound(monkeypatch, caplog):
    deaths = Deaths(monkeypatch, [0.0] * 9)
    WorkerProcesses(1, lambda: None, lambda process_id, how: None).run()
    assert deaths.waits == [1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert len(caplog.records) == 9


def test_a_process_that_lived_is_replaced_at_once_and_the_waits_begin_anew(monkeypatch):
    deaths = Deaths(monkeypatch, [0.0, 0.0, 0.0, 3600.0, 0.0, 0.0])
    WorkerProcesses(1, lambda: None, lambda process_id, how: None).run()
    assert deaths.waits == [1, 2, 4, 3600, 1, 2]


def test_one_that_dies_at_its_start_delays_no_other(monkeypatch):
    deaths = Deaths(monkeypatch, [0.0, 20.0, 0.0, 0.0, 0.0])
    WorkerProcesses(2, lambda: None, lambda process_id, how: None).run()
    assert [round(start - 1000) for start in deaths.starts] == [0, 0, 1, 3, 7, 15, 20]


def test_a_signal_while_a_place_is_empty_ends_the_command(tmp_path):
    """The only process died, and its successor is not started any more."""
    code = """if True:
        import os, signal, sys
        from django.conf import settings
        from django_webpush_kit.delivery import processes
        settings.configure()
        processes.RESTART_SECONDS = 3600.0
        processes.MAX_RESTART_SECONDS = 3600.0
        pool = processes.WorkerProcesses(1, lambda: sys.exit(3), lambda process_id, how: None)
        place, = pool._places
        look_after = pool._look_after
        def look(place):
            look_after(place)
            if place.predecessor:
                os.kill(os.getpid(), signal.SIGTERM)
        pool._look_after = look
        pool.run()
        print("ended")
    """
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert done.stdout == "ended\n"


def queue(user, rounds):
    for _ in range(rounds):
        services.send(get_subscription_model().objects.filter(user=user), "Hello")


def statuses():
    return Counter(get_notification_model().objects.values_list("status", flat=True))


def sent():
    return get_notification_model().objects.filter(status="sent").count()


def wait_until(condition, tmp_path):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, (tmp_path / "log").read_text()[-3000:]
        time.sleep(0.05)

"""The task backends of "Choose a queue", as the page writes them, each with real workers of its library."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.host_project import BLOCK, free_port
from tests.hosts.host import Host, Visitor, goes_the_whole_way, wait_until
from tests.hosts.test_databases import POSTGRESQL
from tests.hosts.test_queues import SQLITE, beside

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "queues.md"
PATIENCE_SECONDS = 180  # the schedules run once a minute
APP = 'INSTALLED_APPS += ["shop"]\n'

LOST_WAKE_UP = """
from django.conf import settings
from django.contrib.auth import get_user_model
from django_webpush_kit.services import send
settings.WEBPUSH_KIT["TASK_BACKEND"] = "django_webpush_kit.task_backends.NullBackend"
print(send(get_user_model().objects.get(), "Later").queued)
"""

EXPIRE = """
from datetime import timedelta
from django.utils import timezone
from django_webpush_kit.models import PushSubscription
PushSubscription.objects.update(expiration_time=timezone.now() - timedelta(days=1))
"""

COUNT_ACTIVE = """
from django_webpush_kit.models import PushSubscription
print(PushSubscription.objects.filter(is_active=True).count())
"""

DONE_BY_PROCRASTINATE = """
from procrastinate.contrib.django.models import ProcrastinateJob
print(ProcrastinateJob.objects.filter(task_name="shop.tasks.push_wake_up", status="succeeded").exists())
"""


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis server that nobody else uses."""
    port = free_port()
    folder = tmp_path_factory.mktemp("redis")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([shutil.which("redis-server") or "redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: is_open(port), "Redis")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(20)


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class PageHost(Host):
    """A project to which one section of the page has been done; `processes` are its worker and its scheduler."""

    def __init__(self, folder: Path, heading: str, database: str = SQLITE, redis_url: str = "") -> None:
        super().__init__(folder, settings=APP + database, files={"shop/__init__.py": ""})
        section = re.search(rf"^### {heading}\n(.*?)(?=^##)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        assert section, heading
        self.processes: list[list[str]] = []
        for language, code in BLOCK.findall(section[1]):
            if language == "sh":
                self.processes += [found for line in code.splitlines() if (found := long_running(line))]
            else:
                self.do(language, code.replace("redis://127.0.0.1:6379/0", redis_url))
        self.set_up()

    def titles(self, visitor: Visitor) -> list[str]:
        return [payload["notification"]["title"] for payload in visitor.browser.received]


def long_running(line: str) -> list[str]:
    """The arguments for Python of a line of a shell, if it starts a process that goes on; `set_up` does the others."""
    match line.split():
        case ["pip", *_] | ["python", "manage.py", "migrate"]:
            return []
        case ["python", *arguments]:
            return arguments
        case ["DJANGO_SETTINGS_MODULE=mysite.settings", command, *arguments]:
            return [str(Path(sys.executable).parent / command), *arguments]
    raise AssertionError(line)


@contextmanager
def logged_on_failure(host: Host) -> Iterator[None]:
    try:
        yield
    except BaseException:
        sys.stderr.write(host.log.read_text(errors="replace")[-6000:])
        raise


def delivers_by_wake_up_and_by_schedule(
    host: PageHost, push_service, *, worker: list[str], cleanup: str, proof: str = ""
) -> None:
    """`worker` runs no schedule, or `proof` is code that prints True once a wake-up has been worked off."""
    with logged_on_failure(host), host.served() as origin:
        with beside(host, worker):
            visitor = goes_the_whole_way(origin, push_service)
            if proof:
                wait_until(lambda: host.shell(proof).strip() == "True", "the wake-up to be done")
        assert host.shell(LOST_WAKE_UP).strip() == "1"
        with beside(host, *host.processes):
            wait_until(lambda: "Later" in host.titles(visitor), "the schedule", PATIENCE_SECONDS)
            assert host.shell(COUNT_ACTIVE).strip() == "1"
            host.shell(EXPIRE)
            host.shell(cleanup)
            wait_until(lambda: host.shell(COUNT_ACTIVE).strip() == "0", "the cleanup", PATIENCE_SECONDS)
    assert sorted(host.titles(visitor)) == ["Later", "Order 1"]


def test_huey(tmp_path, push_service, redis_url):
    host = PageHost(tmp_path, "huey", redis_url=redis_url)
    (consumer,) = host.processes
    cleanup = "from shop.tasks import push_cleanup; push_cleanup()"
    delivers_by_wake_up_and_by_schedule(host, push_service, worker=[*consumer, "--no-periodic"], cleanup=cleanup)


def test_rq(tmp_path, push_service, redis_url):
    host = PageHost(tmp_path, "RQ", redis_url=redis_url)
    worker, _scheduler = host.processes
    cleanup = "import django_rq; django_rq.enqueue('django_webpush_kit.tasks.cleanup_expired_subscriptions')"
    delivers_by_wake_up_and_by_schedule(host, push_service, worker=worker, cleanup=cleanup)


def test_dramatiq(tmp_path, push_service, redis_url):
    host = PageHost(tmp_path, "Dramatiq", redis_url=redis_url)
    worker, _scheduler = host.processes
    cleanup = "from shop.tasks import push_cleanup; push_cleanup.send()"
    delivers_by_wake_up_and_by_schedule(host, push_service, worker=worker, cleanup=cleanup)


def test_procrastinate(tmp_path, push_service, postgresql):
    host = PageHost(tmp_path, "Procrastinate", POSTGRESQL.format(name=postgresql, port=5432))
    (worker,) = host.processes
    cleanup = "from shop.tasks import push_cleanup; push_cleanup.defer(timestamp=0)"
    delivers_by_wake_up_and_by_schedule(host, push_service, worker=worker, cleanup=cleanup, proof=DONE_BY_PROCRASTINATE)

"""Each queue with workers of its own kind delivers what a view has sent."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.hosts.host import Host, goes_the_whole_way, module, wait_until

CELERY_APP = """
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
app = Celery("mysite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""

CELERY = """
INSTALLED_APPS += ["django_celery_beat"]
CELERY_BROKER_URL = "{broker}"
CELERY_TASK_DEFAULT_QUEUE = "{queue}"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_SCHEDULE = {{
    "webpush-kit-sweep": {{"task": "send_scheduled_notifications", "schedule": 2.0}},
}}
WEBPUSH_KIT["TASK_BACKEND"] = "django_webpush_kit.task_backends.CeleryBackend"
"""

SQLITE = """
DATABASES["default"]["OPTIONS"] = {
    "transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL",
}
"""

DJANGO_Q = """
INSTALLED_APPS += ["django_q"]
Q_CLUSTER = {{"name": "{queue}", "timeout": 60, "retry": 300, "poll": 0.2, "workers": 1, {broker}}}
WEBPUSH_KIT["TASK_BACKEND"] = "django_webpush_kit.task_backends.DjangoQBackend"
"""

DJANGO_TASKS = """
INSTALLED_APPS += ["django_tasks_db"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
WEBPUSH_KIT["TASK_BACKEND"] = "django_webpush_kit.task_backends.DjangoTasksBackend"
"""

SCHEDULE = """
from datetime import timedelta
from django.contrib.auth import get_user_model
from django.utils import timezone
from django_webpush_kit.services import send
send(get_user_model().objects.get(), "Later", scheduled_for=timezone.now() + timedelta(seconds=2))
"""


def celery_host(folder: Path, broker: str) -> Host:
    settings = SQLITE + CELERY.format(broker=broker, queue=f"webpush-{secrets.token_hex(4)}")
    host = Host(
        folder,
        settings=settings,
        files={"mysite/celery.py": CELERY_APP, "mysite/__init__.py": "from mysite.celery import app as celery_app\n"},
    )
    host.set_up()
    return host


@contextmanager
def beside(host: Host, *commands: list[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for command in commands:
            stack.enter_context(host.beside(*command))
        yield


def delivers_now_and_later(host: Host, push_service, *workers: list[str]) -> None:
    with host.served() as origin, beside(host, *workers):
        visitor = goes_the_whole_way(origin, push_service)
        host.shell(SCHEDULE)
        titles = lambda: [payload["notification"]["title"] for payload in visitor.browser.received]  # noqa: E731  # read again at each look
        wait_until(lambda: "Later" in titles(), f"the scheduled message\n{host.log.read_text()[-3000:]}", 120)


@pytest.mark.parametrize(
    ("broker", "pool"),
    [
        ("redis://127.0.0.1:6379/0", "prefork"),
        ("amqp://guest:guest@127.0.0.1:5672//", "threads"),
        ("redis://127.0.0.1:6379/0", "gevent"),
    ],
)
def test_celery_with_its_beat_from_the_database(broker, pool, tmp_path, push_service):
    host = celery_host(tmp_path, broker)
    if pool == "gevent":
        host.append("settings.py", 'WEBPUSH_KIT["TRANSPORT"] = "django_webpush_kit.transports.PyWebPushTransport"\n')
    worker = module("celery", "-A", "mysite", "worker", "-P", pool, "-c", "2", "--without-mingle", "--without-gossip")
    delivers_now_and_later(host, push_service, worker, module("celery", "-A", "mysite", "beat"))


@pytest.mark.parametrize("broker", ['"orm": "default"', '"redis": {"host": "127.0.0.1", "port": 6379, "db": 0}'])
def test_django_q2(broker, tmp_path, push_service):
    name = f"webpush-{secrets.token_hex(4)}"
    host = Host(tmp_path, settings=SQLITE + DJANGO_Q.format(queue=name, broker=broker))
    host.set_up()
    host.run("manage.py", "push_schedule")
    delivers_now_and_later(host, push_service, ["manage.py", "qcluster"])


def test_django_tasks_with_a_database_worker(tmp_path, push_service):
    host = Host(tmp_path, settings=SQLITE + DJANGO_TASKS)
    host.set_up()
    sweep = ["manage.py", "deliver_push", "--loop"]
    delivers_now_and_later(host, push_service, ["manage.py", "db_worker"], sweep)

"""The same project under each server: WSGI and ASGI, threads, greenlets and processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.host_project import free_port
from tests.hosts.host import Host, goes_the_whole_way, module

SERVERS = {
    "runserver": ["manage.py", "runserver", "--noreload", "{port}"],
    "uvicorn": module("uvicorn", "mysite.asgi:application", "--port", "{port}"),
    "daphne": module("daphne", "-p", "{port}", "mysite.asgi:application"),
    "gunicorn": module("gunicorn", "mysite.wsgi", "-b", "127.0.0.1:{port}", "-w", "2"),
    "gunicorn-threads": module("gunicorn", "mysite.wsgi", "-b", "127.0.0.1:{port}", "-k", "gthread", "--threads", "4"),
    "gunicorn-gevent": module("gunicorn", "mysite.wsgi", "-b", "127.0.0.1:{port}", "-k", "gevent"),
    "gunicorn-preload": module("gunicorn", "mysite.wsgi", "-b", "127.0.0.1:{port}", "--preload", "-w", "2"),
}
TRANSPORTS = ("CurlTransport", "PyWebPushTransport")

REQUESTS = 20


def host_with(folder: Path, transport: str) -> Host:
    host = Host(
        folder,
        settings=f'WEBPUSH_KIT["TRANSPORT"] = "django_webpush_kit.transports.{transport}"\nDEBUG = False\n'
        'ALLOWED_HOSTS = ["localhost", "127.0.0.1"]\n',
    )
    host.set_up()
    return host


@pytest.fixture(scope="module", params=TRANSPORTS)
def host(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Host:
    return host_with(tmp_path_factory.mktemp("servers"), request.param)


@pytest.mark.parametrize("name", SERVERS)
def test_messages_are_delivered_in_the_request_and_nothing_stays_behind(name, host, push_service):
    if (name, host_transport(host)) == ("gunicorn-gevent", "CurlTransport"):
        pytest.skip("curl waits in C, where no greenlet can run: see the page on queues")
    port = free_port()
    command = [argument.format(port=port) for argument in SERVERS[name]]
    with host.served_by(*command, port=port) as origin:
        visitor = goes_the_whole_way(origin, push_service)
        for _ in range(REQUESTS // 2):
            visitor.post("/order/", {})
        before = descriptors_and_threads(host)
        for _ in range(REQUESTS):
            visitor.post("/order/", {})
        after = descriptors_and_threads(host)
        assert after[0] <= before[0] + 4, f"file descriptors: {before[0]}, then {after[0]}"
        assert after[1] <= before[1] + 4, f"threads: {before[1]}, then {after[1]}"
        visitor.get("/admin/")
        visitor.browser.wait_for(1 + REQUESTS + REQUESTS // 2)
    host.run("manage.py", "shell", "-c", FORGET)


FORGET = """
from django_webpush_kit.models import get_subscription_model
get_subscription_model().objects.all().delete()
"""


def host_transport(host: Host) -> str:
    return next(name for name in TRANSPORTS if name in (host.folder / "mysite" / "settings.py").read_text())


def descriptors_and_threads(host: Host) -> tuple[int, int]:
    """How many file descriptors and threads the processes of this host have, all in all."""
    mark = str(host.folder).encode()
    descriptors = threads = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if Path(process / "cwd").resolve().as_posix().encode() != mark:
                continue
            descriptors += len(list((process / "fd").iterdir()))
            threads += len(list((process / "task").iterdir()))
        except OSError:  # it has ended
            continue
    return descriptors, threads

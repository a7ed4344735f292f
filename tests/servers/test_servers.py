"""Real web servers, one `send()` a request: all is sent, and threads, descriptors and memory stay as they are."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from django_webpush_kit.protocol.vapid import VapidKey
from tests.task_backends.workers import end, wait_for

pytestmark = pytest.mark.services

WARM_UP_REQUESTS = 40
REQUESTS = 120
AT_A_TIME = 4

MODULE = "tests.servers.project"
GUNICORN = "-m gunicorn --bind 127.0.0.1:{port} --worker-tmp-dir {folder} "
UWSGI = "uwsgi --http-socket 127.0.0.1:{port} --need-app --disable-logging --die-on-term "

SERVERS = {
    "uvicorn": f"-m uvicorn --port {{port}} --log-level warning {MODULE}:asgi",
    "daphne": f"-m daphne --bind 127.0.0.1 --port {{port}} --verbosity 0 {MODULE}:asgi",
    "runserver": f"-m {MODULE} runserver --noreload --verbosity 0 127.0.0.1:{{port}}",
    "gunicorn": f"{GUNICORN} {MODULE}:wsgi",
    "gunicorn-gthread": f"{GUNICORN} --worker-class gthread --threads 8 {MODULE}:wsgi",
    "gunicorn-preload": f"{GUNICORN} --preload --worker-class gthread --threads 8 {MODULE}:wsgi",
    "gunicorn-gevent": f"{GUNICORN} --worker-class gevent {MODULE}:wsgi",
    "eventlet": "-m tests.servers.eventlet_server {port}",
    "uwsgi": f"{UWSGI} --master --module {MODULE}:wsgi",
    "uwsgi-threads": f"{UWSGI} --threads 8 --module {MODULE}:wsgi",
}

NEEDS = {
    "runserver": [],
    "uwsgi": ["uwsgidecorators"],
    "uwsgi-threads": ["uwsgidecorators"],
    "gunicorn-gevent": ["gunicorn", "gevent"],
}
"""What a server needs besides the package of its name."""

CASES = [
    *((server, "PyWebPushTransport") for server in SERVERS),
    *((server, "CurlTransport") for server in ("uvicorn", "daphne", "gunicorn-gthread", "gunicorn-gevent")),
    *((server, "auto") for server in ("uvicorn", "gunicorn-gevent", "eventlet")),
]


def is_installed(name):
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of the package above it
        return False


@pytest.fixture
def environment(certificates, browser, server, tmp_path):
    """The variables of the project's processes, for a transport; there is one subscription in its database."""

    def make(transport):
        kit = {
            "VAPID_PRIVATE_KEY": VapidKey.generate().encoded_private_key(),
            "VAPID_SUBJECT": "mailto:ops@example.com",
            "ALLOW_PRIVATE_ENDPOINTS": True,
            "TRANSPORT": {
                "BACKEND": transport if transport == "auto" else f"django_webpush_kit.transports.{transport}",
                "OPTIONS": {"ca_bundle": str(certificates / "ca.pem")},
            },
        }
        variables = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "",
            "PROJECT_DATABASE": str(tmp_path / "project.sqlite3"),
            "PROJECT_WEBPUSH_KIT": json.dumps(kit),
        }
        subscription = [server.url("/status/201"), browser.p256dh, browser.auth]
        for command in (["migrate", "--verbosity", "0"], ["subscribe", *subscription]):
            subprocess.run([sys.executable, "-m", MODULE, *command], env=variables, check=True, timeout=60)
        return variables

    return make


@contextmanager
def running(name, variables, folder):
    """Run a server until the block ends; yields a function that asks it for a path and returns its JSON."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = SERVERS[name].format(port=port, folder=folder).split()
    program = [sys.executable] if command[0] == "-m" else []
    if command[0] == "uwsgi":
        command[0] = str(Path(sys.executable).with_name("uwsgi"))
    log_path = folder / "server.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen([*program, *command], env=variables, stdout=log, stderr=log, start_new_session=True)

    def ask(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}/", timeout=30) as answer:
            return json.load(answer)

    def answers():
        assert process.poll() is None, log_path.read_text()
        try:
            return ask("usage")
        except OSError:
            return None

    try:
        wait_for(answers, log_path)
        yield ask
    finally:
        end(process)


@pytest.mark.parametrize(("name", "transport"), CASES, ids=lambda value: value)
def test_nothing_stays_behind_with_a_request(name, transport, environment, tmp_path):
    for package in NEEDS.get(name, [name.partition("-")[0]]):
        if not is_installed(package):
            pytest.skip(f"{package} is not installed")
    if transport == "CurlTransport":
        pytest.importorskip("pycurl")
    with running(name, environment(transport), tmp_path) as ask, ThreadPoolExecutor(AT_A_TIME) as visitors:
        for _ in range(WARM_UP_REQUESTS // AT_A_TIME):
            assert list(visitors.map(ask, ["send"] * AT_A_TIME)) == [{"status": "sent"}] * AT_A_TIME
        before = ask("usage")
        for _ in range(REQUESTS // AT_A_TIME):
            assert list(visitors.map(ask, ["send"] * AT_A_TIME)) == [{"status": "sent"}] * AT_A_TIME
        after = ask("usage")
    assert after["sent"] == WARM_UP_REQUESTS + REQUESTS
    assert after["process"] == before["process"]
    # Threads that serve visitors come and go by themselves; one left behind by each request would be 120.
    for kind, some in (("threads", 6), ("descriptors", 12), ("megabytes", 12)):
        assert after[kind] <= before[kind] + some, kind

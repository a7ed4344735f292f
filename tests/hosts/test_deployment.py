"""The page on deployment, done as it stands: nginx with TLS, gunicorn, the commands of the units, the checklist."""

from __future__ import annotations

import configparser
import getpass
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from django_webpush_kit.testing.certificates import write_certificate
from tests.host_project import BLOCK, free_port, wait_for_port
from tests.hosts.host import Host, Visitor, goes_the_whole_way, wait_until

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs/how-to/deployment.md").read_text()
BLOCKS = BLOCK.findall(PAGE)

ORIGIN_ON_THE_PAGE = "https://www.example.com"

AROUND = """
user {user};
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{}}
http {{
  include /etc/nginx/mime.types;
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{server}
}}
"""


class Deployment:
    """A project in which the page's blocks stand, with the paths and ports of this machine in place of the page's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.upstream = free_port(), free_port()
        self.origin = f"https://localhost:{self.port}"
        self.replaced = {
            ORIGIN_ON_THE_PAGE: self.origin,
            "server_name www.example.com": "server_name localhost",
            "/etc/mysite/vapid.pem": str(folder / "vapid.pem"),
            "/srv/mysite/static": str(folder / "collected"),
            "/srv/mysite/venv/bin/python": sys.executable,
            "/srv/mysite/venv/bin/gunicorn": f"{sys.executable} -m gunicorn",
            "/srv/mysite": str(folder),
            "127.0.0.1:8000": f"127.0.0.1:{self.upstream}",
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "/etc/ssl/mysite.pem": str(folder / "server.pem"),
            "/etc/ssl/mysite.key": str(folder / "server.pem"),
        }
        settings = [code for language, code in BLOCKS if language == "python" and code.startswith("# settings.py")]
        self.host = Host(folder, settings="\n".join(map(self.here, settings)) + RELAXED)
        self.host.environment["SSL_CERT_FILE"] = str(folder / "ca.pem")

    def here(self, text: str) -> str:
        """A text of the page as it reads on this machine."""
        for before, after in self.replaced.items():
            text = text.replace(before, after)
        return text

    def units(self) -> dict[str, configparser.ConfigParser]:
        """The page's units by file name."""
        units = {}
        for head, body in [code.split("\n", 1) for language, code in BLOCKS if language == "ini"]:
            unit = configparser.ConfigParser(interpolation=None)
            unit.optionxform = str  # type: ignore[assignment, method-assign]  # systemd's keys have capitals
            unit.read_string(self.here(body))
            units[Path(head).name] = unit
        return units

    def command(self, unit: str) -> list[str]:
        """The command of a unit, as arguments of Python."""
        program, *arguments = shlex.split(self.units()[unit]["Service"]["ExecStart"])
        assert program == sys.executable
        return arguments

    @contextmanager
    def nginx(self) -> Iterator[None]:
        """Run nginx with the page's server."""
        write_certificate(self.folder)
        (server,) = [self.here(code) for language, code in BLOCKS if language == "nginx"]
        configuration = self.folder / "nginx.conf"
        configuration.write_text(AROUND.format(user=getpass.getuser(), folder=self.folder, server=server))
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        process = subprocess.Popen([program, "-p", self.folder, "-c", configuration], stderr=subprocess.DEVNULL)
        try:
            wait_for_port(self.port, process, self.folder / "nginx-error.log")
            yield
        finally:
            process.terminate()
            process.wait()


# what the page leaves to Django's own checklist, and a push service on this machine
RELAXED = """
DEBUG = False
ALLOWED_HOSTS = ["localhost"]
if "MAILERS" in globals():  # Django 6.1 and newer: startproject writes one for development
    MAILERS["default"]["BACKEND"] = "django.core.mail.backends.smtp.EmailBackend"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
WEBPUSH_KIT["ALLOW_PRIVATE_ENDPOINTS"] = True
"""

EXPECTED_WARNINGS = ["webpush_kit.W030", "webpush_kit.W035", "webpush_kit.W037"]
"""The push service of the test, the address of the example, and the cache that the page's project has not."""


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


def test_a_site_deployed_as_the_page_says_goes_the_whole_way(deployment, push_service):
    host = deployment.host
    host.set_up()
    host.run("manage.py", "collectstatic", "--no-input", "--verbosity", "0")
    with (
        host.served_by(*deployment.command("mysite.service"), port=deployment.upstream),
        deployment.nginx(),
        host.beside(*deployment.command("mysite-push.service")) as worker,
    ):
        visitor = goes_the_whole_way(deployment.origin, push_service, prepare=trust_and_log_in(deployment))
        page = visitor.get("/")
        modules = set(re.findall(r'"(/static/[^"]+\.js)"', page.text))
        assert modules
        for module in modules:
            assert visitor.get(module).headers["Content-Type"] in ("application/javascript", "text/javascript")
        service_worker = visitor.get("/api/v1/push/service-worker.js")
        assert service_worker.headers["Service-Worker-Allowed"] == "/"
        diagnosis = host.run("manage.py", "push_doctor")
        assert re.findall(r"^(?:WARNING|ERROR) .*\((.*)\)$", diagnosis, re.MULTILINE) == EXPECTED_WARNINGS
        assert len(re.findall("^(?:WARNING|ERROR)", diagnosis, re.MULTILINE)) == len(EXPECTED_WARNINGS)
        host.run(*deployment.command("mysite-push-prune.service"))
        worker.terminate()
        assert worker.wait(30) == 0


def test_the_checklist_can_be_followed(deployment, push_service):
    host = deployment.host
    host.set_up()
    lines = [shlex.split(line)[1:] for line in [code for language, code in BLOCKS if language == "sh"][-1].splitlines()]
    before, after = lines[:-2], lines[-2:]
    for line in before:
        host.run(*line)
    with (
        host.served_by(*deployment.command("mysite.service"), port=deployment.upstream),
        deployment.nginx(),
        host.running("deliver_push", "--loop"),
    ):
        visitor = Visitor.at(deployment.origin, push_service)
        trust_and_log_in(deployment)(visitor)
        visitor.subscribe()
        for line in after:
            host.run(*line)
        wait_until(lambda: visitor.browser.received, "the push of the checklist")
        assert visitor.browser.received[0]["notification"]["title"] == "Deployed"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_accepts_the_units(deployment, tmp_path):
    names = []
    for name, unit in deployment.units().items():
        if "Service" in unit:
            unit["Service"]["User"] = "root"  # there is no user "mysite" here
        with (tmp_path / name).open("w") as file:
            unit.write(file, space_around_delimiters=False)
        names.append(str(tmp_path / name))
    verified = subprocess.run(["systemd-analyze", "verify", *names], capture_output=True, text=True, check=False)
    about_ours = [line for line in verified.stderr.splitlines() if "mysite" in line]
    assert about_ours == []


def trust_and_log_in(deployment):
    """What a visitor does first: trust the temporary certificate, log in."""

    def prepare(visitor):
        visitor.session.verify = str(deployment.folder / "ca.pem")
        visitor.log_in()

    return prepare

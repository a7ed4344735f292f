"""A project that `startproject` makes, to which a page of documentation is done block by block."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

JSON_FILE = re.compile(r"`([\w./]+\.json)`")

PASSWORD = "correct horse battery staple"


def blocks(page: str) -> list[tuple[str, str]]:
    """Return the language and the text of each block of a page, as `HostProject.do()` takes them.

    Blocks name their file in a first line of comment. JSON has no comments: there the prose before it names the file.
    """
    found = []
    for block in BLOCK.finditer(page):
        language, text = block.groups()
        if language == "json":
            name = JSON_FILE.findall(page, 0, block.start())[-1]
            text = f"// {name}\n{text}"
        found.append((language, text))
    return found


class HostProject:
    """A project called mysite in a folder of its own."""

    def __init__(self, folder: Path, *, warnings: str = "error") -> None:
        """`warnings` is the PYTHONWARNINGS of every process: packages of others may have some of their own."""
        self.folder = folder
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            "PYTHONWARNINGS": warnings,
        }
        self.run("-m", "django", "startproject", "mysite", ".")
        self._imports = ""

    def run(self, *arguments: str) -> str:
        run = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, f"{arguments}\n{run.stdout}\n{run.stderr}"
        return run.stdout

    def append(self, name: str, text: str) -> None:
        with (self.folder / "mysite" / name).open("a") as file:
            file.write(text)

    def shell(self, code: str) -> str:
        """Run code in `manage.py shell`, which remembers what earlier code has imported and named."""
        output = self.run("manage.py", "shell", "-v0", "-c", self._imports + code)
        self._imports += "".join(re.findall(r"^(?:from .*|user = .*)\n", code, re.MULTILINE))
        return output

    def do(self, language: str, text: str) -> str:
        """Do what a block of a page says, append, write, run code or commands; returns what was printed."""
        printed = ""
        head, _, body = text.partition("\n")
        match language, head.strip("<!-#/> "):
            case "python", "settings.py" | "urls.py" | "mysite/settings.py" | "mysite/urls.py" as name:
                self.append(Path(name).name, body)
            case "python", "shell":
                printed = self.shell(body)
            case (("python" | "html" | "ini" | "json"), name):
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / name).write_text(body)
                if name.startswith("test_"):
                    self.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", name)
            case "sh", _:
                for line in text.splitlines():
                    if line.startswith("python manage.py"):
                        # the password is in the environment, where a person would type it
                        printed += self.run(*line.split()[1:], *(["--noinput"] if "createsuperuser" in line else []))
        return printed

    @contextmanager
    def served(self) -> Iterator[str]:
        """Run `manage.py runserver`; yields the origin of the site."""
        port = free_port()
        with self.served_by("manage.py", "runserver", "--noreload", str(port), port=port) as origin:
            yield origin

    @contextmanager
    def served_by(self, *command: str, port: int) -> Iterator[str]:
        """Run a server that listens on this port; yields the origin of the site."""
        with self.beside(*command) as server:
            wait_for_port(port, server, self.log)
            yield f"http://localhost:{port}"

    @contextmanager
    def running(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a management command beside the block, and end it."""
        with self.beside("manage.py", *command) as process:
            yield process

    @contextmanager
    def beside(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run Python with these arguments beside the block, and end all that it started."""
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with suppress(ProcessLookupError):  # the group is empty already
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def log(self) -> Path:
        """What the processes beside have printed."""
        return self.folder / "processes.log"


def free_port() -> int:
    """A port on loopback that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def wait_for_port(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    give_up_at = time.monotonic() + 60
    while time.monotonic() < give_up_at and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)  # nothing else tells when a server listens
        else:
            return
    pytest.fail(f"nothing listens on port {port}:\n{log.read_text()[-3000:]}")

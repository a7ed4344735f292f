"""The studio as real processes: the site, and the django-q2 cluster that delivers its notifications.

Used by `demo.py`, `serve.py` and the browser tests. Needs POSIX (Linux, macOS): every process gets a group of its own,
so that all it started can be ended with it.
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"

START_SECONDS = 90
END_SECONDS = 15


class StudioError(Exception):
    """A command or a process failed; the text holds the end of its output."""


class Interrupts:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt, but not in the middle of a `shield`: then right after it.

    Without the shield an interrupt could hit between the start of a process and the note that it runs, and the process
    would outlive us.
    """

    def __init__(self):
        self._is_shielded = False
        self._is_waiting = False

    def install(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    @contextmanager
    def shield(self):
        self._is_shielded = True
        try:
            yield
        finally:
            self._is_shielded = False
        if self._is_waiting:
            self._is_waiting = False
            raise KeyboardInterrupt

    def _receive(self, _number, _frame):
        if self._is_shielded:
            self._is_waiting = True
        else:
            raise KeyboardInterrupt


class Studio:
    """The site on `origin` with its data in `folder`; a context manager that ends everything it started."""

    def __init__(self, folder, *, port=0, environment=None, interrupts=None):
        self.folder = Path(folder)
        self.port = port or free_port()
        self.interrupts = interrupts or Interrupts()
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "STUDIO_DATA": str(self.folder),
            "PYTHONUNBUFFERED": "1",
            **(environment or {}),
        }
        self._processes = {}

    @property
    def origin(self):
        return f"http://localhost:{self.port}"

    def manage(self, *arguments):
        """Run a management command to its end and return what it printed; `StudioError` when it fails."""
        done = subprocess.run(  # noqa: S603  # our own manage.py
            [sys.executable, str(MANAGE), *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StudioError(f"manage.py {' '.join(arguments)} failed:\n{done.stdout}")
        return done.stdout

    def set_up(self, tell=lambda _command: None):
        """Make the key and the database, and fill it, all unless it is there; `tell` hears of each command."""
        commands = [
            ("migrate", "--verbosity=0"),
            ("load_studio",),
            ("push_schedule",),
        ]
        if not (self.folder / "vapid.pem").exists():
            commands.insert(0, ("generate_vapid_keys", "--format=pem", f"--output={self.folder / 'vapid.pem'}"))
        for command in commands:
            tell(f"manage.py {command[0]}")
            self.manage(*command)

    def check_port(self):
        """Raise `StudioError` when somebody else listens on our port, who would answer in our place."""
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            if is_taken(family, address, self.port):
                raise StudioError(f"Port {self.port} is taken. Try: make serve PORT={self.port + 1}")

    def start_site(self):
        self._start("site", "runserver", "--noreload", f"127.0.0.1:{self.port}")
        self._wait_for("site", self._answers)

    def start_cluster(self):
        self._start("cluster", "qcluster")
        self._wait_for("cluster", lambda: "running." in self.log("cluster"))

    def log(self, name):
        """What the process has printed so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def wait(self):
        """Wait for ever, or until a process ends by itself, which is an error."""
        while True:
            self.check()
            time.sleep(0.5)

    def check(self):
        """Raise `StudioError` when a process has ended by itself."""
        for name in self._processes:
            self._check(name)

    def stop(self):
        """End the processes, gently first; nothing of their groups is left."""
        with self.interrupts.shield():
            for process in self._processes.values():
                process.terminate()
            deadline = time.monotonic() + END_SECONDS
            for process in self._processes.values():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.1, deadline - time.monotonic()))
                with suppress(ProcessLookupError, PermissionError):  # the group is empty already
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            self._processes.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.stop()

    def _start(self, name, *arguments):
        with self.interrupts.shield(), (self.folder / f"{name}.log").open("wb") as output:
            self._processes[name] = subprocess.Popen(  # noqa: S603  # our own manage.py
                [sys.executable, str(MANAGE), *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_for(self, name, is_ready):
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            self._check(name)
            if time.monotonic() > deadline:
                raise StudioError(f"The {name} did not start in {START_SECONDS} s:\n{self.log(name)[-3000:]}")
            time.sleep(0.05)

    def _check(self, name):
        code = self._processes[name].poll()
        if code is not None:
            raise StudioError(f"The {name} ended with code {code}:\n{self.log(name)[-3000:]}")

    def _answers(self):
        try:
            with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{self.port}/login/", timeout=5) as reply:
                return reply.status == 200
        except (URLError, OSError):
            return False


def is_taken(family, address, port):
    """Whether somebody listens there; browsers try ::1 as well when they are told localhost."""
    try:
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]

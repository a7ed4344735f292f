"""Worker processes to be killed: forked from a warm server, each the leader of a process group of its own.

Importing this module sets Django up; the fork server does so once, so that a new worker costs milliseconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402  # after setup
from django.core.management import call_command  # noqa: E402  # after setup
from django.db import connections  # noqa: E402  # after setup

_fork_server = multiprocessing.get_context("forkserver")
_fork_server.set_forkserver_preload([__name__, "django_webpush_kit.management.commands.deliver_push"])


class Worker:
    """A process that can be killed, paused and resumed with everything it started."""

    def __init__(self, process: Any, log: Path) -> None:
        self._process = process
        self.log = log

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its group."""
        return int(self._process.pid)

    @property
    def is_alive(self) -> bool:
        """Whether the leader still runs."""
        if isinstance(self._process, subprocess.Popen):
            return self._process.poll() is None
        return bool(self._process.is_alive())

    @property
    def is_stopped(self) -> bool:
        """Whether the leader has been stopped by a signal."""
        with suppress(FileNotFoundError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        return False

    def signal_group(self, number: int) -> None:
        """Send a signal to the whole group; one that has ended is left alone."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """SIGKILL for the whole group; returns when its leader is gone."""
        if not isinstance(self._process, subprocess.Popen) and self.is_alive:
            with suppress(ProcessLookupError):  # it may not have made its group yet
                os.kill(self.pid, signal.SIGKILL)
        self.signal_group(signal.SIGKILL)
        self.wait()

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the end of the leader."""
        if isinstance(self._process, subprocess.Popen):
            self._process.wait(seconds)
        else:
            self._process.join(seconds)

    def children(self) -> list[int]:
        """The processes of the group besides its leader."""
        table = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.pid)], capture_output=True, text=True, check=False
        )
        return [int(line) for line in table.stdout.split()]


def fork(function: Callable[..., None], *arguments: Any, log: Path, **surroundings: Mapping[str, Any]) -> Worker:
    """Run a function of a module in a process of its own.

    Keyword arguments: `kit` changes WEBPUSH_KIT there, `database` the connection's settings.
    """
    process = _fork_server.Process(target=_begin, args=(function, arguments, str(log), surroundings), daemon=False)
    process.start()
    return Worker(process, log)


def run(arguments: list[str], *, log: Path, environment: Mapping[str, str]) -> Worker:
    """Start a program in a process group of its own: `["-m", "django", "qcluster"]` for this Python."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Worker(process, log)


def deliver_for_ever() -> None:
    """`manage.py deliver_push --loop`."""
    call_command("deliver_push", loop=True, interval=0.2, verbosity=0)


def deliver_until_nothing_is_due() -> None:
    """`manage.py deliver_push`."""
    call_command("deliver_push", verbosity=0)


def _begin(
    function: Callable[..., None], arguments: tuple[Any, ...], log: str, surroundings: Mapping[str, Mapping[str, Any]]
) -> None:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, **surroundings.get("kit", {})}
    connections["default"].settings_dict.update(surroundings.get("database", {}))
    function(*arguments)

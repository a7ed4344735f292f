"""A PostgreSQL and a RabbitMQ of the bench's own, each on its host; they can be stopped and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from benchmarks.chaos.workers import Worker
from benchmarks.hosts.machine import postgresql_programs, rabbitmq_program
from benchmarks.hosts.network import Host

START_SECONDS = 180.0
STOP_SECONDS = 30.0


class Server:
    """A server on a host. `folder` is its own, and belongs to its user."""

    user = ""
    port = 0
    program = ""
    """What the system calls its processes."""
    stop_signal = signal.SIGTERM

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self._process: Worker | None = None
        folder.mkdir()
        shutil.chown(folder, self.user, self.user)

    def start(self) -> None:
        """Start, and return when it answers."""
        self._process = self.host.run(
            self._command(), log=self.folder.with_suffix(".log"), environment=self._environment(), user=self.user
        )
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > until or not self._process.is_alive:
                raise RuntimeError(f"{type(self).__name__} did not start:\n{self._process.log.read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Let it end in order."""
        if self._process is not None:
            os.kill(self._main_process(), self.stop_signal)
            until = time.monotonic() + STOP_SECONDS
            while self.program in self.host.programs().values() and time.monotonic() < until:
                time.sleep(0.05)
            self.kill()

    def kill(self) -> None:
        """Kill it and everything it has started."""
        if self._process is not None:
            self._process.kill()
            self._process = None
        self.host.kill_processes()

    def _main_process(self) -> int:
        """The process that takes the signal: the oldest of the server's program."""
        return min(number for number, name in self.host.programs().items() if name == self.program)

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        return {"HOME": str(self.folder)}

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((self.host.address, self.port)) == 0


class PostgreSQL(Server):
    """Without passwords, and with everything that a crash needs (fsync)."""

    user = "postgres"
    port = 5432
    program = "postgres"
    stop_signal = signal.SIGINT  # a fast shutdown: it ends connections

    def __init__(self, host: Host, folder: Path) -> None:
        super().__init__(host, folder)
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-instructions"]
        self._once([str(postgresql_programs() / "initdb"), *options, f"--pgdata={folder / 'data'}"])
        with (folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet trust\n")

    def _once(self, command: list[str]) -> None:
        as_user = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        done = subprocess.run(
            [*as_user, *command], env={"HOME": str(self.folder), "LC_ALL": "C.UTF-8"}, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(done.stderr)

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": self.host.address,
            "unix_socket_directories": str(self.folder),
            "max_connections": "100",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [str(postgresql_programs() / "postgres"), "-D", str(self.folder / "data"), *options]

    def _answers(self) -> bool:
        ready = [
            str(postgresql_programs() / "pg_isready"),
            "--quiet",
            f"--host={self.host.address}",
            f"--port={self.port}",
        ]
        return subprocess.run(ready, check=False).returncode == 0


class RabbitMQ(Server):
    """One node; its guest may come from everywhere on the network."""

    user = "rabbitmq"
    port = 5672
    program = "beam.smp"

    def __init__(self, host: Host, folder: Path) -> None:
        super().__init__(host, folder)
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {host.address}:{self.port}\nloopback_users = none\ndisk_free_limit.absolute = 50MB\n"
        )
        (folder / "enabled_plugins").write_text("[].\n")
        (folder / "rabbitmq-env.conf").touch()

    def _command(self) -> list[str]:
        return [str(rabbitmq_program())]

    def _environment(self) -> dict[str, str]:
        return {
            **super()._environment(),
            "RABBITMQ_NODENAME": "bench@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_LOGS": "-",
        }

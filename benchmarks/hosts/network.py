"""Hosts on one machine: network namespaces with an address each, joined by a switch. Linux, root, and `ip` are needed.

Everything is removed at the end, and with the next start what a killed run has left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.chaos.workers import Worker
from benchmarks.hosts.machine import ip

PREFIX = "wpk"
NOWHERE = "02:00:00:00:00:01"
"""A hardware address that nobody has."""

END_SECONDS = 10.0


class Network:
    """A switch that this process is connected to, at `address`; a context manager. Hosts are added with `add`."""

    def __init__(self, subnet: str) -> None:
        self._name = f"{PREFIX}{os.getpid()}"
        self._switch = f"{self._name}-switch"
        self._subnet = subnet
        self._hosts: list[Host] = []
        self.address = f"{subnet}.1"

    def __enter__(self) -> Network:  # noqa: PYI034  # Self is not in Python 3.10
        remove_leftovers()
        try:
            ip("netns", "add", self._switch)
            ip("-n", self._switch, "link", "add", "br0", "type", "bridge")
            ip("-n", self._switch, "link", "set", "br0", "up")
            ip("link", "add", self._name, "type", "veth", "peer", "name", "p1", "netns", self._switch)
            self._plug_in("p1")
            ip("address", "add", f"{self.address}/24", "dev", self._name)
            ip("link", "set", self._name, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for host in self._hosts:
            host.kill_processes()
        _remove(self._name)

    def add(self, name: str) -> Host:
        """Add a host."""
        number = len(self._hosts) + 2
        host = Host(f"{self._name}-{name}", f"{self._subnet}.{number}", self._switch, f"p{number}")
        self._hosts.append(host)
        ip("netns", "add", host.namespace)
        link = ["type", "veth", "peer", "name", "eth0", "netns", host.namespace]
        ip("link", "add", host.port, "netns", self._switch, *link)
        self._plug_in(host.port)
        ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", host.namespace, "link", "set", device, "up")
        return host

    def _plug_in(self, port: str) -> None:
        ip("-n", self._switch, "link", "set", port, "master", "br0", "up")


class Host:
    """A network namespace with an address."""

    def __init__(self, namespace: str, address: str, switch: str, port: str) -> None:
        self.namespace = namespace
        self.address = address
        self.port = port
        self._switch = switch

    def run(self, arguments: list[str], *, log: Path, environment: Mapping[str, str], user: str = "") -> Worker:
        """Start a program here, in a process group of its own; as this user, if one is given."""
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *as_user, *arguments],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return Worker(process, log)

    def run_python(self, *arguments: str, log: Path, environment: Mapping[str, str]) -> Worker:
        """Start a program of this environment here."""
        return self.run([sys.executable, *arguments], log=log, environment=environment)

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Pull the cable out, and put it back."""
        ip("-n", self._switch, "link", "set", self.port, "down")
        try:
            yield
        finally:
            ip("-n", self._switch, "link", "set", self.port, "up")

    @contextmanager
    def parted_from(self, other: Host) -> Iterator[None]:
        """Let every packet between two hosts vanish, in both directions; both reach all others."""
        ways = ((self, other), (other, self))
        for one, another in ways:
            neighbour = (another.address, "lladdr", NOWHERE, "dev", "eth0", "nud", "permanent")
            ip("-n", one.namespace, "neighbour", "replace", *neighbour)
        try:
            yield
        finally:
            for one, another in ways:
                ip("-n", one.namespace, "neighbour", "delete", another.address, "dev", "eth0")

    def programs(self) -> dict[int, str]:
        """What runs here: the names by process id."""
        found = {}
        for process_id in _processes(self.namespace):
            with suppress(FileNotFoundError, ProcessLookupError):
                found[process_id] = Path(f"/proc/{process_id}/comm").read_text().strip()
        return found

    def kill_processes(self) -> int:
        """SIGKILL for everything that runs here; returns how many processes that were."""
        killed = set()
        until = time.monotonic() + END_SECONDS
        while (found := _processes(self.namespace)) and time.monotonic() < until:
            killed.update(found)
            for process_id in found:
                with suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGKILL)
            time.sleep(0.05)
        return len(killed)


def remove_leftovers() -> None:
    """Remove the networks of runs that were killed."""
    names = {namespace.partition("-")[0] for namespace in _namespaces() if namespace.startswith(PREFIX)}
    for name in names:
        number = name.removeprefix(PREFIX)
        if number.isdigit() and not Path(f"/proc/{number}").exists():
            _remove(name)


def _remove(name: str) -> None:
    """Remove a network: its namespaces, with what still runs in them. The links go with the namespaces."""
    for namespace in _namespaces():
        if namespace.startswith(f"{name}-"):
            for process_id in _processes(namespace):
                with suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGKILL)
            ip("netns", "delete", namespace)


def _namespaces() -> list[str]:
    return [line.split()[0] for line in ip("netns", "list").splitlines() if line]


def _processes(namespace: str) -> list[int]:
    done = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
    return [int(line) for line in done.stdout.split()]

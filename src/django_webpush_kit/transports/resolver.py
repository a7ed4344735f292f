"""Looks up host names in threads, once for all connections that need the same name."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from functools import partial
from typing import Any, TypeAlias

from .event_loop import Event, EventWait, Steps
from .threads import JobThreads

KEPT_SECONDS = 60.0
"""Addresses are kept for a minute, as curl does."""

Address: TypeAlias = tuple[int, Any]
"""Family and address of a socket."""


class _Lookup:
    """One lookup: its addresses, or the exception that it raised."""

    def __init__(self) -> None:
        self.done = Event()
        self.addresses: list[Address] = []
        self.error: Exception | None = None
        self.ended_at = 0.0


class Resolver:
    """The lookups of one process. Safe to share between threads."""

    def __init__(self, threads: JobThreads) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._lookups: dict[tuple[str, int], _Lookup] = {}

    def addresses(self, host: str, port: int, deadline: float) -> Steps[list[Address]]:
        """Return the addresses of a host. Raises what the lookup raises, and TimeoutError after the deadline."""
        if _is_address(host):
            return _look_up(host, port)
        lookup = self._lookup(host, port)
        yield EventWait(lookup.done, deadline)
        if lookup.error is not None:
            raise lookup.error.with_traceback(None)  # raised by every exchange that waits, it would collect tracebacks
        return lookup.addresses

    def forget(self, host: str, port: int) -> None:
        """Look the host up again for the next connection: no address could be connected to."""
        with self._lock:
            if (host, port) in self._lookups and self._lookups[host, port].done.is_set:
                del self._lookups[host, port]

    def _lookup(self, host: str, port: int) -> _Lookup:
        """Return a recent lookup, one that is running, or a new one."""
        with self._lock:
            now = time.monotonic()
            for name, lookup in list(self._lookups.items()):
                if lookup.done.is_set and now - lookup.ended_at > KEPT_SECONDS:
                    del self._lookups[name]
            found = self._lookups.get((host, port))
            if found is not None:
                return found
            lookup = self._lookups[host, port] = _Lookup()
        self._threads.run([partial(self._run, lookup, host, port)])
        return lookup

    def _run(self, lookup: _Lookup, host: str, port: int) -> None:
        try:
            lookup.addresses = _look_up(host, port)
        except Exception as error:  # noqa: BLE001 - a resolver of the project's own may raise any exception
            lookup.error = error
            with self._lock:
                self._lookups.pop((host, port), None)
        lookup.ended_at = time.monotonic()
        lookup.done.set()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _look_up(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _type, _protocol, _name, address in found]

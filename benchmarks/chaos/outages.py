"""Outages of every kind and length: whatever a push service or the way to it does, all is sent afterwards."""

from __future__ import annotations

import ctypes
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.db.models import F

from benchmarks.chaos import workers
from benchmarks.chaos.bench import Bench, PushService
from benchmarks.chaos.neighbours import heal
from benchmarks.chaos.proxy import Mode, Proxy
from benchmarks.chaos.verdict import Finding
from django_webpush_kit import services
from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import PushServiceState, get_notification_model, get_subscription_model
from django_webpush_kit.testing import FakeBrowser
from django_webpush_kit.testing.fake_push_service import Fault

ANSWERS = {
    "500": Fault(status=500, times=None),
    "502": Fault(status=502, times=None),
    "503": Fault(status=503, times=None),
    "429": Fault(status=429, times=None),
    "403": Fault(status=403, times=None),
    "cut": Fault(drop=True, times=None),
    "no answer": Fault(status=500, delay=5, times=None),
}
LENGTHS = (60, 120, 180, 240, 3600, 8 * 3600, 3 * 86400)
STEPS = 12


def answers(bench: Bench) -> Finding:
    """Let a push service be away for a minute to three days of a shortened clock: all is sent afterwards."""
    finding = Finding("outages of a minute to three days (a shortened clock)")
    lost = rows = cases = 0
    for name in list(ANSWERS)[:: 3 if bench.small else 1]:
        for length in LENGTHS[:: 3 if bench.small else 1]:
            heal(bench)
            bench.push_service.script(None, ANSWERS[name])
            bench.send(len(bench.browsers), max_retries=0)
            _pass(length, deliver_due)
            bench.push_service.clear_faults()
            _pass(STEPS * 900, deliver_due)
            unsent = bench.rows.exclude(status="sent").count()
            finding.expect(not unsent, f"{name} for {length} s: {unsent} rows not sent")
            lost, rows, cases = lost + unsent, rows + bench.rows.count(), cases + 1
    finding.figures |= {"rows": rows, "lost": lost, "outages": cases}
    heal(bench)
    return finding


def _pass(seconds: float, deliver: Callable[[], object], steps: int = STEPS) -> None:
    """Let time pass in steps, with a delivery before each, until all is sent."""
    for _ in range(steps):
        deliver()
        if not get_notification_model().objects.exclude(status="sent").exists():
            break
        _let_time_pass(seconds / steps)


def _let_time_pass(seconds: float) -> None:
    """Move every moment that is stored into the past."""
    passed = timedelta(seconds=seconds)
    get_notification_model().objects.update(
        created_at=F("created_at") - passed, next_attempt_at=F("next_attempt_at") - passed
    )
    for state in PushServiceState.objects.all():
        moments = {name: getattr(state, name) for name in ("paused_until", "accepted_at")}
        PushServiceState.objects.filter(pk=state.pk).update(
            **{name: moment - passed for name, moment in moments.items() if moment is not None}
        )


# the way to the push service

LENGTHS_OF_WAYS = (60, 120, 180, 240, 8 * 3600)
STEPS_OF_WAYS = 4
MODES: tuple[Mode, ...] = ("reset", "half", "drip", "hole")
KIT = {"TRANSPORT": {"BACKEND": "auto", "OPTIONS": {"timeout": 0.5}}}
HOSTNAME = "push.test"


def ways(bench: Bench) -> Finding:
    """Break the way to the push service for a minute to a night of a shortened clock: all is sent afterwards."""
    finding = Finding("no name, no route, no connection, no TLS, for a minute to a night (a shortened clock)")
    get_subscription_model().objects.all().delete()
    lengths = LENGTHS_OF_WAYS[:: 4 if bench.small else 1]
    figures = dict.fromkeys(("rows", "lost", "outages"), 0)

    def endure(name: str, broken: Callable[[], AbstractContextManager[None]], deliver: Callable[[], object]) -> None:
        for length in lengths:
            heal(bench)
            with broken():
                services.send(get_subscription_model().objects.all(), "Message", max_retries=0)
                _pass(length, deliver, STEPS_OF_WAYS)
                finding.expect(not bench.rows.filter(status="sent").exists(), f"{name}: the way was not broken")
            _pass(STEPS * 900, deliver)
            unsent = bench.rows.exclude(status="sent").count()
            finding.expect(not unsent, f"{name} for {length} s: {unsent} rows not sent")
            figures["rows"] += bench.rows.count()
            figures["lost"] += unsent
            figures["outages"] += 1

    with PushService(tls=True) as service, PushService(tls=True) as stranger, _Road(service) as road:
        transport = {"BACKEND": "auto", "OPTIONS": {"timeout": 0.5, "ca_bundle": service.ca_bundle}}
        deliver = partial(_deliver, bench, workers.deliver_until_nothing_is_due, kit={"TRANSPORT": transport})
        service.public_port = road.port
        _subscribe(service, 5)
        for mode in MODES:
            endure(mode, partial(road.in_mode, mode), deliver)
        endure("refused", road.closed, deliver)
        endure("black hole", road.black_hole, deliver)
        endure("the certificate of another", partial(road.leading_to, stranger.port), deliver)
        endure("no TLS", partial(road.leading_to, bench.push_service.port), deliver)
        get_subscription_model().objects.all().delete()
    names = _Names(bench.folder)
    if names.are_possible:
        _subscribe(bench.push_service, 5, HOSTNAME)
        bench.push_service.public_hostname = HOSTNAME
        look_up = partial(_deliver, bench, deliver_with_names, str(names.hosts), str(names.resolver), kit=KIT)
        endure("no name", names.away, look_up)
        bench.push_service.public_hostname = ""
    else:
        finding.figures["name resolution not tried"] = 1
    finding.figures |= figures
    return finding


def _deliver(bench: Bench, function: Callable[..., None], *arguments: Any, **surroundings: Any) -> None:
    worker = bench.start(function, *arguments, **surroundings)
    worker.wait(60)
    bench.kill(worker)


def _subscribe(service: PushService, count: int, hostname: str = "127.0.0.1") -> None:
    """Add browsers; their endpoints name the push service by this host."""
    for _ in range(count):
        browser = FakeBrowser(service, vapid_keyring().current.public_key)
        browser.subscribe()
        fields = browser.subscription_fields
        services.subscribe(**{**fields, "endpoint": fields["endpoint"].replace("127.0.0.1", hostname)})


class _Road:
    """The way to a push service: a port of its own that can be broken in every way."""

    def __init__(self, service: PushService) -> None:
        self._service = service
        self._proxy = Proxy(service.port)

    def __enter__(self) -> _Road:  # noqa: PYI034  # Self is not in Python 3.10
        self._proxy.__enter__()
        self.port = self._proxy.port
        return self

    def __exit__(self, *exception: object) -> None:
        self._proxy.__exit__()

    @contextmanager
    def in_mode(self, mode: Mode) -> Iterator[None]:
        """Mistreat connections."""
        self._proxy.mode = mode
        yield
        self._proxy.mode = "pass"

    @contextmanager
    def leading_to(self, port: int) -> Iterator[None]:
        """Lead to another server."""
        self._proxy.target = port
        self._proxy.mode = "pass"  # cuts the connections there are
        yield
        self._proxy.target = self._service.port
        self._proxy.mode = "pass"

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Let nobody listen: connections are refused."""
        self._proxy.__exit__()
        try:
            yield
        finally:
            self._proxy = Proxy(self._service.port, self.port)
            self._proxy.__enter__()

    @contextmanager
    def black_hole(self) -> Iterator[None]:
        """Answer nothing at all, not even the first packet: the queue of the listener is full."""
        with self.closed(), ExitStack() as stack:
            listener = stack.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(0)
            for _ in range(4):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", self.port))
            yield


class _Names:
    """A hosts file and a resolver's configuration, for a worker that sees them in place of the machine's own."""

    def __init__(self, folder: Path) -> None:
        self.hosts, self.resolver = folder / "hosts", folder / "resolv.conf"
        self.resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        self.hosts.write_text(f"127.0.0.1 localhost {HOSTNAME}\n")

    @property
    def are_possible(self) -> bool:
        """Whether a process may have mounts of its own here."""
        try:
            return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            return False

    @contextmanager
    def away(self) -> Iterator[None]:
        """Let the name be unknown, and nobody answer who could be asked."""
        known = self.hosts.read_text()
        self.hosts.write_text("127.0.0.1 localhost\n")
        yield
        self.hosts.write_text(known)


CLONE_NEWNS = 0x20000


def deliver_with_names(hosts: str, resolver: str) -> None:
    """`manage.py deliver_push` where these files stand in place of /etc/hosts and /etc/resolv.conf."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    for source, target in ((hosts, "/etc/hosts"), (resolver, "/etc/resolv.conf")):
        subprocess.run(["mount", "--bind", source, str(Path(target).resolve())], check=True)
    workers.deliver_until_nothing_is_due()

"""Push services that misbehave: every row ends in the right state, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

from django.utils import timezone

from benchmarks.chaos import workers
from benchmarks.chaos.bench import Bench
from benchmarks.chaos.proxy import Mode, Proxy
from benchmarks.chaos.verdict import Finding
from django_webpush_kit.models import PushServiceState, get_subscription_model
from django_webpush_kit.testing.fake_push_service import Fault

MODES: tuple[Mode, ...] = ("refuse", "reset", "half", "drip", "hole")
SOON: Mapping[str, Any] = {"RETRY_BASE_SECONDS": 0.2, "RETRY_CAP_SECONDS": 1.0}
LATER: Mapping[str, Any] = {"RETRY_BASE_SECONDS": 30}
MAX_RETRIES = 20
PATIENCE_SECONDS = 60.0


def _date(seconds: float) -> str:
    return format_datetime(timezone.now() + timedelta(seconds=seconds), usegmt=True)


@dataclass(frozen=True, slots=True)
class Case:
    """An answer of the push service, and the state it must leave the row and its subscription in."""

    name: str
    fault: Callable[[], Fault]
    state: str
    is_active: bool = True
    wait: tuple[float, float] = (0, 0)
    """Seconds until the next attempt, for a row that waits: at least, at most."""


def _status(status: int, body: bytes = b"", **headers: str) -> Callable[[], Fault]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: Fault(status=status, body=body, headers=names, times=None)


CASES = [
    Case("dropped", lambda: Fault(drop=True, times=None), "pending", wait=(-60, 31)),
    Case("500, cut", lambda: Fault(status=500, half_reply=True, times=None), "pending", wait=(-60, 31)),
    Case("201, cut after the headers", lambda: Fault(status=201, half_reply=True, times=None), "sent"),
    Case("no reply", lambda: Fault(status=500, delay=3, times=None), "pending", wait=(-60, 31)),
    Case("500", _status(500), "pending", wait=(-60, 31)),
    Case("502", _status(502), "pending", wait=(-60, 31)),
    Case("503", _status(503), "pending", wait=(-60, 3700)),
    Case("503, Retry-After 100", _status(503, Retry_After="100"), "pending", wait=(40, 102)),
    Case("429, Retry-After 100", _status(429, Retry_After="100"), "pending", wait=(40, 102)),
    Case(
        "429, date",
        lambda: Fault(status=429, headers={"Retry-After": _date(100)}, times=None),
        "pending",
        wait=(40, 102),
    ),
    Case(
        "429, date gone by",
        lambda: Fault(status=429, headers={"Retry-After": _date(-9)}, times=None),
        "pending",
        wait=(-60, 3700),
    ),
    Case("429, garbage", _status(429, Retry_After="soon, I hope"), "pending", wait=(-60, 3700)),
    Case("429, negative", _status(429, Retry_After="-5"), "pending", wait=(-60, 3700)),
    Case("429, 30 years", _status(429, Retry_After="999999999"), "pending", wait=(86000, 86410)),
    Case("406", _status(406, X_WNS_CONTINUE_AFTER="100"), "pending", wait=(40, 102)),
    Case("404", _status(404), "failed", is_active=False),
    Case("410", _status(410), "failed", is_active=False),
    Case("413", _status(413), "failed"),
    Case("400", _status(400), "failed"),
    Case("301", _status(301, Location="http://127.0.0.1:1/"), "failed"),
    # one subscription alone: a breaker does not open for it
    Case("401", _status(401), "pending", wait=(-60, 11)),
    Case("403", _status(403, b"BadJwtToken"), "pending", wait=(-60, 11)),
]


def answers(bench: Bench) -> Finding:
    """Give one of twenty subscribers each bad answer there is: its row is right, and the nineteen others are sent."""
    finding = Finding("bad answers of the push service")
    subscriptions = get_subscription_model().objects.all()
    unlucky = bench.browsers[0].endpoint
    for case in CASES:
        subscriptions.update(is_active=True, created_at=timezone.now() - timedelta(days=2))
        bench.push_service.script(unlucky, case.fault())
        bench.send(len(bench.browsers), max_retries=MAX_RETRIES)
        _deliver(bench, finding, case.name)
        _check(bench, finding, case)
        bench.push_service.clear_faults()
        _recover(bench, finding, case.name)
    finding.figures |= {"answers": len(CASES)}
    bench.check_logs(finding)
    return finding


def connections(bench: Bench) -> Finding:
    """Break every connection to the push service in each way there is, then repair it: everything is sent."""
    finding = Finding("connections refused, reset, cut, dripping, silent")
    service = bench.push_service
    with Proxy(service.port) as proxy:
        bench.push_service.public_port = proxy.port
        bench.subscribe(5)
        subscriptions = get_subscription_model().objects
        subscriptions.exclude(endpoint__contains=f":{proxy.port}/").delete()
        del bench.browsers[:-5]
        for mode in MODES:
            proxy.mode = mode
            bench.send(20, max_retries=MAX_RETRIES)
            _deliver(bench, finding, mode)
            states = set(bench.states().values()) - {"sent"}
            finding.expect(states == {"pending"}, f"{mode}: rows are {states}")
            finding.expect(not subscriptions.filter(is_active=False).exists(), f"{mode}: subscriptions deactivated")
            bench.rows.filter(status="pending").update(next_attempt_at=timezone.now())
            proxy.mode = "pass"
            worker = bench.start(kit=SOON)
            bench.settle(finding)
            worker.kill()
            bench.workers.remove(worker)
        finding.figures |= {"ways": len(MODES)}
        bench.judge(finding)
    return finding


def _deliver(bench: Bench, finding: Finding, name: str) -> None:
    """One `deliver_push` without a retry: it ends although the push service does not."""
    worker = bench.start(workers.deliver_until_nothing_is_due, kit=LATER)
    worker.wait(PATIENCE_SECONDS)
    finding.expect(not worker.is_alive, f"{name}: still sending after {PATIENCE_SECONDS:.0f} s")


def _check(bench: Bench, finding: Finding, case: Case) -> None:
    endpoint = bench.browsers[0].endpoint
    row = bench.rows.filter(subscription__endpoint=endpoint).latest("pk")
    is_active = row.subscription.is_active
    finding.expect(row.status == case.state, f"{case.name}: {row.status} ({row.failure_reason})")
    finding.expect(is_active == case.is_active, f"{case.name}: subscription {'kept' if is_active else 'deactivated'}")
    if case.state == "pending":
        wait = (row.next_attempt_at - timezone.now()).total_seconds()
        least, most = case.wait
        finding.expect(least <= wait <= most, f"{case.name}: next attempt in {wait:.0f} s, not {least}..{most}")


def _recover(bench: Bench, finding: Finding, name: str) -> None:
    """The push service is well again and the wait is over: what waited is sent."""
    PushServiceState.objects.all().delete()
    bench.rows.filter(status="pending").update(next_attempt_at=timezone.now())
    _deliver(bench, finding, name)
    states = set(bench.states().values())
    finding.expect(states <= {"sent", "failed"}, f"{name}: not all sent after recovery: {states}")
    others = bench.rows.exclude(subscription__endpoint=bench.browsers[0].endpoint).exclude(status="sent").count()
    finding.expect(not others, f"{name}: {others} rows of other subscribers not sent")
    bench.rows.all().delete()

"""What every fault is tried on: a push service, browsers, a database, worker processes, and the books."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, final

from django.db import connection, connections

from benchmarks.chaos import lapses, workers
from benchmarks.chaos.verdict import Finding
from benchmarks.chaos.workers import Worker
from django_webpush_kit import services
from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.database import retry_on_conflict
from django_webpush_kit.models import PushServiceState, get_notification_model, get_subscription_model
from django_webpush_kit.states import NotificationStatus
from django_webpush_kit.testing import FakeBrowser, FakePushService

SERVICE_WORKER = Path(__file__).parents[2] / "tests" / "js" / "run_service_worker.mjs"
OPEN = (NotificationStatus.PENDING, NotificationStatus.SENDING)
OURS = "/django_webpush_kit/"
PATIENCE_SECONDS = 90.0

_AWAY = re.compile(r"^(?:[\w.]+\.)?(?:OperationalError|InterfaceError)\b", re.MULTILINE)

ALWAYS_SHOWN = 2
"""So many browsers run the service worker even if nothing came to them twice."""


class PushService(FakePushService):
    """A push service that can be reached through a proxy, or by another name: browsers are given these."""

    public_port = 0
    public_hostname = ""

    @property
    def origin(self) -> str:
        """Where the outside world sees it."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{self.public_hostname or self.hostname}:{self.public_port or self.port}"


@final
class Bench:
    """One database, one push service and its browsers, for the faults of one run. A context manager for each fault."""

    def __init__(self, folder: Path, *, small: bool, browsers: int = 20, seed: int = 0) -> None:
        self.folder = folder
        self.small = small
        self.random = random.Random(seed)
        self.database = connection.vendor if not getattr(connection, "mysql_is_mariadb", False) else "mariadb"
        self.push_service = PushService()
        self.browsers: list[FakeBrowser] = []
        self.workers: list[Worker] = []
        self._wanted = browsers
        self._logs = 0
        self._in_hand: set[tuple[str, str]] = set()

    # life

    def __enter__(self) -> Bench:
        self.push_service.start()
        self.subscribe(self._wanted)
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop_workers()
        self.push_service.stop()
        self.rows.all().delete()
        get_subscription_model().objects.all().delete()
        PushServiceState.objects.all().delete()
        lapses.forget()
        connections.close_all()

    def subscribe(self, count: int, key: str = "") -> None:
        """Add browsers, each with a subscription of its own."""
        public_key = key or vapid_keyring().current.public_key
        for _ in range(count):
            browser = FakeBrowser(self.push_service, public_key)
            browser.subscribe()
            services.subscribe(**browser.subscription_fields)
            self.browsers.append(browser)

    # the outbox

    @property
    def rows(self) -> Any:
        """Every row of the outbox."""
        return get_notification_model().objects

    def send(self, count: int, **options: Any) -> None:
        """Queue at least `count` rows, one transaction for each round of all browsers."""
        subscriptions = get_subscription_model().objects.order_by("pk")
        for number in range(-(-count // len(self.browsers))):
            retry_on_conflict(partial(services.send, subscriptions, f"Message {number}", **options))

    def open_rows(self) -> int:
        """How many rows have not come to an end."""
        return int(self.rows.filter(status__in=OPEN).count())

    def states(self) -> dict[str, str]:
        """The state of every row by its id."""
        return {str(key): status for key, status in self.rows.values_list("pk", "status")}

    def note_in_hand(self) -> None:
        """Call when a worker is killed or stopped: the leases that stand now may lapse because of that."""
        leased = self.rows.filter(status=NotificationStatus.SENDING).values_list("pk", "lease_token")
        self._in_hand.update((str(key), str(token)) for key, token in leased)

    # workers

    def start(
        self, function: Callable[..., None] = workers.deliver_for_ever, *arguments: Any, **surroundings: Any
    ) -> Worker:
        """Fork a worker; see `workers.fork`."""
        worker = workers.fork(function, *arguments, log=self.next_log(), **surroundings)
        self.workers.append(worker)
        return worker

    def run(self, *arguments: str, **environment: str) -> Worker:
        """Start a program of this environment; see `workers.run`."""
        worker = workers.run(list(arguments), log=self.next_log(), environment=environment)
        self.workers.append(worker)
        return worker

    def kill(self, worker: Worker) -> None:
        """Kill a worker and note what it had in hand."""
        worker.kill()
        self.workers.remove(worker)
        self.note_in_hand()

    def stop_workers(self) -> None:
        """Kill what still runs."""
        while self.workers:
            self.workers.pop().kill()

    def settle(self, finding: Finding, seconds: float = PATIENCE_SECONDS) -> float:
        """Wait until every row has come to an end; returns how long that took."""
        started = time.monotonic()
        settled = self.wait_until(lambda: not self.open_rows(), seconds)
        finding.expect(settled, f"{self.open_rows()} rows still open after {seconds:.0f} s")
        return time.monotonic() - started

    def wait_until(self, condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> bool:
        """Look until the condition holds; False when it does not within `seconds`."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    # the books

    def judge(self, finding: Finding, *, may_be_cancelled: bool = False, was_database_away: bool = False) -> None:
        """Compare what was written with what came to the browsers and what their service worker showed."""
        received = [browser.received for browser in self.browsers]
        ids = [row_key(payload["id"]) for payloads in received for payload in payloads]
        lapsed = lapses.read()
        unrecorded = Counter(lapse.notification for lapse in lapsed)
        unanswered = lapses.read_unanswered()
        unrecorded.update(unanswered)
        finding.judge(
            self.states(), ids, list(_alerts(received)), unrecorded=unrecorded, may_be_cancelled=may_be_cancelled
        )
        alive = sum((lapse.notification, lapse.lease) not in self._in_hand for lapse in lapsed)
        finding.figures |= {"unanswered": unanswered.total(), "overran": alive}
        early = sum(lapse.is_early for lapse in lapsed)
        finding.expect(not early, f"{early} leases were taken away before their end")
        self.check_logs(finding, was_database_away=was_database_away)

    def check_logs(self, finding: Finding, *, was_database_away: bool = False) -> None:
        """No worker may have failed in our code, or have been told of a deadlock.

        The task of a queue fails when its database is away: so it may if `was_database_away`.
        """
        for log in sorted(self.folder.glob("worker-*.log")):
            text = log.read_text(errors="replace")
            errors = [part for part in text.split("Traceback (most recent call last)")[1:] if OURS in part]
            if was_database_away:
                errors = [part for part in errors if not _AWAY.search(part)]
            if errors or "deadlock" in text.lower():
                last = (errors or [text])[-1].strip().splitlines()[-1][:200]
                finding.broken.append(f"{log.name}: {last}")

    def next_log(self) -> Path:
        """A file for what a worker prints; `check_logs` reads it."""
        self._logs += 1
        return self.folder / f"worker-{self._logs}.log"


def row_key(identity: str) -> str:
    """The primary key of the row, as text: the first part of the identity in a payload."""
    return identity.partition(".")[0]


@contextmanager
def latency(push_service: FakePushService, seconds: float) -> Iterator[None]:
    """Let every answer of the push service take this long."""
    from django_webpush_kit.testing.fake_push_service import Fault

    push_service.script(None, Fault(status=None, delay=seconds, times=None))
    try:
        yield
    finally:
        push_service.clear_faults()


def _alerts(received: list[list[dict[str, Any]]]) -> Iterator[tuple[str, str]]:
    """What users noticed, by the shipped service worker, restarted and with each notification dismissed at once.

    Nothing where Node is not installed: the bench says so at its end.
    """
    if shutil.which("node") is None:
        return
    for number, payloads in enumerate(received):
        if len({payload["id"] for payload in payloads}) == len(payloads) and number >= ALWAYS_SHOWN:
            continue  # what came once is not shown twice
        lines = "".join(f"{json.dumps(payload)}\n" for payload in payloads)
        command = ["node", str(SERVICE_WORKER), "--dismiss", "--restart-every=7"]
        shown = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, timeout=300)
        for alert in json.loads(shown.stdout)["alerts"]:
            yield str(number), row_key(alert["id"])

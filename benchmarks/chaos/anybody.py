"""Anybody else: one subscriber, one piece of the project's code or one push service fails, and others are counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, OperationalError
from django.db.models import F
from django.utils import timezone

from benchmarks.chaos import workers
from benchmarks.chaos.bench import Bench, PushService
from benchmarks.chaos.verdict import Finding
from django_webpush_kit import services
from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import (
    PushBroadcast,
    PushServiceState,
    get_notification_model,
    get_subscription_model,
    get_template_model,
)
from django_webpush_kit.signals import post_send, pre_send
from django_webpush_kit.testing import FakeBrowser
from django_webpush_kit.testing.fake_push_service import Fault

CULPRIT = "culprit"
SECONDS = 2.0
BUSY_SECONDS = 15.0
"""What the small bench allows: it runs beside other tests."""

KINDS: tuple[Exception, ...] = (
    KeyError("name"),
    ValueError("text with \x00"),
    StopIteration(),
    RecursionError(),
    ImproperlyConfigured("not so"),
    OperationalError("gone away"),
    IntegrityError("duplicate key"),
)

# code of the project that raises


def code(bench: Bench) -> Finding:
    """Let every place where code of the project is called raise every kind of exception, for one user."""
    finding = Finding("code of the project raises, everywhere and everything")
    culprit = get_user_model().objects.create_user(CULPRIT)
    first = get_subscription_model().objects.order_by("pk").first()
    get_subscription_model().objects.filter(pk=first.pk).update(user=culprit)
    get_template_model().objects.create(type="news", title_template="News {{ recipient.first_name|default:'' }}")
    books = _Books()
    kinds = range(len(KINDS))[:: 3 if bench.small else 1]
    for place in PLACES:
        for kind in kinds:
            bench.start(deliver_with_faulty_code, place, kind)
            _warm_up(bench)
            bench.send(len(bench.browsers))
            services.broadcast("news")
            bench.wait_until(lambda: not _open_rows_of_others() and not _open_broadcasts(), 30)
            books.note(_others(), finding, f"{place} raises {type(KINDS[kind]).__name__}")
            bench.stop_workers()
            PushBroadcast.objects.all().delete()
            bench.rows.all().delete()
    get_template_model().objects.all().delete()
    get_subscription_model().objects.update(user=None)
    culprit.delete()
    books.close(bench, finding)
    return finding


def _warm_up(bench: Bench) -> None:
    """Wait until the worker sends: how long a process takes to start is not asked here."""
    row = services.send(get_subscription_model().objects.order_by("-pk")[:1], "Hello").notifications
    bench.wait_until(lambda: row.filter(status="sent").exists(), 30)
    bench.rows.all().delete()


def _faulty(kind: int, *_args: Any, **_kwargs: Any) -> Any:
    raise KINDS[kind]


def _faulty_receiver(kind: int, notification: Any, **_kwargs: Any) -> None:
    if notification.user_id is not None:
        raise KINDS[kind]


PLACES = ("a pre_send receiver", "a post_send receiver", "RECIPIENT_CONTEXT", "ACTIVE_USERS", "a log handler")


def deliver_with_faulty_code(place: str, kind: int) -> None:
    """A worker in which one place raises."""
    from django.conf import settings

    fault = partial(_faulty, kind)
    if place == "a post_send receiver":
        post_send.connect(fault, weak=False)
    elif place in ("RECIPIENT_CONTEXT", "ACTIVE_USERS"):
        settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, place: fault}
    else:
        pre_send.connect(partial(_faulty_receiver, kind), weak=False)
    if place == "a log handler":
        handler = logging.Handler(level=logging.ERROR)
        handler.emit = fault  # type: ignore[method-assign]
        logging.getLogger("django_webpush_kit").addHandler(handler)
    else:
        logging.getLogger("django_webpush_kit").addHandler(logging.NullHandler())
        logging.getLogger("django_webpush_kit").propagate = False
        logging.getLogger("django.dispatch").propagate = False
    workers.deliver_for_ever()


def _others() -> Any:
    return get_notification_model().objects.filter(user=None)


def _open_rows_of_others() -> bool:
    return bool(_others().filter(status__in=("pending", "sending")).exists())


def _open_broadcasts() -> bool:
    return PushBroadcast.objects.filter(status__in=("pending", "running"), next_page_at=None).exists()


# answers


ANSWERS = {
    "400, VAPID": Fault(status=400, body=b"VapidPkHashMismatch", times=None),
    "401": Fault(status=401, times=None),
    "403": Fault(status=403, times=None),
    "404": Fault(status=404, times=None),
    "410": Fault(status=410, times=None),
    "413": Fault(status=413, times=None),
    "429": Fault(status=429, times=None),
    "429, Retry-After a day": Fault(status=429, headers={"Retry-After": "86400"}, times=None),
    "500": Fault(status=500, times=None),
    "503, Retry-After a day": Fault(status=503, headers={"Retry-After": "86400"}, times=None),
    "no answer": Fault(status=500, delay=5, times=None),
    "cut": Fault(drop=True, times=None),
}


def answers(bench: Bench) -> Finding:
    """Let one, three and all subscriptions of a push service get each kind of answer, beside another service."""
    finding = Finding("one, three and all subscriptions get every kind of answer")
    books = _Books()
    names = list(ANSWERS)[:: 4 if bench.small else 1]
    with _second_service(bench, 5) as second:
        bench.start()
        _warm_up(bench)
        for name in names:
            for count in (1, 3, len(bench.browsers)):
                _heal(bench)
                for browser in bench.browsers[:count]:
                    bench.push_service.script(browser.endpoint, ANSWERS[name])
                bench.send(len(bench.browsers))
                endpoints = [browser.endpoint for browser in second]
                if count == 1:
                    endpoints += [browser.endpoint for browser in bench.browsers[1:]]
                others = bench.rows.filter(subscription__endpoint__in=endpoints)
                unsent = others.exclude(status="sent")
                bench.wait_until(lambda unsent=unsent: not unsent.exists(), 30)
                books.note(others, finding, f"{name} for {count}")
    books.close(bench, finding)
    return finding


# outages


OUTAGES = {
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


def outages(bench: Bench) -> Finding:
    """Let a push service be away for a minute to three days of a shortened clock: all is sent afterwards."""
    finding = Finding("outages of a minute to three days (a shortened clock)")
    names = list(OUTAGES)[:: 3 if bench.small else 1]
    lost = rows = 0
    for name in names:
        for length in LENGTHS[:: 3 if bench.small else 1]:
            _heal(bench)
            bench.push_service.script(None, OUTAGES[name])
            bench.send(len(bench.browsers), max_retries=0)
            for _ in range(STEPS):
                deliver_due()
                _let_time_pass(length / STEPS)
            bench.push_service.clear_faults()
            for _ in range(STEPS):
                deliver_due()
                _let_time_pass(900)
            unsent = bench.rows.exclude(status="sent").count()
            finding.expect(not unsent, f"{name} for {length} s: {unsent} rows not sent")
            lost += unsent
            rows += bench.rows.count()
    finding.figures |= {"rows": rows, "lost": lost, "outages": len(names) * len(LENGTHS[:: 3 if bench.small else 1])}
    _heal(bench)
    return finding


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


# push services


@dataclass(frozen=True, slots=True)
class Service:
    """How a push service behaves: `disturb` is called again and again while others are sent to."""

    name: str
    disturb: Callable[[Bench], None]


def _always(fault: Fault) -> Callable[[Bench], None]:
    def disturb(bench: Bench) -> None:
        bench.push_service.clear_faults()
        bench.push_service.script(None, fault)

    return disturb


def _flap(bench: Bench) -> None:
    bench.push_service.clear_faults()
    if int(time.monotonic()) % 2:
        bench.push_service.script(None, Fault(status=500, times=None))


SERVICES = (
    Service("slow", _always(Fault(status=None, delay=2, times=None))),
    Service("hung", _always(Fault(status=500, delay=60, times=None))),
    Service("flapping", _flap),
)


def push_services(bench: Bench) -> Finding:
    """Send one-time passwords to a healthy push service while another one is slow, hangs or flaps."""
    finding = Finding("one-time passwords beside a slow, a hung and a flapping service")
    count = 5 if bench.small else 20
    with _second_service(bench, 1) as (reader,):
        subscription = get_subscription_model().objects.get(endpoint=reader.endpoint)
        for service in SERVICES:
            _heal(bench)
            service.disturb(bench)
            bench.send(200 if bench.small else 2_000, urgency="low")
            bench.rows.filter(subscription=subscription).delete()
            # as in production, but a shorter time-out
            transport = {"BACKEND": "auto", "OPTIONS": {"timeout": 10}}
            worker = bench.start(kit={"LEASE_SECONDS": 60, "CHUNK_SIZE": 500, "TRANSPORT": transport})
            bench.wait_until(lambda: bench.rows.exclude(status="pending").exists())
            waits = []
            for _ in range(count):
                service.disturb(bench)
                waits.append(_password_seconds(bench, finding, subscription, service.name))
                time.sleep(0.3)
            bench.kill(worker)
            finding.figures[f"longest s, {service.name}"] = round(max(waits), 2)
            promised = BUSY_SECONDS if bench.small else SECONDS
            finding.expect(max(waits) < promised, f"{service.name}: a one-time password took {max(waits):.1f} s")
    _heal(bench)
    return finding


def _password_seconds(bench: Bench, finding: Finding, subscription: Any, name: str) -> float:
    started = time.monotonic()
    row = services.send(subscription, "1234", urgency="high", ttl=60).notifications.get()
    came = bench.wait_until(lambda: bench.rows.filter(pk=row.pk, status="sent").exists(), 30)
    finding.expect(came, f"{name}: a one-time password did not come within 30 s")
    return time.monotonic() - started


# what all of them use


class _Books:
    """Counts the rows of others: how many, how many were not sent, and how late the latest was."""

    def __init__(self) -> None:
        self._rows = self._lost = self._cases = 0
        self._latest = timedelta()

    def note(self, others: Any, finding: Finding, case: str) -> None:
        """Count the rows of those to whom nothing happened."""
        rows = list(others.values_list("status", "created_at", "sent_at"))
        lost = sum(status != "sent" for status, _created, _sent in rows)
        finding.expect(rows, f"{case}: nobody else was there")
        finding.expect(not lost, f"{case}: {lost} of {len(rows)} rows of others not sent")
        self._latest = max([self._latest, *(sent - created for _status, created, sent in rows if sent)])
        self._rows, self._lost, self._cases = self._rows + len(rows), self._lost + lost, self._cases + 1

    def close(self, bench: Bench, finding: Finding) -> None:
        """Write the sums."""
        seconds = self._latest.total_seconds()
        finding.figures |= {"rows": self._rows, "lost": self._lost, "cases": self._cases, "latest s": round(seconds, 2)}
        promised = BUSY_SECONDS if bench.small else SECONDS
        finding.expect(seconds < promised, f"somebody else's message was {seconds:.1f} s late")


@contextmanager
def _second_service(bench: Bench, browsers: int) -> Iterator[list[FakeBrowser]]:
    """Browsers at a healthy push service of its own."""
    with PushService(hostname="localhost") as service:
        made = [FakeBrowser(service, vapid_keyring().current.public_key) for _ in range(browsers)]
        for browser in made:
            browser.subscribe()
            services.subscribe(**browser.subscription_fields)
        try:
            yield made
        finally:
            bench.stop_workers()
            get_subscription_model().objects.filter(endpoint__startswith=service.origin).delete()


def _heal(bench: Bench) -> None:
    """Forget faults, breakers, rows and deactivations."""
    bench.push_service.clear_faults()
    bench.rows.all().delete()
    PushServiceState.objects.all().delete()
    get_subscription_model().objects.filter(is_active=False).update(
        is_active=True, deactivated_at=None, deactivation_reason="", created_at=timezone.now()
    )

"""Anybody else: one subscriber, one piece of the project's code or one push service fails, and others are counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model

from benchmarks.chaos import project
from benchmarks.chaos.bench import Bench
from benchmarks.chaos.neighbours import (
    BUSY_SECONDS,
    CULPRIT,
    SECONDS,
    WAIT_SECONDS,
    Books,
    changed_kit,
    heal,
    open_broadcasts,
    open_rows_of_others,
    others,
    second_service,
    warm_up,
)
from benchmarks.chaos.oddities import KINDS
from benchmarks.chaos.verdict import Finding
from django_webpush_kit import services
from django_webpush_kit.models import PushBroadcast, get_subscription_model, get_template_model
from django_webpush_kit.testing.fake_push_service import Fault

# code of the project that raises


def code(bench: Bench) -> Finding:
    """Let every place where code of the project is called raise every kind of exception, for one user."""
    finding = Finding("code of the project raises, everywhere and everything")
    culprit = get_user_model().objects.create_user(CULPRIT)
    first = get_subscription_model().objects.order_by("pk").first()
    get_subscription_model().objects.filter(pk=first.pk).update(user=culprit)
    get_template_model().objects.create(type="news", title_template="News {{ recipient.first_name|default:'' }}")
    get_template_model().objects.create(type="other", title_template="Other")
    books = Books()
    with changed_kit(AUDIENCES={"some": f"{project.__name__}.audience"}) as kit:
        for place in project.PLACES:
            bench.start(project.deliver_beside, place, kit=kit)
            warm_up(bench)
            for _kind in KINDS[:: 4 if bench.small else 1]:
                bench.send(len(bench.browsers))
                services.broadcast("other", "some", urgency="high")
                services.broadcast("news")
                services.broadcast("other")
                bench.wait_until(lambda: not open_broadcasts() and not open_rows_of_others(), WAIT_SECONDS)
                books.note(others(), finding, place)
                expected = project.MESSAGES.get(place, 4)
                rounds = others().count() / (len(bench.browsers) - 1)
                finding.expect(rounds == expected, f"{place}: others got {rounds} messages each, not {expected}")
                PushBroadcast.objects.all().delete()
                bench.rows.all().delete()
            bench.stop_workers()
    get_template_model().objects.all().delete()
    get_subscription_model().objects.update(user=None)
    culprit.delete()
    books.close(bench, finding)
    return finding


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
    "200": Fault(status=200, times=None),
    "301": Fault(status=301, headers={"Location": "http://127.0.0.1:1/"}, times=None),
    "400": Fault(status=400, times=None),
    "406, X-WNS-Continue-After an hour": Fault(status=406, headers={"X-WNS-Continue-After": "3600"}, times=None),
    "429, Retry-After unreadable": Fault(status=429, headers={"Retry-After": "soon, I hope"}, times=None),
    "502": Fault(status=502, times=None),
    "500, half a reply": Fault(status=500, half_reply=True, times=None),
}


def answers(bench: Bench) -> Finding:
    """Let one, three and all subscriptions of a push service get each kind of answer, beside another service."""
    finding = Finding("one, three and all subscriptions get every kind of answer")
    books = Books()
    names = list(ANSWERS)[:: 4 if bench.small else 1]
    with second_service(bench, 5) as second:
        bench.start()
        warm_up(bench)
        for name in names:
            for count in (1, 3, len(bench.browsers)):
                heal(bench)
                for browser in bench.browsers[:count]:
                    bench.push_service.script(browser.endpoint, ANSWERS[name])
                bench.send(len(bench.browsers))
                endpoints = [browser.endpoint for browser in second]
                if count == 1:
                    endpoints += [browser.endpoint for browser in bench.browsers[1:]]
                neighbours = bench.rows.filter(subscription__endpoint__in=endpoints)
                unsent = neighbours.exclude(status="sent")
                bench.wait_until(lambda unsent=unsent: not unsent.exists(), WAIT_SECONDS)
                books.note(neighbours, finding, f"{name} for {count}")
    books.close(bench, finding)
    return finding


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
    with second_service(bench, 1) as (reader,):
        subscription = get_subscription_model().objects.get(endpoint=reader.endpoint)
        for service in SERVICES:
            heal(bench)
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
                time.sleep(0.3)  # the next password comes while the disturbance lasts
            bench.kill(worker)
            finding.figures[f"longest s, {service.name}"] = round(max(waits), 2)
            promised = BUSY_SECONDS if bench.small else SECONDS
            finding.expect(max(waits) < promised, f"{service.name}: a one-time password took {max(waits):.1f} s")
    heal(bench)
    return finding


def _password_seconds(bench: Bench, finding: Finding, subscription: Any, name: str) -> float:
    started = time.monotonic()
    row = services.send(subscription, "1234", urgency="high", ttl=60).notifications.get()
    came = bench.wait_until(lambda: bench.rows.filter(pk=row.pk, status="sent").exists(), 30)
    finding.expect(came, f"{name}: a one-time password did not come within 30 s")
    return time.monotonic() - started

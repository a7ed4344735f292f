"""Recipients and messages that wait for later, beside those that may be sent now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from itertools import permutations
from typing import Any, NamedTuple

from benchmarks.chaos.bench import Bench
from benchmarks.chaos.neighbours import WAIT_SECONDS, Books, changed_kit, heal, warm_up
from benchmarks.chaos.urgent import add_subscribers
from benchmarks.chaos.verdict import Finding
from django_webpush_kit import services
from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.delivery import manual_pause
from django_webpush_kit.models import (
    PushBroadcast,
    PushServiceState,
    get_subscription_model,
    get_template_model,
)
from django_webpush_kit.protocol.endpoints import push_service
from django_webpush_kit.testing.fake_push_service import Fault

AHEAD = 100
HOURS = (0, 1, 24, 168)
KIT = {"BROADCAST_AHEAD": AHEAD, "CHUNK_SIZE": 100, "LEASE_SECONDS": 60}

ASLEEP = "http://localhost:9/"
"""Where the endpoints of those who wait are: nobody listens there."""

SERVICE = push_service(ASLEEP)


class Sleepers(NamedTuple):
    """Why recipients get nothing now: what their subscriptions have, what is done, and options of the broadcast."""

    name: str
    columns: Callable[[], dict[str, Any]] = dict
    arrange: Callable[[], None] = lambda: None
    options: Callable[[], dict[str, Any]] = dict
    kit: dict[str, Any] = {}


def _quiet() -> dict[str, Any]:
    now = datetime.now(timezone.utc)
    start, end = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (-1, 2))
    return {"preferences": {"quiet_hours": {"enabled": True, "start": start, "end": end, "timezone": "UTC"}}}


def _local() -> dict[str, Any]:
    """Everybody's wall clock has passed this moment but that of the sleepers, who live west of the others."""
    return {"scheduled_local": (datetime.now(timezone.utc) - timedelta(minutes=5)).replace(tzinfo=None)}


def _open_breaker() -> None:
    until = datetime.now(timezone.utc) + timedelta(minutes=5)
    key = vapid_keyring().current.key_id
    PushServiceState.objects.create(
        push_service=SERVICE, vapid_key_id=key, paused_until=until, reason="outage", failures=5
    )


KINDS = (
    Sleepers("quiet hours", _quiet),
    Sleepers("scheduled_local, in the west", lambda: {"timezone": "Pacific/Pago_Pago"}, options=_local),
    Sleepers("a service paused by hand", arrange=lambda: manual_pause.pause(SERVICE)),
    Sleepers("a service with an open breaker", arrange=_open_breaker),
    Sleepers("a service with a low rate", kit={"SEND_RATES": {SERVICE: "1/m"}}),
)


def sleepers(bench: Bench) -> Finding:
    """Broadcast to many recipients who wait, before those who need not: these get it at once."""
    finding = Finding("recipients of a broadcast who wait, many times BROADCAST_AHEAD")
    count = AHEAD * (3 if bench.small else 20)
    get_template_model().objects.create(type="news", title_template="News")
    books = Books()
    for kind in KINDS:
        kind.arrange()
        with _asleep(bench, count, kind.columns()) as awake:
            worker = bench.start(kit={**KIT, **kind.kit})
            warm_up(bench)
            news = services.broadcast("news", ttl=86_400 * 7, **kind.options())
            mine = bench.rows.filter(batch=news.batch, subscription__in=awake)
            sent = mine.filter(status="sent")
            expected = len(awake)
            bench.wait_until(lambda sent=sent, expected=expected: sent.count() == expected, WAIT_SECONDS)
            finding.expect(mine.count() == expected, f"{kind.name}: {mine.count()} of {expected} rows written")
            books.note(mine, finding, kind.name, since=news.created_at)
            early = bench.rows.filter(status="sent", subscription__endpoint__startswith=ASLEEP).count()
            finding.expect(early <= 1, f"{kind.name}: {early} messages to those who wait")
            bench.kill(worker)
            PushBroadcast.objects.all().delete()
            heal(bench)
    get_template_model().objects.all().delete()
    finding.figures |= {"who wait": count}
    books.close(bench, finding)
    return finding


@contextmanager
def _asleep(bench: Bench, count: int, columns: dict[str, Any]) -> Iterator[list[Any]]:
    """Subscriptions that wait, with lower primary keys than those of the bench's browsers, who subscribe anew."""
    model = get_subscription_model()
    keys = model.objects.values("p256dh_key", "auth_key", "vapid_key_id").first()
    model.objects.all().delete()
    rows = (model(endpoint=f"{ASLEEP}{number}", **keys, **columns) for number in range(count))
    model.objects.bulk_create(rows, batch_size=500)
    for browser in bench.browsers:
        services.subscribe(**browser.subscription_fields, timezone="UTC")
    neighbours = model.objects.exclude(endpoint__startswith=ASLEEP)
    yield list(neighbours.values_list("pk", flat=True))
    bench.rows.all().delete()
    model.objects.filter(endpoint__startswith=ASLEEP).delete()


def turns(bench: Bench) -> Finding:
    """Start an urgent broadcast to one subscriber behind one of low urgency to many, with one worker."""
    finding = Finding("an urgent broadcast behind a large one of low urgency")
    rounds = 2 if bench.small else 5
    get_template_model().objects.create(type="news", title_template="News")
    books = Books()
    bench.push_service.script(None, Fault(status=201, times=None))
    first = get_subscription_model().objects.order_by("pk").first()
    get_subscription_model().objects.filter(pk=first.pk).update(language="de")
    with changed_kit(AUDIENCES={"one": f"{__name__}.one"}) as kit:
        add_subscribers(bench, 5_000 if bench.small else 30_000)
        low = services.broadcast("news", urgency="low")
        as_usual = {"LEASE_SECONDS": 60, "CHUNK_SIZE": 500, "TRANSPORT": "auto", "BROADCAST_AHEAD": 1_000}
        bench.start(kit={**kit, **as_usual})
        bench.wait_until(lambda: bench.rows.filter(status="sent").exists())
        for number in range(rounds):
            high = services.broadcast("news", "one", urgency="high")
            mine = bench.rows.filter(batch=high.batch)
            bench.wait_until(lambda mine=mine: mine.filter(status="sent").exists(), WAIT_SECONDS)
            books.note(mine, finding, f"urgent broadcast {number + 1}", since=high.created_at)
        low.refresh_from_db()
        finding.expect(low.status == "running", f"the large broadcast was {low.status}: nothing was tried")
        finding.figures |= {"subscribers": low.total, "fanned out": low.queued}
        bench.stop_workers()
    bench.push_service.clear_faults()
    PushBroadcast.objects.all().delete()
    get_template_model().objects.all().delete()
    books.close(bench, finding)
    return finding


def one() -> Any:
    """An audience of one subscription."""
    return get_subscription_model().objects.filter(language="de")


def topics(bench: Bench) -> Finding:
    """Send messages with one topic, for now and for later, in every order: each replaces what would wait beside it."""
    finding = Finding("messages with one topic, for now and for later, in every order")
    books = Books()
    bench.start()
    warm_up(bench)
    subscriptions = get_subscription_model().objects.order_by("pk")
    for order in list(permutations(HOURS))[:: 5 if bench.small else 1]:
        now = datetime.now(timezone.utc)
        batches, kept = {}, []
        for hours in order:
            due = now + timedelta(hours=hours) if hours else None
            batches[hours] = services.send(subscriptions, "Score", topic="score", scheduled_for=due).batch
            kept = [other for other in kept if other < hours] + [hours]
        case = f"in the order of {', '.join(map(str, order))} hours"
        now_due = bench.rows.filter(batch=batches[0])
        unsent = now_due.exclude(status="sent")
        bench.wait_until(lambda unsent=unsent: not unsent.exists(), WAIT_SECONDS)
        books.note(now_due, finding, case)
        for hours in HOURS[1:]:
            wanted = "pending" if hours in kept else "cancelled"
            count = bench.rows.filter(batch=batches[hours], status=wanted).count()
            finding.expect(count == len(bench.browsers), f"{case}: {count} of those in {hours} hours are {wanted}")
        bench.rows.all().delete()
    bench.stop_workers()
    books.close(bench, finding)
    return finding

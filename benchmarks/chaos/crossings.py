"""What people do at the same moment: erase, cancel, pause, choose preferences, while others send."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, connections
from django.test import Client
from django.utils import timezone

from benchmarks.chaos.bench import Bench
from benchmarks.chaos.neighbours import CULPRIT, WAIT_SECONDS, Books, changed_kit, others, wait_for_worker, warm_up
from benchmarks.chaos.verdict import Finding
from django_webpush_kit import services
from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.database import retry_on_conflict
from django_webpush_kit.exceptions import WebPushKitError
from django_webpush_kit.models import IdempotencyKey, PushBroadcast, get_subscription_model, get_template_model
from django_webpush_kit.protocol.endpoints import endpoint_hash
from django_webpush_kit.testing import FakeBrowser

API = "/api/v1/push"

Act = Callable[[int], object]


class Crowd:
    """Threads that do something again and again until they are told to stop; what they raise is noted."""

    def __init__(self, *acts: Act) -> None:
        self.errors: list[str] = []
        self.times = [0] * len(acts)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number, act), daemon=True) for number, act in enumerate(acts)
        ]

    def __enter__(self) -> Crowd:  # noqa: PYI034  # Self is not in Python 3.10
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int, act: Act) -> None:
        try:
            for turn in count():
                if self._stopping.is_set():
                    break
                try:
                    act(turn)
                except Exception as error:  # noqa: BLE001  # noted: the bench goes on
                    self.errors.append(f"{type(error).__name__}: {error}"[:200])
                self.times[number] = turn + 1
        finally:
            connections.close_all()


def _seconds(bench: Bench) -> float:
    return 1.5 if bench.small else 6.0


def _expect_no_errors(finding: Finding, crowd: Crowd) -> None:
    kinds = sorted(set(crowd.errors))
    finding.expect(not crowd.errors, f"{len(crowd.errors)} calls raised: {kinds[:3]}")


def erasing(bench: Bench) -> Finding:
    """Erase and delete users while others send to them, to everybody, and broadcast: nothing of them is left."""
    finding = Finding("users erased and deleted beside sends and broadcasts to them")
    get_template_model().objects.create(type="news", title_template="News {{ recipient.first_name|default:'' }}")
    users = [get_user_model().objects.create_user(f"leaver-{number}") for number in range(3)]
    neighbours = list(get_subscription_model().objects.values_list("pk", flat=True))
    browsers = [_new_browser(bench) for _ in range(len(users) + 1)]

    def arrive(turn: int) -> None:
        number = turn % len(users)
        services.subscribe(**browsers[number].subscription_fields, user=users[number])
        time.sleep(0.05)  # SQLite has one lock for all writers, and no queue before it

    def send(_turn: int) -> None:
        services.send(users, "For those who leave", urgency="low")
        services.send(get_subscription_model().objects.filter(pk__in=neighbours), "For others")
        time.sleep(0.05)  # a steady stream, not a flood

    def erase(turn: int) -> None:
        services.erase_user(users[turn % len(users)])
        time.sleep(0.05)  # a user's rows are written before they are erased

    def come_and_go(turn: int) -> None:
        user = get_user_model().objects.create_user(f"guest-{turn}")
        services.subscribe(**browsers[-1].subscription_fields, user=user)
        time.sleep(0.05)  # others get a turn with the database
        while True:
            with suppress(IntegrityError):  # a row was written meanwhile: the project's own statement has to begin anew
                retry_on_conflict(user.delete)
                break

    def broadcast(_turn: int) -> None:
        services.broadcast("news")
        time.sleep(0.3)  # a few broadcasts at a time

    bench.start()
    warm_up(bench)
    with Crowd(arrive, send, erase, broadcast, come_and_go) as crowd:
        time.sleep(_seconds(bench))  # the crowd acts meanwhile
    _expect_no_errors(finding, crowd)
    mine = others().filter(subscription__in=neighbours)
    running = PushBroadcast.objects.filter(status__in=("pending", "running"))
    unsent = mine.exclude(status="sent")
    bench.wait_until(lambda: not unsent.exists() and not running.exists(), WAIT_SECONDS)
    books = Books()
    books.note(mine, finding, "sends and broadcasts")
    for user in users:
        services.erase_user(user)
    left = bench.rows.filter(user__in=users).count() + get_subscription_model().objects.filter(user__in=users).count()
    finding.expect(not left, f"{left} rows of erased users are left")
    stopped = PushBroadcast.objects.exclude(status="completed").count()
    finding.expect(not stopped, f"{stopped} broadcasts did not complete")
    expected = crowd.times[1] + crowd.times[3]
    got = mine.count() / len(neighbours)
    finding.expect(got == expected, f"others have {got} rows each, not {expected}")
    bench.stop_workers()
    for name, times in zip(("sends", "erasures", "broadcasts", "deletions"), crowd.times[1:], strict=True):
        finding.figures[name] = times
    books.close(bench, finding)
    PushBroadcast.objects.all().delete()
    get_template_model().objects.all().delete()
    bench.rows.all().delete()
    for user in users:
        user.delete()
    return finding


def _new_browser(bench: Bench) -> FakeBrowser:
    browser = FakeBrowser(bench.push_service, vapid_keyring().current.public_key)
    browser.subscribe()
    return browser


KEYS = ("order-1", "Größe 😀", " order-1 ", "ORDER-1", "x" * 200)
REFUSED_KEYS = ("", "x" * 5_000, "\ud800", 7)


def keys(bench: Bench) -> Finding:
    """Send and cancel with the same idempotency keys at once: at most one batch of a key is left, and it is sent."""
    finding = Finding("sends beside cancels of the same idempotency key")
    subscriptions = get_subscription_model().objects.order_by("pk")

    def send(turn: int) -> None:
        number = turn % len(KEYS)
        services.send(subscriptions, str(number), idempotency_key=KEYS[number])

    def cancel(turn: int) -> None:
        services.cancel(idempotency_key=KEYS[turn % len(KEYS)])
        time.sleep(0.01)  # some keys are in use when they are cancelled

    for key in REFUSED_KEYS:
        for call in (partial(services.send, subscriptions, "x"), services.cancel):
            _expect_refusal(finding, partial(call, idempotency_key=key), f"the key {str(key)[:20]!r}")
    with Crowd(send, send, cancel) as crowd:
        time.sleep(_seconds(bench))  # the crowd acts meanwhile
    _expect_no_errors(finding, crowd)
    pending = bench.rows.filter(status="pending")
    for number in range(len(KEYS)):
        batches = pending.filter(title=str(number)).order_by().values("batch").distinct().count()
        finding.expect(batches <= 1, f"the key {KEYS[number]!r} has {batches} batches")
    kept = set(pending.values_list("pk", flat=True))
    bench.start()
    bench.send(len(bench.browsers))
    bench.settle(finding)
    sent = set(bench.rows.filter(status="sent").exclude(title="Message 0").values_list("pk", flat=True))
    finding.expect(sent == kept, f"{len(kept - sent)} kept rows not sent, {len(sent - kept)} cancelled rows sent")
    books = Books()
    books.note(bench.rows.filter(title="Message 0"), finding, "keys")
    bench.stop_workers()
    finding.figures |= {"sends": sum(crowd.times[:2]), "cancels": crowd.times[2]}
    IdempotencyKey.objects.all().delete()
    books.close(bench, finding)
    return finding


def _expect_refusal(finding: Finding, call: Callable[[], object], name: str) -> None:
    """Expect a clear error that names what is wrong."""
    try:
        call()
    except (WebPushKitError, TypeError):
        return
    except Exception as error:  # noqa: BLE001  # told
        finding.broken.append(f"{name} raised {type(error).__name__}")
        return
    finding.broken.append(f"{name} was taken")


def pausing(bench: Bench) -> Finding:
    """Pause broadcasts at any moment of their fan-out: what is paused writes nothing until it is resumed."""
    finding = Finding("broadcasts paused at any moment of their start")
    rounds = 6 if bench.small else 40
    get_template_model().objects.create(type="news", title_template="News")
    everybody = list(get_subscription_model().objects.values_list("pk", flat=True))
    books, paused, late = Books(), 0, 0
    bench.start()
    bench.start()
    wait_for_worker(bench)
    for _ in range(rounds):
        news = services.broadcast("news")
        mine = bench.rows.filter(batch=news.batch)
        time.sleep(bench.random.uniform(0, 0.25))  # at any moment of the fan-out
        if services.pause_broadcast(news):
            paused += 1
            written = mine.count()
            time.sleep(0.3)  # long enough for a page to be written in spite of the pause
            late += mine.count() - written
            news.refresh_from_db()
            finding.expect(news.status == "paused", f"a paused broadcast is {news.status}")
            resumed_at = timezone.now()
            services.resume_broadcast(news)
        else:
            resumed_at = news.created_at
        sent = mine.filter(status="sent")
        bench.wait_until(lambda sent=sent: sent.count() == len(everybody), WAIT_SECONDS)
        books.note(mine, finding, "a resumed broadcast", since=resumed_at)
        finding.expect(mine.count() == len(everybody), f"{mine.count()} rows of a resumed broadcast")
    bench.stop_workers()
    finding.expect(paused, "no broadcast could be paused: nothing was tried")
    finding.expect(not late, f"{late} rows were written by paused broadcasts")
    finding.figures |= {"paused": paused, "of": rounds}
    PushBroadcast.objects.all().delete()
    get_template_model().objects.all().delete()
    bench.judge(finding)
    books.close(bench, finding)
    return finding


def preferences(bench: Bench) -> Finding:
    """Save preferences over HTTP while the same browsers unsubscribe, subscribe and get new endpoints."""
    finding = Finding("preferences saved while the browser unsubscribes or renews its endpoint")
    user = get_user_model().objects.create_user(CULPRIT)
    browsers = [_new_browser(bench) for _ in range(3)]
    endpoints = [browser.endpoint for browser in browsers]
    statuses: Counter[int] = Counter()

    def call(method: str, path: str, body: dict[str, Any]) -> None:
        client = Client(headers={"X-User": CULPRIT}, raise_request_exception=False)
        answer = client.generic(method, f"{API}/{path}", json.dumps(body), content_type="application/json")
        statuses[answer.status_code] += 1

    def save(turn: int) -> None:
        wanted = {"categories": {"news": bool(turn % 2)}}
        body = {"endpoint": endpoints[turn % len(endpoints)], "preferences": wanted}
        call("PUT", "preferences", body)

    def leave(turn: int) -> None:
        call("POST", "unsubscribe", {"endpoint": endpoints[turn % len(endpoints)]})
        time.sleep(0.02)  # most requests find their subscription active

    def renew(turn: int) -> None:
        number = turn % len(browsers)
        browser, old = browsers[number], endpoints[number]
        if turn % 5:
            browser.resubscribe()
        endpoints[number] = browser.endpoint
        call("POST", "subscribe", {"subscription": browser.subscription, "old_endpoint": old})

    authenticators = [f"{__name__}.by_header"]
    with changed_kit(AUTHENTICATORS=authenticators, RATE_LIMITS={}):
        bench.start()
        warm_up(bench)
        with Crowd(save, save, leave, renew) as crowd:
            end = time.monotonic() + _seconds(bench)
            while time.monotonic() < end:
                services.send(get_subscription_model().objects.filter(user=None), "For others")
                time.sleep(0.1)  # ten messages a second
    _expect_no_errors(finding, crowd)
    failed = {status: times for status, times in statuses.items() if status >= 500}
    finding.expect(not failed, f"requests were answered with {failed}")
    finding.expect(statuses[200] and statuses[404], f"only {dict(statuses)}: nothing was tried")
    mine = others()
    bench.wait_until(lambda: not mine.exclude(status="sent").exists(), WAIT_SECONDS)
    for row in get_subscription_model().objects.filter(user=user):
        finding.expect(row.endpoint_hash == endpoint_hash(row.endpoint), "a stored hash is not that of its endpoint")
    books = Books()
    books.note(mine, finding, "requests")
    bench.stop_workers()
    finding.figures |= {f"answers {status}": times for status, times in sorted(statuses.items())}
    books.close(bench, finding)
    bench.rows.all().delete()
    user.delete()
    return finding


def by_header(request: Any) -> Any:
    """An authenticator of the bench: the user whom a header names."""
    return get_user_model().objects.filter(username=request.headers.get("X-User", "")).first()

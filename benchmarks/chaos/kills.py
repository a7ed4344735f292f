"""`kill -9`: processes die at random moments, with rows half written, claimed, in flight or not yet recorded."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from itertools import count
from typing import Any

from django.db import transaction

from benchmarks.chaos import workers
from benchmarks.chaos.bench import Bench, latency
from benchmarks.chaos.settings import CHUNK_SIZE, MAX_IN_FLIGHT
from benchmarks.chaos.verdict import Finding
from django_webpush_kit import services
from django_webpush_kit.delivery import fan_out as broadcast
from django_webpush_kit.delivery.outcomes import FLUSH_ROWS
from django_webpush_kit.models import PushBroadcast, get_subscription_model, get_template_model
from django_webpush_kit.task_backends import QueueBackend, get_task_backend

WEDGED_SECONDS = 10.0

START_SECONDS = 60.0
"""So long the programs of a queue may take to start on a busy machine: killed earlier, they have nothing in hand."""

SENDS_IN_A_TRANSACTION = 25

UNRECORDED_ROWS = min(FLUSH_ROWS, CHUNK_SIZE) + MAX_IN_FLIGHT
"""What a worker may have sent and not yet recorded: answers that wait to be written, and requests."""


def kill_loops(bench: Bench) -> Finding:
    """Kill `deliver_push --loop` processes, three at a time, while rows keep coming."""
    finding = Finding("kill -9 of deliver_push --loop")
    wanted = 6 if bench.small else 120
    with latency(bench.push_service, 0.02):
        bench.send(300)
        for _ in range(3):
            bench.start()
        for _ in range(wanted):
            time.sleep(bench.random.uniform(0.02, 0.5))  # at any moment of a chunk
            bench.kill(bench.random.choice(bench.workers))
            bench.start()
            if bench.open_rows() < 300:
                bench.send(100)
        bench.settle(finding)
    bench.stop_workers()
    finding.figures |= {"kills": wanted}
    bench.judge(finding)
    _expect_few_repeats(finding, wanted * UNRECORDED_ROWS)
    return finding


def kill_writers(bench: Bench) -> Finding:
    """Kill processes inside a transaction that writes hundreds of rows: each is there whole, or not at all."""
    finding = Finding("kill -9 while rows are written")
    wanted = 4 if bench.small else 20
    for number in range(wanted):
        writer = bench.start(write_for_ever, f"w{number}")
        bench.wait_until(writer.log.exists)
        time.sleep(bench.random.uniform(0.05, 2.5))  # in its first or a later transaction
        bench.kill(writer)
    sizes = Counter(bench.rows.values_list("type", flat=True))
    whole = SENDS_IN_A_TRANSACTION * len(bench.browsers)
    torn = {name: size for name, size in sizes.items() if size != whole}
    finding.expect(not torn, f"transactions written in part: {torn}")
    bench.rows.exclude(type__in=list(sizes)[:2]).delete()  # enough to see that what is written is sent
    bench.start(workers.deliver_until_nothing_is_due).wait()
    bench.settle(finding)
    finding.figures |= {"kills": wanted, "transactions": len(sizes), "torn": len(torn)}
    bench.judge(finding)
    return finding


def kill_fan_outs(bench: Bench) -> Finding:
    """Kill workers while they fan a broadcast out: every subscription has one row in the end, none has two."""
    finding = Finding("kill -9 during the fan-out of broadcasts")
    wanted = 5 if bench.small else 30
    get_template_model().objects.create(type="news", title_template="News")
    unfinished = PushBroadcast.objects.filter(finished_at=None)
    caught, seen = 0, {None}
    bench.start(fan_out_for_ever)

    def new_lease() -> set[Any]:
        return set(unfinished.values_list("lease_token", flat=True)) - seen

    for _ in range(wanted):
        while unfinished.count() < 2:
            services.broadcast("news")
        bench.wait_until(new_lease)
        time.sleep(bench.random.uniform(0, 0.1))  # at any moment of a page
        bench.kill(bench.workers[0])
        leases = new_lease()
        caught += bool(leases)
        seen |= leases
        bench.start(fan_out_for_ever)
    done = bench.wait_until(lambda: not unfinished.exists())
    finding.expect(done, "a broadcast was not fanned out to its end")
    bench.start()
    bench.settle(finding)
    bench.stop_workers()
    finding.figures |= {"kills": wanted, "amid a fan-out": caught, "broadcasts": PushBroadcast.objects.count()}
    finding.expect(caught, "no kill hit a fan-out: nothing was tried")
    everybody = set(get_subscription_model().objects.values_list("pk", flat=True))
    for one in PushBroadcast.objects.all():
        reached = list(bench.rows.filter(batch=one.batch).values_list("subscription_id", flat=True))
        finding.expect(len(reached) == len(set(reached)), f"broadcast {one.pk} wrote rows twice")
        finding.expect(set(reached) == everybody, f"broadcast {one.pk} has gaps: {len(reached)} rows")
        finding.expect(one.queued == len(reached), f"broadcast {one.pk} counts {one.queued}, wrote {len(reached)}")
    bench.judge(finding)
    PushBroadcast.objects.all().delete()
    get_template_model().objects.all().delete()
    return finding


def kill_django_q(bench: Bench) -> Finding:
    """Kill a django-q2 cluster, or any one of its processes; flush its broker now and then."""
    return _kill_queue(bench, "django-q2", ["-m", "django", "qcluster"])


def kill_celery(bench: Bench) -> Finding:
    """Kill a Celery worker, or any one of its processes; flush its broker now and then."""
    application = "benchmarks.chaos.celery_app"
    command = ["-m", "celery", "-A", application, "worker", "-c", "2", "--loglevel=WARNING", "--without-mingle"]
    return _kill_queue(bench, "Celery", [*command, "-Q", os.environ["CHAOS_QUEUE"]])


def _kill_queue(bench: Bench, name: str, command: list[str]) -> Finding:
    """Rows come, wake-ups go out, a beat asks for the sweep every second; what dies is started again."""
    finding = Finding(f"kill -9 of {name} over {os.environ['CHAOS_BROKER']}")
    wanted = 4 if bench.small else 15
    beat = Beat(bench)
    groups = flushes = wedged = caught = 0
    is_new = True
    with latency(bench.push_service, 0.05):
        cluster = bench.run(*command)
        bench.send(200)
        for _ in range(wanted):
            before = _sent(bench)
            beat.until(lambda before=before: _sent(bench) > before + 20, START_SECONDS if is_new else WEDGED_SECONDS)
            has_moved = _sent(bench) > before
            finding.expect(has_moved or not is_new, f"{name} sent nothing for {START_SECONDS:.0f} s after its start")
            wedged += not has_moved
            caught += has_moved
            time.sleep(bench.random.uniform(0, 0.3))  # at any moment of a task
            children = cluster.children()
            if children and has_moved and bench.random.random() < 0.6:
                with suppress(ProcessLookupError):
                    os.kill(bench.random.choice(children), signal.SIGKILL)
                bench.note_in_hand()
                is_new = False
            else:
                bench.kill(cluster)
                groups += 1
                cluster = bench.run(*command)
                is_new = True
            if bench.random.random() < 0.2:
                flush_broker()
                flushes += 1
            if bench.open_rows() < 150:
                bench.send(100)
        bench.kill(cluster)  # what one killed child has wedged is not the question here
        cluster = bench.run(*command)
        finding.expect(beat.until(lambda: not bench.open_rows(), 90), f"{bench.open_rows()} rows still open")
    bench.stop_workers()
    flush_broker(remove=True)
    finding.figures |= {"kills": wanted + 1, "of whole groups": groups + 1, "flushes": flushes, "wedged": wedged}
    finding.expect(caught > wanted / 2, f"{caught} of {wanted} kills hit a queue at work: too little was tried")
    bench.judge(finding)
    _expect_few_repeats(finding, (wanted + 1) * 2 * UNRECORDED_ROWS)
    return finding


class Beat:
    """The queue's scheduler: asks for the sweep every second."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._next = 0.0

    def until(self, condition: Any, seconds: float) -> bool:
        """Tick until the condition holds; False when it does not within `seconds`."""

        def tick() -> bool:
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + 1.0
                backend = get_task_backend()
                if isinstance(backend, QueueBackend):
                    backend.enqueue()
            return bool(condition())

        return self._bench.wait_until(tick, seconds)


def flush_broker(*, remove: bool = False) -> None:
    """Throw every queued wake-up away; with `remove` the queue too."""
    if os.environ["CHAOS_TASKS"] == "django-q2":
        from django_q.brokers import get_broker

        get_broker().purge_queue()
        return
    from benchmarks.chaos.celery_app import app

    with app.connection_for_write() as connection:
        queue = app.amqp.queues[os.environ["CHAOS_QUEUE"]](connection.default_channel)
        if remove:
            queue.delete()
        else:
            queue.purge()


def write_for_ever(name: str) -> None:
    """Write hundreds of rows in one transaction, again and again; the rows of each carry a type of their own."""
    subscriptions = get_subscription_model().objects.order_by("pk")
    for number in count():
        with transaction.atomic():
            for _ in range(SENDS_IN_A_TRANSACTION):
                services.send(subscriptions, "Message", type=f"{name}-{number}")


def fan_out_for_ever() -> None:
    """What a worker does between two chunks, without the chunks; a dead worker's broadcast is free after a second."""
    broadcast.LEASE_SECONDS, broadcast.PAGE_SIZE = 1, 5
    while True:
        if not broadcast.fan_out():
            time.sleep(0.02)  # nothing to fan out at the moment


def _sent(bench: Bench) -> int:
    return int(bench.rows.filter(status="sent").count())


def _expect_few_repeats(finding: Finding, most: int) -> None:
    """Without what had no answer, or overran its lease on a busy machine, repeats come from kills alone."""
    figures = finding.figures
    repeats = figures["repeats"] - figures["unanswered"] - figures["overran"]
    finding.expect(repeats <= most, f"{repeats} repeats, {most} were in the hands of killed workers at most")

"""Two schedulers of a queue at once: both ask for the sweep, and each scheduled row is sent once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

from django.core.management import call_command
from django.utils import timezone

from benchmarks.chaos.bench import Bench, latency
from benchmarks.chaos.kills import flush_broker
from benchmarks.chaos.settings import MAX_IN_FLIGHT, SWEEP, WEBPUSH_KIT
from benchmarks.chaos.verdict import Finding
from benchmarks.chaos.workers import Worker

PATIENT = {
    **WEBPUSH_KIT,
    "LEASE_SECONDS": 120,
    "TRANSPORT": {"BACKEND": "auto", "OPTIONS": {"timeout": 30, "max_in_flight": MAX_IN_FLIGHT}},
}
"""Nobody dies here: a slow answer on a busy machine shall be no reason for a second request."""

DJANGO_Q_TICK_SECONDS = 30.0
"""A django-q2 cluster looks at its schedules this often; that cannot be set."""


def two_django_q_clusters(bench: Bench) -> Finding:
    """Start two clusters over the schedules that `push_schedule` installs; each asks for the sweep in every round."""
    from django_q.models import Schedule

    call_command("push_schedule", stdout=StringIO())
    schedules = Schedule.objects.all()
    command = ["-m", "django", "qcluster"]
    environment = {"CHAOS_KIT": json.dumps(PATIENT), "CHAOS_LOG_LEVEL": "INFO"}
    first = bench.run(*command, **environment)
    # out of step: of two that look at the same moment, always the same one may find the schedule
    is_running = bench.wait_until(lambda: "running" in first.log.read_text(errors="replace"))
    clusters = [first, bench.run(*command, **environment)]

    def nudge() -> None:
        """What a scheduler has taken is due again: the other one finds it too."""
        schedules.filter(next_run__gt=timezone.now()).update(next_run=timezone.now())

    try:
        finding = _two_schedulers(
            bench, "django-q2", clusters, "from schedule [webpush-kit: deliver due notifications]", nudge
        )
    finally:
        schedules.delete()
    finding.expect(is_running, "the first cluster did not start")
    return finding


def two_celery_beats(bench: Bench) -> Finding:
    """Start two beats with the documented schedule, at an interval of a second, and two workers."""
    celery = ["-m", "celery", "-A", "benchmarks.chaos.celery_app"]
    for number in range(2):
        name = f"{os.environ['CHAOS_QUEUE']}-{number}@%h"
        worker = ["worker", "-c", "2", "-n", name, "--loglevel=WARNING", "--without-mingle"]
        bench.run(*celery, *worker, "-Q", os.environ["CHAOS_QUEUE"], CHAOS_KIT=json.dumps(PATIENT))
    beats = [
        bench.run(*celery, "beat", "--loglevel=INFO", "--pidfile=", "-s", str(bench.folder / f"beat-{number}"))
        for number in range(2)
    ]
    return _two_schedulers(bench, "Celery", beats, f"Sending due task {SWEEP}", lambda: None)


def _two_schedulers(
    bench: Bench, name: str, schedulers: list[Worker], asked: str, nudge: Callable[[], None]
) -> Finding:
    """Rows fall due together; each round lasts until both schedulers have asked for the sweep and all is sent."""
    finding = Finding(f"two schedulers of {name} over {os.environ['CHAOS_BROKER']}")
    rounds = 1 if bench.small else 2

    def sweeps() -> list[int]:
        return [scheduler.log.read_text(errors="replace").count(asked) for scheduler in schedulers]

    with latency(bench.push_service, 0.03):
        for _ in range(rounds):
            due = timezone.now() + timedelta(seconds=3)
            bench.send(400, scheduled_for=due)
            time.sleep(max(0.0, (due - timezone.now()).total_seconds()))  # only rounds with rows that are due count
            before = sweeps()

            def both_have_swept(before: list[int] = before) -> bool:
                nudge()
                return all(now > then for now, then in zip(sweeps(), before, strict=True))

            swept = bench.wait_until(both_have_swept, 3 * DJANGO_Q_TICK_SECONDS)
            finding.expect(swept, f"a scheduler did not ask for the sweep: {sweeps()}")
            bench.settle(finding)
    bench.stop_workers()
    flush_broker(remove=True)
    early: Any = [row for row in bench.rows.filter(sent_at__isnull=False) if row.sent_at < row.scheduled_for]
    finding.expect(not early, f"{len(early)} rows were sent before their time")
    one, other = sweeps()
    finding.figures |= {"sweeps of one": one, "of the other": other}
    bench.judge(finding)
    finding.expect(not finding.figures["repeats"], "a row was sent twice although nothing was killed")
    return finding

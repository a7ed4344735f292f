"""Run faults on one database: `python -m benchmarks.chaos.one sqlite --small --only kill-loops --results FILE`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from django_webpush_kit.protocol.vapid import generate_vapid_keys


def main() -> int:
    """Make a database, try the faults, remove it; 1 when a promise broke."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos.one")
    parser.add_argument("database", choices=["sqlite", "postgresql", "mariadb"])
    parser.add_argument("--queue", default="", help='as in "django-q2 over redis"')
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", action="append", default=[], metavar="FAULT")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument(
        "--part", choices=["timed", "untimed"], help="only the faults that promise seconds, or the others"
    )
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    os.environ["TEST_DATABASE"] = options.database
    os.environ.setdefault("VAPID_PRIVATE_KEY", generate_vapid_keys()["private_key"])
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.chaos.settings"
    if options.queue:
        _choose_queue(options.queue)

    import django

    django.setup()
    if options.queue.startswith("celery"):
        import_module("benchmarks.chaos.celery_app")
    from django.db import connection

    from benchmarks.chaos import lapses

    name = connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    os.environ["TEST_DATABASE_NAME"] = name
    lapses.install()
    try:
        return _try_faults(options)
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)


def _choose_queue(queue: str) -> None:
    tasks, broker = queue.split(" over ")
    backend = {"django-q2": "DjangoQBackend", "celery": "CeleryBackend"}[tasks]
    os.environ |= {
        "CHAOS_TASKS": tasks,
        "CHAOS_BROKER": broker,
        "CHAOS_QUEUE": f"chaos-{os.getpid()}",
        "CHAOS_KIT": json.dumps({"TASK_BACKEND": f"django_webpush_kit.task_backends.{backend}"}),
    }


_PARTS = {True: "timed", False: "untimed"}


def _try_faults(options: argparse.Namespace) -> int:
    from benchmarks.chaos.bench import Bench
    from benchmarks.chaos.faults import FAULTS, is_asked, is_possible
    from benchmarks.chaos.verdict import Finding, Impossible

    place = f"{options.database}, {options.queue}" if options.queue else options.database
    print(f"{place}: seed {options.seed}", flush=True)
    is_broken = False
    for number, fault in enumerate(FAULTS):
        is_its_turn = options.part in (None, _PARTS[fault.is_timed]) and is_asked(fault, options.only)
        if not is_its_turn or not is_possible(fault, options.database, options.queue):
            continue
        started = time.monotonic()
        with (
            tempfile.TemporaryDirectory(prefix="chaos-") as folder,
            Bench(Path(folder), small=options.small, seed=options.seed, browsers=fault.browsers) as bench,
        ):
            try:
                finding = fault.attempt(bench)
            except Impossible as reason:
                finding = Finding(fault.name, impossible=str(reason))
            except Exception as error:  # noqa: BLE001  # the other faults are still to be tried
                traceback.print_exc()
                finding = Finding(fault.name, broken=[f"the bench itself failed: {error!r}"])
        finding.database = options.database
        finding.figures["s"] = round(time.monotonic() - started)
        figures = finding.impossible or ", ".join(f"{value} {name}" for name, value in finding.figures.items())
        word = "skipped" if finding.impossible else "BROKEN" if finding.broken else "ok "
        print(f"{word} {fault.name} ({place}): {figures}", flush=True)
        for promise in finding.broken:
            print(f"       {promise}", flush=True)
        if options.results:
            with options.results.open("a") as results:
                results.write(json.dumps({"place": [number, place], **asdict(finding)}) + "\n")
        is_broken = is_broken or bool(finding.broken)
    return int(is_broken)


if __name__ == "__main__":
    sys.exit(main())

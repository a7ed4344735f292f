"""Runs the parts of the bench and prints their tables as they are done."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.speed import tables
from benchmarks.speed.browsers import payload, subscription
from benchmarks.speed.measure import Measurement
from benchmarks.speed.sink import Sink, running_sink
from benchmarks.speed.tables import Contest
from django_webpush_kit.protocol.vapid import VapidKey

ROOT = Path(__file__).parents[2]
PARTS = ("compare", "scale", "workers")

PEERS = {
    "webpush": ("`webpush()` in a loop", 600, 60),
    "webpush-session": ("`webpush()`, one Session", 1500, 60),
    "django-webpush": ("django-webpush", 600, 60),
    "django-push-notifications": ("django-push-notifications", 600, 60),
    "webpush-async": ("`webpush_async`, 100 in flight", 4000, 3000),
    "webpush-rs": ("webpush-rs (Rust), 100 threads", 4000, 3000),
    "node": ("node web-push, 100 in flight", 4000, 3000),
}
"""Name: what the table says, and how many messages are sent without and with latency."""

TRANSPORTS = {"CurlTransport": 20_000, "PyWebPushTransport": 5000}
SCALES = (10_000, 100_000, 1_000_000)
WORKERS = (1, 2, 4)
WORKERS_ROWS = 20_000
ROUNDS = 3
"""How often the libraries are compared: a machine that others share is not as fast at every moment."""


class Bench:
    """Starts one process for each measurement, with a database of its own."""

    def __init__(self, folder: Path, sink: Sink, databases: list[str], share: float, rounds: int) -> None:
        self.folder = folder
        self.sink = sink
        self.databases = databases
        self.share = share
        self.rounds = rounds
        self.key = VapidKey.generate()
        self._raw_key = _raw(self.key)
        self._names = 0

    def count(self, messages: int) -> int:
        """So many messages, or fewer in a quick run."""
        return max(int(messages * self.share), 20)

    def compare(self) -> list[Contest]:
        """Every library on the same push service, in rounds of all of them; what counts is the median round."""
        return tables.medians([contest for _ in range(self.rounds) for contest in self._compare_once()])

    def _compare_once(self) -> list[Contest]:
        contests = []
        for latency, port in self.sink.ports.items():
            for name, (label, near, far) in PEERS.items():
                messages = self.count(far if latency else near)
                measurement = self._node(port, messages) if name == "node" else self._peer(name, port, messages)
                if measurement:
                    contests.append(self._tell(Contest(label, "", latency, measurement, name)))
            for database in self.databases:
                for transport, messages in TRANSPORTS.items():
                    with self.database(database) as environment:
                        environment["BENCH_TRANSPORT"] = transport
                        found = self.run("kit", "compare", port, self.count(messages), environment=environment)
                    contest = Contest(f"this library, {transport}", database, latency, Measurement(**found))
                    contests.append(self._tell(contest))
        return contests

    def scale(self, sizes: list[int]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Ever more recipients of one call."""
        for database in self.databases:
            for size in sizes:
                with self.database(database) as environment:
                    yield database, self.run("kit", "scale", self.sink.ports[0], size, environment=environment)

    def workers(self) -> Iterator[tuple[str, int, dict[str, float]]]:
        """One backlog for several workers."""
        for database in self.databases:
            for number in WORKERS:
                with self.database(database) as environment:
                    rows = self.count(WORKERS_ROWS)
                    self.run("kit", "fill", self.sink.ports[0], rows, environment=environment, has_result=False)
                    yield database, number, self._race(number, environment)

    def run(self, module: str, *arguments: object, environment: dict[str, str], has_result: bool = True) -> Any:
        """Run a process and return the JSON on its last line."""
        command = [sys.executable, "-m", f"benchmarks.speed.{module}", *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1]) if has_result else None

    @contextmanager
    def database(self, vendor: str) -> Iterator[dict[str, str]]:
        """An empty database of its own for a measurement; yields the environment of its processes."""
        self._names += 1
        environment = {
            **os.environ,
            "VAPID_PRIVATE_KEY": self._raw_key,
            "BENCH_CA": str(self.sink.ca_bundle),
            "REQUESTS_CA_BUNDLE": str(self.sink.ca_bundle),
            "BENCH_DATABASE": vendor,
        }
        if vendor == "sqlite":
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                yield {**environment, "BENCH_DATABASE_NAME": f"{folder}/bench.sqlite3"}
        else:
            name = f"webpush_kit_bench_{os.getpid()}_{self._names}"
            with _server() as server:
                server.execute(f"CREATE DATABASE {name}")
                try:
                    yield {**environment, "BENCH_DATABASE_NAME": name}
                finally:
                    server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _peer(self, name: str, port: int, messages: int) -> Measurement:
        with self.database("sqlite") as environment:
            return Measurement(**self.run("peers", name, port, messages, environment=environment))

    def _node(self, port: int, messages: int) -> Measurement | None:
        modules = Path(os.environ.get("BENCH_NODE_MODULES", ROOT / "benchmarks" / "node_modules"))
        if shutil.which("node") is None or not (modules / "web-push").is_dir():
            return None
        work = {
            "port": port,
            "messages": messages,
            "publicKey": self.key.public_key,
            "privateKey": self._raw_key,
            "subscriptions": [subscription(port, number) for number in range(200)],
            "payload": payload(),
        }
        done = subprocess.run(
            ["node", Path(__file__).parent / "peer.mjs"],
            env={
                **os.environ,
                "NODE_EXTRA_CA_CERTS": str(self.sink.ca_bundle),
                "BENCH_NODE_MODULES": str(modules),
                "BENCH_WORK": json.dumps(work),
            },
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return Measurement(**json.loads(done.stdout))

    def _race(self, number: int, environment: dict[str, str]) -> dict[str, float]:
        command = [sys.executable, "-m", "benchmarks.speed.kit", "worker"]
        racers = [
            subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(number)
        ]
        for racer in racers:
            assert racer.stdout
            racer.stdout.readline()
        for racer in racers:
            assert racer.stdin
            racer.stdin.write("go\n")
            racer.stdin.flush()
        results = [json.loads(racer.communicate()[0].splitlines()[-1]) for racer in racers]
        sent = sum(result["sent"] for result in results)
        seconds = max(result["ended"] for result in results) - min(result["started"] for result in results)
        return {
            "rate": sent / seconds,
            "microseconds": sum(result["processor"] for result in results) / sent * 1e6,
            "busy": sum(result["processor"] for result in results) / seconds,
        }

    def _tell(self, contest: Contest) -> Contest:
        sys.stderr.write(
            f"{contest.label} {contest.database} {contest.latency} ms: {contest.measurement.rate:,.0f}/s\n"
        )
        return contest


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a fifth of the messages, one round, up to 100,000 recipients"
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="run this part (repeatable)")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append", help="default: both")
    parser.add_argument("--sizes", type=int, nargs="+", help=f"recipients of the scale part, default {SCALES}")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nginx and the databases go too
    parts = options.only or PARTS
    databases = options.database or ["sqlite", *(["postgresql"] if _has_postgresql() else [])]
    sizes = options.sizes or (SCALES[:-1] if options.quick else SCALES)
    with tempfile.TemporaryDirectory(prefix="webpush-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's worker may run as another user
        with running_sink(folder) as sink:
            share, rounds = (0.2, 1) if options.quick else (1.0, ROUNDS)
            bench = Bench(folder, sink, databases, share, rounds)
            print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", flush=True)
            if "compare" in parts:
                print(tables.comparison(bench.compare()), flush=True)
            if "scale" in parts:
                print(tables.scale(list(bench.scale(list(sizes)))), flush=True)
            if "workers" in parts:
                print(tables.workers(list(bench.workers())), flush=True)


def _server() -> Any:
    import psycopg

    return psycopg.connect(
        host=os.environ.get("BENCH_POSTGRESQL_HOST", "127.0.0.1"),
        user=os.environ.get("BENCH_POSTGRESQL_USER", "postgres"),
        password=os.environ.get("BENCH_POSTGRESQL_PASSWORD", ""),
        dbname="postgres",
        connect_timeout=3,
        autocommit=True,
    )


def _has_postgresql() -> bool:
    try:
        import psycopg
    except ImportError:
        return False
    try:
        _server().close()
    except psycopg.OperationalError as error:
        sys.stderr.write(f"Without PostgreSQL: {error}\n")
        return False
    return True


def _raw(key: VapidKey) -> str:
    """The private key in the one form that every library here reads: 32 bytes as base64url."""
    import base64

    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private: Any = load_pem_private_key(key.pem().encode(), None)
    return base64.urlsafe_b64encode(private.private_numbers().private_value.to_bytes(32, "big")).rstrip(b"=").decode()


if __name__ == "__main__":
    main()

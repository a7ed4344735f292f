"""The bench of several machines at its smallest: network namespaces as hosts, with servers of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.hosts import machine

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "benchmarks.hosts", "--small"]

can_run = [
    pytest.mark.services,
    pytest.mark.slow,
    pytest.mark.skipif(os.environ.get("TEST_DATABASE", "sqlite") != "sqlite", reason="it has a database of its own"),
]


@pytest.fixture
def environment():
    missing = machine.missing()
    if missing:
        pytest.skip(f"needs {missing}")
    measuring = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
    return {name: value for name, value in os.environ.items() if name not in measuring}


@pytest.mark.parametrize("line", ["host-lost", "partition", "database-restart"])
@pytest.mark.usefixtures("environment")
class TestLines:
    pytestmark = can_run

    def test_nothing_is_lost(self, environment, line):
        done = subprocess.run(
            [*COMMAND, "--only", line],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-5000:]
        assert done.stdout.endswith("Nothing was lost.\n")


class TestEnd:
    pytestmark = can_run

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_nothing_stays_behind_when_it_is_interrupted(self, environment, number):
        with subprocess.Popen(COMMAND, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
            name = f"wpk{process.pid}"
            wait_until(lambda: any("postgres" in line for line in programs_in(f"{name}-database")), process)
            process.send_signal(number)
            process.send_signal(number)
            printed = process.communicate(timeout=120)[1]
        assert process.returncode == (130 if number == signal.SIGINT else 1)
        assert "Traceback" not in printed
        assert name not in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
        assert name not in subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout


def programs_in(namespace):
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False).stdout
    return [path.read_text() for number in listed.split() if (path := Path(f"/proc/{number}/comm")).exists()]


def wait_until(condition, process, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)


def test_without_root_the_bench_says_so(monkeypatch):
    monkeypatch.setattr(machine.os, "geteuid", lambda: 1000)
    assert machine.missing() == "root, for network namespaces"

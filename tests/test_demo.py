"""The demo and the example site, run as the user runs them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("django_q")

EXAMPLE = Path(__file__).resolve().parent.parent / "example_project"


def environment(folder: Path) -> dict[str, str]:
    """Nothing of the test suite's own settings, and a mark on every process that the command starts."""
    kept = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return {**kept, "TMPDIR": str(folder), "STUDIO_DATA": str(folder / "data"), "PYTHONWARNINGS": "error"}


def start(folder: Path, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command],
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def started_by(folder: Path) -> dict[int, str]:
    """Living processes that carry the mark, which is the test's own temporary folder: id and command line."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            marked = str(folder).encode() in (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended, or is not ours
            continue
        if marked and command:
            found[int(process.name)] = command
    return found


linux_only = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")


@pytest.mark.thorough
def test_the_example_passes_its_own_tests_and_checks(tmp_path):
    key = ["generate_vapid_keys", "--format=pem", f"--output={tmp_path / 'data' / 'vapid.pem'}"]
    for command in (key, ["test", "studio"], ["makemigrations", "--check"], ["check", "--fail-level=WARNING"]):
        run = subprocess.run(
            [sys.executable, str(EXAMPLE / "manage.py"), *command],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr


@linux_only
@pytest.mark.slow
def test_the_demo_ends_by_itself_and_cleans_up(tmp_path):
    demo = start(tmp_path, str(EXAMPLE / "demo.py"))
    output, _ = demo.communicate(timeout=300)
    assert demo.returncode == 0, output
    assert "\x1b" not in output
    for words in ("500 Internal Server Error", "Old phone: deactivated", "Zoë's confirmation, at the second try"):
        assert words in output
    assert started_by(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@linux_only
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_cleans_up(tmp_path, number):
    demo = start(tmp_path, str(EXAMPLE / "demo.py"))
    assert demo.stdout is not None
    for line in demo.stdout:
        if "Käthe books pottery" in line:
            break
    assert any("qcluster" in command for command in started_by(tmp_path).values())
    # as a terminal does: the whole group of the foreground job, and an impatient second time
    os.killpg(demo.pid, number)
    time.sleep(0.2)
    os.killpg(demo.pid, number)
    output, _ = demo.communicate(timeout=120)
    assert demo.returncode == 130, output
    assert "Interrupted" in output
    assert started_by(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@linux_only
@pytest.mark.slow
def test_a_demo_without_its_cluster_fails(tmp_path):
    demo = start(tmp_path, str(EXAMPLE / "demo.py"))
    assert demo.stdout is not None
    for line in demo.stdout:
        if "Käthe: laptop" in line:
            break
    cluster = next(number for number, command in started_by(tmp_path).items() if "qcluster" in command)
    os.killpg(os.getpgid(cluster), signal.SIGKILL)
    output, _ = demo.communicate(timeout=120)
    assert demo.returncode == 1, output
    assert "The cluster ended with code -9" in output, output
    assert started_by(tmp_path) == {}


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_in_use_is_an_error(tmp_path, address):
    with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as other:
        port = other.getsockname()[1]
        serve = start(tmp_path, str(EXAMPLE / "serve.py"), f"--port={port}", f"--data={tmp_path / 'data'}")
        output, _ = serve.communicate(timeout=120)
    assert (serve.returncode, output) == (1, f"Port {port} is taken. Try: make serve PORT={port + 1}\n")


def test_a_folder_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "file").touch()
    serve = start(tmp_path, str(EXAMPLE / "serve.py"), f"--data={tmp_path / 'file' / 'data'}")
    output, _ = serve.communicate(timeout=120)
    assert serve.returncode == 1
    assert output.startswith(f"{tmp_path / 'file' / 'data'} cannot be made (Not a directory)")


@linux_only
@pytest.mark.slow
def test_serve_starts_once_and_ends_with_ctrl_c(tmp_path):
    serve = start(tmp_path, str(EXAMPLE / "serve.py"), "--port=0", f"--data={tmp_path / 'data'}")
    assert serve.stdout is not None
    lines = []
    for line in serve.stdout:
        lines.append(line)
        if "switch notifications on" in line:
            break
    address = re.search(r"is open: http://localhost:(\d+)", "".join(lines))
    assert address is not None, "".join(lines)
    assert lines[-1] == f"Then switch notifications on: http://localhost:{address[1]}/notifications/\n"
    second = start(tmp_path, str(EXAMPLE / "serve.py"), f"--port={address[1]}", f"--data={tmp_path / 'data'}")
    assert "is taken" in second.communicate(timeout=120)[0]
    assert second.returncode == 1
    os.killpg(serve.pid, signal.SIGINT)
    output, _ = serve.communicate(timeout=120)
    assert serve.returncode == 0, "".join(lines) + output
    assert started_by(tmp_path) == {}
    assert (tmp_path / "data" / "db.sqlite3").exists()

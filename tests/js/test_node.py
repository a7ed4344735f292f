"""The tests of the browser side, run by Node's own test runner: no npm package is needed."""

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.test.mjs")))
def test_node_tests_pass(name):
    finished = subprocess.run(
        ["node", "--test", "--test-reporter=tap", name],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout[-10000:] + finished.stderr[-2000:]
    assert "# pass 0" not in finished.stdout

"""A typed project passes mypy in strict mode and pyright; its mistakes are refused, line by line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SHOP = ROOT / "tests/typing/shop"
MISTAKES = {
    ("mistakes.py", number)
    for number, line in enumerate((SHOP / "mistakes.py").read_text().splitlines(), 1)
    if "# refused" in line
}

pytestmark = pytest.mark.slow


def run(*arguments: object) -> str:
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    ).stdout


def test_mypy_refuses_the_mistakes_and_nothing_else() -> None:
    pytest.importorskip("mypy")
    output = run("mypy", "--config-file", ROOT / "tests/typing/mypy.ini", SHOP)
    found = {(Path(path).name, int(line)) for path, line in re.findall(r"^(.+?):(\d+): error:", output, re.MULTILINE)}
    assert found == MISTAKES, output


def test_pyright_refuses_the_mistakes_and_nothing_else() -> None:
    pytest.importorskip("pyright")
    output = run("pyright", "--outputjson", "--pythonpath", sys.executable, "--project", ROOT / "tests/typing")
    errors = [one for one in json.loads(output)["generalDiagnostics"] if one["severity"] == "error"]
    found = {(Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in errors}
    assert found == MISTAKES, output

"""The tutorial's code is the example's, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(
    r"^```\w+\n(?:#|//|<!--) (\S+)(?: -->)?\n(.*?)^```$",
    (ROOT / "docs/tutorial.md").read_text(),
    re.MULTILINE | re.DOTALL,
)


def test_every_block_names_its_file():
    assert len(BLOCKS) == (ROOT / "docs/tutorial.md").read_text().count("\n```") // 2


@pytest.mark.parametrize(("name", "code"), BLOCKS, ids=[f"{number}-{name}" for number, (name, _) in enumerate(BLOCKS)])
def test_the_code_is_in_that_file(name, code):
    assert code in (ROOT / "example_project" / name).read_text()

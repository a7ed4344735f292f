"""The code on the pages for single-page apps is that of the apps which the browser tests build and use."""

from __future__ import annotations

import json
import re

import pytest

from tests.browser.documented import APPS, blocks

LANGUAGES = ("ts", "tsx", "js", "jsx")
NAMED = [
    pytest.param(*match.groups(), id=match[1])
    for code in blocks("single-page-apps", *LANGUAGES)
    if (match := re.match(r"// (\S+)\n(.*)", code, re.DOTALL))
]
WHOLE = [
    "vite/vite.config.ts",
    "vite/src/push.ts",
    "vite/src/NotificationSwitch.tsx",
    "next/next.config.ts",
    "next/app/FollowClicks.tsx",
]


def sources(path: str) -> list[str]:
    return [file.read_text() for app in APPS.iterdir() if (file := app / path).is_file()]


@pytest.mark.parametrize(("path", "code"), NAMED)
def test_a_block_is_a_part_of_an_app(path: str, code: str):
    assert any(code.strip("\n") in source for source in sources(path)), f"{path} does not contain:\n{code}"


def test_every_block_names_its_file():
    assert len(NAMED) == len(blocks("single-page-apps", *LANGUAGES)) > 5


@pytest.mark.parametrize("path", WHOLE)
def test_the_files_that_matter_are_shown(path: str):
    shown = "".join(blocks("single-page-apps", *LANGUAGES))
    pieces = (APPS / path).read_text().strip("\n").split("\n\n")
    assert [piece for piece in pieces if piece not in shown] == []


def test_the_scripts_are_those_of_the_app():
    (shown,) = (json.loads(code) for code in blocks("single-page-apps", "json"))
    package = json.loads((APPS / "vite/package.json").read_text())
    assert shown["scripts"].items() <= package["scripts"].items()

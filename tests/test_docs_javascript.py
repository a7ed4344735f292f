"""The page about JavaScript names what the modules have, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/reference/javascript.md").read_text()
STATIC = ROOT / "src/django_webpush_kit/static/django_webpush_kit"
MODULE = (STATIC / "webpush-kit.js").read_text()
WORKER = (STATIC / "service-worker.js").read_text()


def documented(heading):
    """The names in the first column of the table under a heading."""
    section = re.split(r"^#+ .*$", PAGE.partition(f" {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([\w-]+)", cell)}


def properties(source, typedef):
    """The names of the properties of a JSDoc type."""
    body = re.search(rf"@typedef {{object}} {typedef}\n(.*?)(?:\*/|\n\s*\*\n)", source, re.DOTALL)[1]
    return set(re.findall(r"@property {.*} \[?(\w+)", body))


def test_error_codes():
    table = re.search(r"PUSH_ERRORS = Object\.freeze\({(.*?)}\)", MODULE, re.DOTALL)[1]
    assert documented("PushError") == set(re.findall(r"^  (\w+):", table, re.MULTILINE))


def test_codes_in_the_source_are_in_the_table_of_codes():
    made = set(re.findall(r"new PushError\(\s*\"(\w+)\"", MODULE))
    assert made
    assert made <= documented("PushError")


def test_states():
    type_ = re.search(r"@typedef {(\"unsupported\".*?)} PushState", MODULE, re.DOTALL)[1]
    assert documented("States") == set(re.findall(r'"([\w-]+)"', type_))


def test_events():
    assert documented("Events") == properties(MODULE, "PushEvents")


def test_options():
    given = properties(MODULE, "APIOptions") | properties(MODULE, "ManagerOptions")
    assert documented("createPush") == given


def test_methods():
    manager = re.search(r"^export class PushNotificationManager {(.*?)^}", MODULE, re.DOTALL | re.MULTILINE)[1]
    methods = set(re.findall(r"^  (?:async )?(\w+)\(.*\) {$", manager, re.MULTILINE))
    assert documented("PushNotificationManager") == methods - {"constructor", "report"}


def test_members_of_the_workers_settings():
    assert documented("Service worker") == properties(WORKER, "WorkerOptions")


@pytest.mark.parametrize("hook", ["onPush", "onClick", "onClose"])
def test_hooks(hook):
    assert f"self.webpushKit.{hook} = " in PAGE
    assert hook in properties(WORKER, "WorkerHooks")

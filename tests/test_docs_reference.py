"""The pages about commands and signals name what there is, and nothing else."""

from __future__ import annotations

import re
from argparse import _SubParsersAction
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.dispatch import Signal

from django_webpush_kit import signals
from tests.documented_names import names_in_table

REFERENCE = Path(__file__).resolve().parent.parent / "docs/reference"
COMMANDS = (REFERENCE / "commands.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", COMMANDS, re.MULTILINE | re.DOTALL))
OWN_COMMANDS = sorted(name for name, app in get_commands().items() if app == "django_webpush_kit")


def flags_of(parser):
    flags = set()
    for action in parser._actions:
        flags.update(flag for flag in action.option_strings if flag.startswith("--"))
        if isinstance(action, _SubParsersAction):
            flags.update(flag for choice in action.choices.values() for flag in flags_of(choice))
    return flags


def test_every_command_has_its_section():
    assert sorted(SECTIONS) == OWN_COMMANDS


@pytest.mark.parametrize("name", OWN_COMMANDS)
def test_a_section_names_the_options_of_its_command(name):
    common = flags_of(BaseCommand().create_parser("manage.py", "any"))
    own = flags_of(load_command_class("django_webpush_kit", name).create_parser("manage.py", name)) - common
    assert set(re.findall(r"`(?:[^`]* )?(--[a-z-]+)[^`]*`", SECTIONS[name])) == own


def test_every_signal_is_listed():
    every = sorted(name for name, value in vars(signals).items() if isinstance(value, Signal))
    page = (REFERENCE / "signals.md").read_text().partition("\n## ")[0]
    assert names_in_table(page, "") == every

"""The pages about commands, services and signals name what there is, and nothing else."""

from __future__ import annotations

import inspect
import re
from argparse import _SubParsersAction
from dataclasses import fields
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.dispatch import Signal

from django_webpush_kit import exceptions, services, signals
from django_webpush_kit.options import SendOptions

REFERENCE = Path(__file__).resolve().parent.parent / "docs/reference"
COMMANDS = (REFERENCE / "commands.md").read_text()
SERVICES = (REFERENCE / "services.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", COMMANDS, re.MULTILINE | re.DOTALL))
OWN_COMMANDS = sorted(name for name, app in get_commands().items() if app == "django_webpush_kit")


def names_in_table(page, heading):
    """The names in the first column of the table under a heading, without the arguments of functions."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0] if heading else page
    cells = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    return sorted(name for cell in cells for name in re.findall(r"`(\w+)(?:\([^`]*\))?`", cell))


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


def test_every_public_function_is_listed():
    functions = [
        name
        for name, value in vars(services).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or value is services.PushNotificationService)
        and value.__module__ in (services.__name__, "django_webpush_kit.privacy", "django_webpush_kit.legacy_service")
    ]
    assert names_in_table(SERVICES.partition("\n## ")[0], "") == sorted(functions)


@pytest.mark.parametrize(
    "name", ["send", "send_templated", "broadcast", "cancel", "subscribe", "unsubscribe", "update_preferences"]
)
def test_signatures_are_true(name):
    parameters = inspect.signature(getattr(services, name)).parameters.values()
    written = re.search(rf"`{name}\((.*?)\)`", SERVICES)[1]
    assert re.findall(r"(?:^|, )\**(\w+)", written) == [parameter.name for parameter in parameters]


def test_every_option_is_listed():
    assert names_in_table(SERVICES, "Options") == sorted(option.name for option in fields(SendOptions))


def test_every_exception_is_listed():
    every = {name for name, value in vars(exceptions).items() if inspect.isclass(value)} - {"WebPushKitError"}
    assert names_in_table(SERVICES, "Exceptions") == sorted(every)


def test_every_attribute_of_the_result_is_listed():
    attributes = [name for name in dir(services.SendResult) if not name.startswith("_")]
    assert names_in_table(SERVICES, "SendResult") == attributes


def test_every_signal_is_listed():
    every = sorted(name for name, value in vars(signals).items() if isinstance(value, Signal))
    page = (REFERENCE / "signals.md").read_text().partition("\n## ")[0]
    assert names_in_table(page, "") == every

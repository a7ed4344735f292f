"""Commands end without a traceback on Ctrl-C, and if nobody reads their output any more."""

import os
import subprocess
import sys
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import InterfaceError, OperationalError

from django_webpush_kit.management.commands import generate_vapid_keys, push_doctor, push_export

COMMANDS = [generate_vapid_keys.Command, push_doctor.Command, push_export.Command]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGPIPE")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["generate_vapid_keys", "push_doctor"])
def test_a_command_whose_output_nobody_reads_ends_as_other_programs_do(command, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONUNBUFFERED": unbuffered}
    run = subprocess.run(
        [sys.executable, "-m", "django", command], stdout=writing, stderr=subprocess.PIPE, env=environment, text=True
    )
    os.close(writing)
    assert run.returncode == 141
    assert "Error" not in run.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_ends_a_command_with_130(command, monkeypatch):
    monkeypatch.setattr(command, "handle", interrupted)
    own = command(stdout=StringIO())
    own._called_from_command_line = True
    with pytest.raises(CommandError, match="Interrupted") as caught:
        call_command(own, *arguments_of(command))
    assert caught.value.returncode == 130


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_code_that_calls_a_command_gets_its_exceptions(command, error, monkeypatch):
    def handle(*_arguments, **_options):
        raise error

    monkeypatch.setattr(command, "handle", handle)
    with pytest.raises(error):
        call_command(command(stdout=StringIO()), *arguments_of(command))


@pytest.mark.parametrize("is_command_line", [True, False])
@pytest.mark.parametrize("error", [OperationalError("connection refused\nat port 1"), InterfaceError("closed")])
def test_an_outage_of_the_database_is_a_message_on_the_command_line(error, is_command_line, monkeypatch):
    def handle(*_arguments, **_options):
        raise error

    monkeypatch.setattr(push_export.Command, "handle", handle)
    own = push_export.Command(stdout=StringIO())
    own._called_from_command_line = is_command_line
    with pytest.raises(CommandError if is_command_line else type(error)) as caught:
        call_command(own, "ada")
    if is_command_line:
        assert str(caught.value).startswith("The database does not answer, or is busy: ")
        assert str(caught.value).endswith(f"{error.args[0].splitlines()[0]}. Start it, or correct DATABASES.")


def test_a_broken_pipe_of_something_else_is_an_error(monkeypatch):
    def handle(*_arguments, **_options):
        raise BrokenPipeError

    monkeypatch.setattr(push_export.Command, "handle", handle)
    own = push_export.Command(stdout=StringIO())
    own._called_from_command_line = True
    with pytest.raises(BrokenPipeError):
        call_command(own, "ada")


def interrupted(*_arguments, **_options):
    raise KeyboardInterrupt


def arguments_of(command):
    return ("ada",) if command is push_export.Command else ()

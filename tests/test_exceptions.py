"""Every exception has words of its own, with and without docstrings."""

import subprocess
import sys

import pytest

from django_webpush_kit import exceptions

CLASSES = sorted(
    name for name, value in vars(exceptions).items() if isinstance(value, type) and issubclass(value, Exception)
)


@pytest.mark.parametrize("name", CLASSES)
def test_an_exception_without_a_message_has_a_default_message(name):
    error = getattr(exceptions, name)
    assert str(error()).endswith(".")
    assert str(error("Other words.")) == "Other words."


def test_messages_do_not_depend_on_docstrings():
    script = (
        "from django_webpush_kit import exceptions\n"
        "assert exceptions.TokenVoid.__doc__ is None\n"
        f"print(all(str(getattr(exceptions, name)()) for name in {CLASSES}))"
    )
    result = subprocess.run([sys.executable, "-OO", "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "True\n"

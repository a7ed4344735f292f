"""Report what code of the project raised, whatever its log handlers and the exception's own text raise in turn."""

from __future__ import annotations

import logging
import traceback
from contextlib import suppress

MAX_TEXT_LENGTH = 200


def log_error(logger: logging.Logger, text: str, *arguments: object, error: BaseException | None = None) -> None:
    """Log an error, with the traceback of `error` if it is given. A handler that raises stops nothing.

    Handlers belong to the project: one that mails an error report may fail, too. Its traceback goes to stderr.
    """
    try:
        logger.error(text, *arguments, exc_info=error, stacklevel=2)
    except Exception:  # noqa: BLE001 - contained
        with suppress(Exception):
            traceback.print_exc()


def error_text(error: BaseException) -> str:
    """The exception's type and text, as in "KeyError: 'name'", in characters that every database can store.

    At most `MAX_TEXT_LENGTH` characters. An exception whose `__str__` raises has its type alone.
    """
    name, text = type(error).__name__, message_of(error)
    return _storable(name if text == name else f"{name}: {text}")


def message_of(error: BaseException) -> str:
    """The exception's text alone; its type where it has none, or where its `__str__` raises."""
    text = ""
    with suppress(Exception):
        text = str(error)
    return _storable(text) or type(error).__name__


def _storable(text: str) -> str:
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:MAX_TEXT_LENGTH]

"""Log exceptions of the project's code. Log handlers and the exception's `__str__` may raise themselves."""

from __future__ import annotations

import logging
import traceback
from contextlib import suppress

MAX_TEXT_LENGTH = 200


def log_error(logger: logging.Logger, text: str, *arguments: object, error: BaseException | None = None) -> None:
    """Log an error, with the traceback of `error` if it is given.

    A log handler may raise, for example if it cannot send an e-mail. Then its traceback is printed to stderr.
    """
    try:
        logger.error(text, *arguments, exc_info=error, stacklevel=2)
    except Exception:  # noqa: BLE001 - contained
        with suppress(Exception):
            traceback.print_exc()


def error_text(error: BaseException) -> str:
    """Return type and text of an exception, such as "KeyError: 'name'", in characters that every database can store.

    At most `MAX_TEXT_LENGTH` characters. If `__str__` raises, only the type.
    """
    name, text = type(error).__name__, message_of(error)
    return _storable(name if text == name else f"{name}: {text}")


def message_of(error: BaseException) -> str:
    """Return the exception's text, or its type if the text is empty or `__str__` raises."""
    text = ""
    with suppress(Exception):
        text = str(error)
    return _storable(text) or type(error).__name__


def _storable(text: str) -> str:
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:MAX_TEXT_LENGTH]


def log_event(logger: logging.Logger, level: int, event: str, text: str, *arguments: object, **fields: object) -> None:
    """Log something that happened, under a name that does not change, such as "webpush.chunk".

    The record has the attribute `event` and one for each of `fields`, for structured logs. The fields contain no
    secrets: no endpoints, keys, texts of messages or data of users. A log handler that raises is contained.
    """
    if not logger.isEnabledFor(level):
        return
    try:
        logger.log(level, text, *arguments, extra={"event": event, **fields}, stacklevel=2)
    except Exception:  # noqa: BLE001 - contained
        with suppress(Exception):
            traceback.print_exc()

"""Log errors and events, and describe errors in text. Log handlers and `__str__` of exceptions may raise themselves.

A log handler may raise, for example if it cannot send an e-mail. Then its traceback is printed to stderr.
"""

from __future__ import annotations

import logging
import traceback
from contextlib import suppress
from typing import Any

MAX_TEXT_LENGTH = 200


def log_error(logger: logging.Logger, text: str, *arguments: object, error: BaseException | None = None) -> None:
    """Log an error, with the traceback of `error` if it is given."""
    _log(logger, logging.ERROR, text, *arguments, exc_info=error)


def log_warning(logger: logging.Logger, text: str, *arguments: object, error: BaseException | None = None) -> None:
    """Log a warning, with the traceback of `error` if it is given."""
    _log(logger, logging.WARNING, text, *arguments, exc_info=error)


def log_info(logger: logging.Logger, text: str, *arguments: object, error: BaseException | None = None) -> None:
    """Log something of interest to few, with the traceback of `error` if it is given."""
    _log(logger, logging.INFO, text, *arguments, exc_info=error)


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
    secrets: no endpoints, keys, texts of messages or data of users.
    """
    _log(logger, level, text, *arguments, extra={"event": event, **fields})


def _log(logger: logging.Logger, level: int, text: str, *arguments: object, **options: Any) -> None:
    try:
        logger.log(level, text, *arguments, stacklevel=3, **options)
    except Exception:  # noqa: BLE001 - contained
        with suppress(Exception):
            traceback.print_exc()

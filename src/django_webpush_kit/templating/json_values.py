"""Template variables typed as JSON: texts in ISO 8601 are dates and times."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

from django_webpush_kit.templating.context import MAX_DEPTH

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_DATETIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{3}(\d{3})?)?)?(Z|[+-]\d{2}:\d{2})?")

_FORMS = (
    (_DATE, date.fromisoformat),
    (_DATETIME, lambda text: datetime.fromisoformat(text.replace("Z", "+00:00"))),
)


def with_dates(value: Any, depth: int = 0) -> Any:
    """Return a JSON value in which texts such as "2030-05-01" and "2030-05-01T18:00+02:00" are dates and datetimes.

    A datetime without an offset stays naive: it is shown as it is, in every time zone.
    """
    if depth > MAX_DEPTH:
        return value
    if isinstance(value, dict):
        return {key: with_dates(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [with_dates(item, depth + 1) for item in value]
    return _parsed(value) if isinstance(value, str) else value


def as_json(value: Any) -> Any:
    """Return a plain context value as JSON that a person can edit: the reverse of `with_dates`."""
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, date | time):
        return value.isoformat()
    return value if isinstance(value, str | int | float | None) else str(value)


def _parsed(text: str) -> Any:
    for form, parse in _FORMS:
        if form.fullmatch(text):
            try:
                return parse(text)
            except ValueError:  # 2030-02-31
                return text
    return text

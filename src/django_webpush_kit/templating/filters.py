"""The filters of notification templates: Django's filters with limited output, and unlocalized ones for links."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time, timezone
from decimal import Decimal
from functools import wraps
from typing import Any

from django.conf import settings
from django.template import defaultfilters
from django.templatetags import l10n
from django.utils.formats import FORMAT_SETTINGS

MAX_OUTPUT = 10_000
"""Maximum characters of one text, or of one filter's output. A push payload has less than 4,000 bytes."""

Filter = Callable[..., Any]

FILTERS = (
    "capfirst", "cut", "date", "default", "default_if_none", "first", "floatformat", "join", "last", "length",
    "localize", "lower", "pluralize", "slugify", "stringformat", "time", "timesince", "timeuntil", "title",
    "truncatechars", "truncatewords", "unlocalize", "upper", "urlencode", "yesno",
)  # fmt: skip

TOLERANT_FILTERS = frozenset(("default", "default_if_none", "yesno"))
"""Filters that handle a missing variable."""


class Missing(str):
    """The value of a missing variable: empty and false in filters and conditions. `name` is its dotted path."""

    name: str

    @classmethod
    def variable(cls, name: str) -> Missing:
        """Return the value for one missing variable."""
        missing = cls()
        missing.name = name
        return missing


def plain_text(value: Any) -> str:
    """Return a value in the format for links: `4711`, `52.5`, `2026-11-22`, `2026-11-22T18:30:00Z`. Never localized."""
    if isinstance(value, float | Decimal):
        return format(Decimal(str(value)), "f")
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(timezone.utc).replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)


def _bounded(name: str, function: Filter) -> Filter:
    """Limit the output of a filter to MAX_OUTPUT characters."""

    @wraps(function)  # Django's parser inspects the arguments of the wrapped function
    def bounded(value: Any, *arguments: Any, **keywords: Any) -> Any:
        result = function(value, *arguments, **keywords)
        if isinstance(result, str) and len(result) > MAX_OUTPUT:
            raise _too_long(name)
        return result

    bounded.__name__ = name
    return bounded


def _too_long(name: str) -> ValueError:
    return ValueError(f"the filter {name!r} would produce more than {MAX_OUTPUT} characters")


@wraps(defaultfilters.floatformat)
def _floatformat(value: Any, arg: Any = -1) -> Any:
    if len(re.sub(r"[-gu]", "", str(arg))) > 2:
        raise ValueError("the filter 'floatformat' takes at most 99 decimal places")
    return defaultfilters.floatformat(value, arg)


_FORMAT_SPECIFIER = re.compile(r"[-+ 0#]*\d{0,3}(?:\.\d{0,3})?[diouxXeEfFgGcrsa](?:[^%]|%%)*", re.DOTALL)


@wraps(defaultfilters.stringformat)
def _stringformat(value: Any, arg: Any) -> Any:
    if not _FORMAT_SPECIFIER.fullmatch(str(arg)):
        raise ValueError(
            f"the filter 'stringformat' takes one conversion of at most 999 characters, such as '03d', not {arg!r:.40}"
        )
    return defaultfilters.stringformat(value, arg)


def _default_if_none(value: Any, arg: Any) -> Any:
    """Return the argument for None and for a missing variable."""
    return arg if value is None or isinstance(value, Missing) else value


def _join(value: Any, arg: str) -> str:
    """Join the items as text. Without autoescaping, Django's filter does not join lists of numbers."""
    items = [str(item) for item in value] if isinstance(value, tuple | str) else [str(value)]
    separator = str(arg)
    if sum(map(len, items)) + len(items) * len(separator) > MAX_OUTPUT:
        raise _too_long("join")
    return separator.join(items)


def _plain_floatformat(value: Any, arg: Any = -1) -> str:
    """Format with a decimal point and without thousands separators, regardless of settings."""
    text = str(_floatformat(value, f"{str(arg).rstrip('gu') or '-1'}u"))
    return text.replace(str(settings.DECIMAL_SEPARATOR), ".")


def _plain_date(value: Any, arg: Any = None) -> Any:
    """Format by the argument. Without one, or with a localized format, use ISO 8601."""
    if arg is None or arg in FORMAT_SETTINGS:
        return plain_text(value) if isinstance(value, date) else ""
    return defaultfilters.date(value, arg)


def _plain_time(value: Any, arg: Any = None) -> Any:
    """Format by the argument. Without one, or with a localized format, use ISO 8601."""
    if arg is None or arg in FORMAT_SETTINGS:
        return defaultfilters.time(value, "H:i:s")
    return defaultfilters.time(value, arg)


_plain_date.expects_localtime = True  # type: ignore[attr-defined]  # how Django's filters say it
_plain_time.expects_localtime = True  # type: ignore[attr-defined]

_OWN: dict[str, Filter] = {
    "default_if_none": _default_if_none,
    "floatformat": _floatformat,
    "join": _join,
    "localize": l10n.localize,
    "stringformat": _stringformat,
    "unlocalize": l10n.unlocalize,
}

TEXT_FILTERS: dict[str, Filter] = {
    name: _bounded(name, _OWN.get(name) or defaultfilters.register.filters[name]) for name in FILTERS
}
"""The filters of titles, bodies and button titles: numbers and dates follow the language of the template."""

LINK_FILTERS: dict[str, Filter] = TEXT_FILTERS | {
    "date": _bounded("date", _plain_date),
    "floatformat": _bounded("floatformat", _plain_floatformat),
    "localize": _bounded("localize", plain_text),
    "time": _bounded("time", _plain_time),
    "unlocalize": _bounded("unlocalize", plain_text),
}
"""The filters of URLs and icons, where numbers and dates are never localized."""

"""The values that templates can use: plain copies of the context, and values about the recipient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import count
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise
from django.utils.module_loading import import_string

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.error_reports import error_text
from django_webpush_kit.option_checks import storable

PLAIN_TYPES = frozenset((str, bool, int, float, Decimal, date, datetime, time, timedelta, UUID, type(None)))

MAX_DIGITS = 200
"""Maximum digits of an int or a Decimal. Formatting longer numbers exhausts memory."""

MAX_DEPTH = 32

MAX_VALUES = 100_000

MAX_NAME = 80
"""Maximum characters of a key's path in an error message."""


def plain_context(values: Mapping[str, Any], name: str = "context") -> Mapping[str, Any]:
    """Return a read-only copy of `values` that contains only plain values.

    Instances of subclasses are converted to the plain type, lists become tuples, and characters that databases refuse
    are removed from strings. Other values raise TypeError with their key: "context['order.total'] is inf; numbers must
    be finite." `name` is the name of the dict in this message.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{name} must be a dict, not {type(values).__name__}.")
    return _Copier(name).copy_mapping(values, path="", depth=0)


def recipient_context(user: Any) -> dict[str, Any]:
    """Return the default values of `{{ recipient.* }}`. The setting `RECIPIENT_CONTEXT` replaces this function."""
    return {
        name: value
        for name in ("first_name", "last_name", "username")
        if isinstance(value := getattr(user, name, None), str)
    }


def recipient_values(user: Any) -> Mapping[str, Any]:
    """Return the plain values of `{{ recipient.* }}` for a user, from the function in `RECIPIENT_CONTEXT`."""
    function = kit_settings.RECIPIENT_CONTEXT
    if isinstance(function, str):
        try:
            function = import_string(function)
        except ImportError as error:
            raise ImproperlyConfigured(f'WEBPUSH_KIT["RECIPIENT_CONTEXT"] cannot be imported: {error}') from error
    return plain_context(function(user), name="recipient")


def holds_datetime(value: Any) -> bool:
    """Return whether a plain value is or contains a datetime, whose text depends on the time zone."""
    if isinstance(value, Mapping):
        return any(map(holds_datetime, value.values()))
    if isinstance(value, tuple):
        return any(map(holds_datetime, value))
    return isinstance(value, datetime)


class _Copier:
    """Copies one context and counts its values, so that recursive or huge structures raise an error."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._numbers: Iterator[int] = count(1)

    def copy_mapping(self, values: Mapping[Any, Any], path: str, depth: int) -> Mapping[str, Any]:
        prefix = f"{path}." if path else ""
        return MappingProxyType(
            {
                self._key(key, path): self._copy(value, f"{prefix}{key}", depth + 1)
                for key, value in self._read(values.items, path)
            }
        )

    def _copy(self, value: Any, path: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise self._error(path, f"is nested more than {MAX_DEPTH} levels deep, or contains itself")
        if next(self._numbers) > MAX_VALUES:
            raise TypeError(f"{self._name} holds more than {MAX_VALUES} values. Pass only what the template needs.")
        if type(value) in PLAIN_TYPES:
            return self._checked(value, path)
        if isinstance(value, Mapping):
            return self.copy_mapping(value, path, depth)
        if isinstance(value, list | tuple):
            return tuple(self._copy(item, f"{path}[{number}]", depth + 1) for number, item in enumerate(value))
        for kind, convert in _CONVERSIONS:
            if isinstance(value, kind):
                return self._copy(self._read(convert, path, value), path, depth + 1)
        raise self._error(
            path,
            f"is a {type(value).__name__}; a {self._name} takes str, finite numbers, bool, None, Decimal, dates, UUID, "
            "lazy strings, and lists and dicts of these. Pass the attributes the template needs",
        )

    def _checked(self, value: Any, path: str) -> Any:
        if isinstance(value, str):
            return storable(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise self._error(path, f"is {value}; numbers must be finite")
        if isinstance(value, Decimal) and not value.is_finite():
            raise self._error(path, f"is {value}; numbers must be finite")
        if isinstance(value, int | Decimal) and _digits(value) > MAX_DIGITS:
            raise self._error(path, f"is a number of more than {MAX_DIGITS} digits")
        return value

    def _read(self, function: Callable[..., Any], path: str, *arguments: Any) -> Any:
        """Call code of the project that may raise: a lazy string, a dict's `items`, a property of a subclass."""
        try:
            return function(*arguments)
        except Exception as error:
            raise self._error(path, f"could not be read ({error_text(error)})") from error

    def _key(self, key: object, path: str) -> str:
        if not isinstance(key, str):
            where = f"{self._name}[{_shortened(path)!r}]" if path else self._name
            raise TypeError(f"{self._name} keys must be str, not {type(key).__name__} (in {where}).")
        return storable(str.__str__(key))

    def _error(self, path: str, problem: str) -> TypeError:
        return TypeError(f"{self._name}[{_shortened(path)!r}] {problem}.")


def _shortened(path: str) -> str:
    return path if len(path) <= MAX_NAME else f"{path[: MAX_NAME - 1]}…"


def _digits(value: int | Decimal) -> int:
    if isinstance(value, int):
        return value.bit_length() * 3 // 10
    _sign, digits, exponent = value.as_tuple()
    return len(digits) + abs(int(exponent))


def _plain_datetime(value: datetime) -> datetime:
    return datetime.combine(date(value.year, value.month, value.day), _plain_time(value.timetz()))


def _plain_time(value: time) -> time:
    return time(value.hour, value.minute, value.second, value.microsecond, tzinfo=value.tzinfo, fold=value.fold)


_CONVERSIONS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: value.value),
    (Promise, str),
    (str, str.__str__),
    (int, int),
    (float, float),
    (Decimal, Decimal),
    (datetime, _plain_datetime),
    (date, lambda value: date(value.year, value.month, value.day)),
    (time, _plain_time),
    (timedelta, lambda value: timedelta(value.days, value.seconds, value.microseconds)),
    (UUID, lambda value: UUID(int=value.int)),
)
"""Converters to the plain type. Templates never see subclasses, because these may override methods."""

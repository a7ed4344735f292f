"""Checks of option values: functions `(name, value) -> checked value` that raise `InvalidOption`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

from django.utils import timezone
from django.utils.functional import Promise

from django_webpush_kit.exceptions import InvalidOption, InvalidSubscription
from django_webpush_kit.protocol.endpoints import check_click_url
from django_webpush_kit.protocol.responses import MAX_TTL_ELSEWHERE

MAX_SECONDS = MAX_TTL_ELSEWHERE

YEARS = range(1970, 9000)
"""Datetimes outside these years could overflow when time zones and TTLs are added."""


def contained(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """Return the check so that whatever it raises is an `InvalidOption` that names the option.

    A number may be too large to be converted, and a lazy string or a subclass may raise anything.
    """

    @wraps(check)
    def named(name: str, value: Any) -> Any:
        try:
            return check(name, value)
        except InvalidOption:
            raise
        except Exception as error:
            raise InvalidOption(f"{name} has a value that cannot be read ({type(error).__name__})") from error

    return named


def storable(text: str) -> str:
    """Return the text without characters that databases refuse: NUL is removed, a lone surrogate becomes "?"."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def text(max_length: int) -> Callable[[str, Any], str]:
    """Accept a str or a lazy string of at most `max_length` characters."""

    def check(name: str, value: Any) -> str:
        value = str(_of_type(name, str(value) if isinstance(value, Promise) else value, str))
        if len(value) > max_length:
            raise InvalidOption(f"{name} has {len(value)} characters; at most {max_length} are allowed")
        return storable(value)

    return check


def link(name: str, value: Any) -> str:
    """Accept a path on the same site or an https URL."""
    url = text(2000)(name, value)
    try:
        check_click_url(url)
    except (InvalidSubscription, ValueError) as error:
        raise InvalidOption(f"{name}: {error}") from None
    return url


def flag(name: str, value: Any) -> bool:
    """Accept True and False."""
    return bool(_of_type(name, value, bool))


def whole(min_value: int, max_value: int) -> Callable[[str, Any], int]:
    """Accept an int between two values, both included."""

    def check(name: str, value: Any) -> int:
        number = int(_of_type(name, value, int))
        if not min_value <= number <= max_value:
            raise InvalidOption(f"{name} must be from {min_value} to {max_value}, not {number}")
        return number

    return check


def choice(*choices: str) -> Callable[[str, Any], str]:
    """Accept one of several strings."""

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise InvalidOption(f"{name} must be one of {', '.join(choices)}, not {value!r:.100}")
        return str(value)

    return check


def seconds(name: str, value: Any) -> float:
    """Accept a number of seconds or a timedelta."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    number = float(_of_type(name, value, int, float))
    if not 0 <= number <= MAX_SECONDS:
        raise InvalidOption(f"{name} must be from 0 to {MAX_SECONDS} seconds (30 days), not {number:g}")
    return number


def ttl(name: str, value: Any) -> int:
    """Accept a number of seconds or a timedelta. Fractions are rounded up, because a TTL of 0 means "now or never"."""
    return math.ceil(seconds(name, value))


def topic(name: str, value: Any) -> str:
    """Accept up to 32 characters of base64url (RFC 8030, section 5.4)."""
    name_of_topic = text(32)(name, value)
    if not all(character.isascii() and (character.isalnum() or character in "-_") for character in name_of_topic):
        raise InvalidOption(f"{name} must contain only letters, digits, - and _ (RFC 8030), not {name_of_topic!r}")
    return name_of_topic


def actions(name: str, value: Any) -> list[dict[str, str]]:
    """Accept a list of dicts with `action` and `title`, and optionally `icon` and `url`."""
    return [_action(f"{name}[{number}]", action) for number, action in enumerate(action_list(name, value))]


def action_list(name: str, value: Any) -> list[Any] | tuple[Any, ...]:
    """Accept a list without checking its items."""
    if not isinstance(value, list | tuple):
        raise InvalidOption(f"{name} must be a list of dicts, not {type(value).__name__}")
    return value


def action_keys(name: str, value: Any) -> dict[str, Any]:
    """Accept a dict with the keys of one button without checking its values."""
    action: dict[str, Any] = _of_type(name, value, dict)
    if not {"action", "title"} <= set(action) <= {"action", "title", "icon", "url"}:
        raise InvalidOption(f"{name} must have the keys action and title, and optionally icon and url")
    return action


def _action(name: str, value: Any) -> dict[str, str]:
    checked = {
        key: (link if key in ("icon", "url") else text(100))(f"{name}.{key}", value)
        for key, value in action_keys(name, value).items()
        if value
    }
    if missing := {"action", "title"} - set(checked):
        raise InvalidOption(f"{name}.{min(missing)} must not be empty")
    return checked


def vibration(name: str, value: Any) -> list[int]:
    """Accept a list of at most 50 durations in milliseconds."""
    if not isinstance(value, list | tuple) or len(value) > 50:
        raise InvalidOption(f"{name} must be a list of at most 50 whole numbers (milliseconds)")
    return [whole(0, 10_000)(f"{name}[{number}]", duration) for number, duration in enumerate(value)]


def key(name: str, value: Any) -> str:
    """Accept a string of 1 to 200 characters that every database can store."""
    checked = text(200)(name, value)
    if not checked:
        raise InvalidOption(f"{name} must not be empty")
    if checked != str(value):
        raise InvalidOption(f"{name} must not contain NUL characters or lone surrogates")
    return checked


def plain_json(name: str, value: Any) -> dict[str, Any]:
    """Accept a dict of JSON values and return a copy."""
    data = _of_type(name, value, dict)
    try:
        copy: dict[str, Any] = json.loads(json.dumps(data, allow_nan=False), object_pairs_hook=_storable_object)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidOption(f"{name} must be plain JSON: {error}") from None
    return copy


def _storable_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    return {storable(key): _storable_value(value) for key, value in members}


def _storable_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_storable_value(item) for item in value]
    return storable(value) if isinstance(value, str) else value


def aware_datetime(name: str, value: Any) -> datetime:
    """Accept an aware datetime."""
    moment = _datetime(name, value)
    if timezone.is_naive(moment):
        raise InvalidOption(f"{name} must be an aware datetime, such as timezone.now() + timedelta(hours=1)")
    return moment


def naive_datetime(name: str, value: Any) -> datetime:
    """Accept a naive datetime."""
    moment = _datetime(name, value)
    if timezone.is_aware(moment):
        raise InvalidOption(f"{name} must be a naive datetime: it is local time in each recipient's time zone")
    return moment


def _datetime(name: str, value: Any) -> datetime:
    moment: datetime = _of_type(name, value, datetime)
    if moment.year not in YEARS:
        raise InvalidOption(f"{name} must be in the years from {YEARS[0]} to {YEARS[-1]}, not {moment.year}")
    return moment


def stored_datetime(name: str, value: Any) -> datetime:
    """Accept an aware datetime as ISO 8601 text, the form stored in JSON."""
    try:
        return aware_datetime(name, datetime.fromisoformat(_of_type(name, value, str)))
    except ValueError as error:
        if isinstance(error, InvalidOption):
            raise
        raise InvalidOption(f"{name} must be an ISO 8601 date and time, not {value!r}") from None


def _of_type(name: str, value: Any, *types: type) -> Any:
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        wanted = " or ".join(kind.__name__ for kind in types)
        raise InvalidOption(f"{name} must be {wanted}, not {type(value).__name__}")
    return value

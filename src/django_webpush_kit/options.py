"""The keyword options of `send()` and its kin: which exist, what each accepts, and who wins.

Explicit options win over the template, the template over `WEBPUSH_KIT["DEFAULTS"]`. `SendOptions` keeps what is about
the call; `row_options()` is the JSON an outbox row carries until it is sent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django.utils.functional import Promise

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.exceptions import InvalidOption, InvalidSubscription
from django_webpush_kit.protocol.endpoints import check_click_url

DEFAULT_TTL = 2_419_200
"""Seconds: four weeks, the most that every push service accepts."""

YEARS = range(1970, 9000)
"""A moment outside of these years would overflow where time zones and TTLs are added."""

URGENCIES = ("very-low", "low", "normal", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """Checked options; None means not given."""

    data: dict[str, Any] | None = None
    url: str | None = None
    icon: str | None = None
    badge: str | None = None
    image: str | None = None
    tag: str | None = None
    actions: list[dict[str, str]] | None = None
    silent: bool | None = None
    require_interaction: bool | None = None
    renotify: bool | None = None
    vibrate: list[int] | None = None
    app_badge: int | None = None
    language: str | None = None
    ttl: int | None = None
    urgency: str | None = None
    topic: str | None = None
    critical: bool | None = None
    max_retries: int | None = None
    retry_base: float | None = None
    retry_cap: float | None = None
    expires_at: datetime | None = None
    scheduled_for: datetime | None = None
    scheduled_local: datetime | None = None
    idempotency_key: str | None = None

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> SendOptions:
        """Check what a caller gave: an unknown name is a TypeError, an unusable value an `InvalidOption`."""
        if unknown := sorted(set(given) - set(_CHECKS)):
            raise TypeError(f"unknown option {unknown[0]!r}; the options are {', '.join(sorted(_CHECKS))}")
        options = cls(**{name: _CHECKS[name](name, value) for name, value in given.items() if value is not None})
        if options.scheduled_for and options.scheduled_local:
            raise InvalidOption("give scheduled_for or scheduled_local, not both")
        if options.expires_at and options.scheduled_for and options.expires_at <= options.scheduled_for:
            raise InvalidOption("expires_at must be later than scheduled_for")
        return options

    def over(self, weaker: SendOptions) -> SendOptions:
        """These options, filled up with those of `weaker`."""
        return SendOptions(
            **{
                option.name: value
                for option in fields(self)
                if (value := _first(getattr(self, option.name), getattr(weaker, option.name))) is not None
            }
        )

    def row_options(self) -> dict[str, Any]:
        """What an outbox row keeps as JSON: everything given that has no column of its own."""
        return {name: value for name in ROW_OPTIONS if (value := getattr(self, name)) is not None}


ROW_OPTIONS = (
    "url",
    "icon",
    "badge",
    "image",
    "tag",
    "actions",
    "silent",
    "require_interaction",
    "renotify",
    "vibrate",
    "app_badge",
    "ttl",
    "urgency",
    "critical",
    "retry_base",
    "retry_cap",
)

TEMPLATE_OPTIONS = frozenset(ROW_OPTIONS) - {"url", "icon", "actions"} | {"data", "topic", "max_retries"}
"""What the `options` field of a template may hold; the rest are fields of the template or about the call."""

DEFAULT_OPTIONS = TEMPLATE_OPTIONS | {"url", "icon", "actions", "language"}
"""What the setting `DEFAULTS` may hold."""


def default_options() -> SendOptions:
    """The options of `WEBPUSH_KIT["DEFAULTS"]`; an `ImproperlyConfigured` when one is unknown or unusable."""
    if unknown := sorted(set(kit_settings.DEFAULTS) - DEFAULT_OPTIONS):
        raise ImproperlyConfigured(
            f'WEBPUSH_KIT["DEFAULTS"] cannot hold {unknown[0]!r}; it takes {", ".join(sorted(DEFAULT_OPTIONS))}.'
        )
    try:
        return SendOptions.parse(kit_settings.DEFAULTS)
    except InvalidOption as error:
        raise ImproperlyConfigured(f'WEBPUSH_KIT["DEFAULTS"]: {error}') from None


def template_options(template: Any) -> SendOptions:
    """The options a template row sets; an `InvalidOption` when one is unusable."""
    if not isinstance(template.options, dict) or (unknown := sorted(set(template.options) - TEMPLATE_OPTIONS)):
        wrong = "must be an object" if not isinstance(template.options, dict) else f"cannot hold {unknown[0]!r}"
        raise InvalidOption(f"options {wrong}; they take {', '.join(sorted(TEMPLATE_OPTIONS))}")
    given = {
        "require_interaction": template.require_interaction or None,
        "silent": template.silent or None,
        "vibrate": template.vibrate_pattern or None,
        **template.options,
    }
    return SendOptions.parse(given)


def storable(text: str) -> str:
    """The text without what no database takes: NUL is left out, a lone surrogate becomes "?"."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _first(strong: Any, weak: Any) -> Any:
    return weak if strong is None else strong


def _text(maximum: int) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        text = str(_of_type(name, str(value) if isinstance(value, Promise) else value, str))
        if len(text) > maximum:
            raise InvalidOption(f"{name} has {len(text)} characters; at most {maximum} are allowed")
        return storable(text)

    return check


def _link(name: str, value: Any) -> str:
    text = _text(2000)(name, value)
    try:
        check_click_url(text)
    except (InvalidSubscription, ValueError) as error:
        raise InvalidOption(f"{name}: {error}") from None
    return text


def _flag(name: str, value: Any) -> bool:
    return bool(_of_type(name, value, bool))


def _whole(minimum: int, maximum: int) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        number = int(_of_type(name, value, int))
        if not minimum <= number <= maximum:
            raise InvalidOption(f"{name} must be from {minimum} to {maximum}, not {number}")
        return number

    return check


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    number = float(_of_type(name, value, int, float))
    if not 0 <= number <= 30 * 86400:
        raise InvalidOption(f"{name} must be from 0 to 2592000 seconds (30 days), not {number:g}")
    return number


def _ttl(name: str, value: Any) -> int:
    return math.ceil(_seconds(name, value))  # 0 means "now or never", which half a second does not


def _urgency(name: str, value: Any) -> str:
    if not isinstance(value, str) or value not in URGENCIES:
        raise InvalidOption(f"{name} must be one of {', '.join(URGENCIES)}, not {value!r}")
    return str(value)


def _topic(name: str, value: Any) -> str:
    text = _text(32)(name, value)
    if not all(character.isascii() and (character.isalnum() or character in "-_") for character in text):
        raise InvalidOption(f"{name} takes letters, digits, - and _ only (RFC 8030), not {text!r}")
    return text


def _actions(name: str, value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list | tuple):
        raise InvalidOption(f"{name} must be a list of dicts, not {type(value).__name__}")
    return [_action(f"{name}[{number}]", action) for number, action in enumerate(value)]


def _action(name: str, value: Any) -> dict[str, str]:
    action = _of_type(name, value, dict)
    if not {"action", "title"} <= set(action) <= {"action", "title", "icon", "url"}:
        raise InvalidOption(f"{name} takes the keys action and title and, if wanted, icon and url")
    checked = {
        key: _link(f"{name}.{key}", text) if key in ("icon", "url") else _text(100)(f"{name}.{key}", text)
        for key, text in action.items()
        if text
    }
    if missing := {"action", "title"} - set(checked):
        raise InvalidOption(f"{name}.{min(missing)} must not be empty")
    return checked


def _vibrate(name: str, value: Any) -> list[int]:
    if not isinstance(value, list | tuple) or len(value) > 50:
        raise InvalidOption(f"{name} must be a list of at most 50 whole numbers (milliseconds)")
    return [_whole(0, 10_000)(f"{name}[{number}]", duration) for number, duration in enumerate(value)]


def _key(name: str, value: Any) -> str:
    key = _text(200)(name, value)
    if not key:
        raise InvalidOption(f"{name} must not be empty")
    if key != str(value):
        raise InvalidOption(f"{name} must not contain NUL characters or lone surrogates")
    return key


def _data(name: str, value: Any) -> dict[str, Any]:
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


def _moment(name: str, value: Any) -> datetime:
    moment: datetime = _of_type(name, value, datetime)
    if moment.year not in YEARS:
        raise InvalidOption(f"{name} must be in the years from {YEARS[0]} to {YEARS[-1]}, not {moment.year}")
    return moment


def _aware(name: str, value: Any) -> datetime:
    moment = _moment(name, value)
    if timezone.is_naive(moment):
        raise InvalidOption(f"{name} must be an aware datetime, such as timezone.now() + timedelta(hours=1)")
    return moment


def _naive(name: str, value: Any) -> datetime:
    moment = _moment(name, value)
    if timezone.is_aware(moment):
        raise InvalidOption(f"{name} must be a naive datetime: it is the wall clock of each recipient's time zone")
    return moment


def _of_type(name: str, value: Any, *types: type) -> Any:
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        wanted = " or ".join(kind.__name__ for kind in types)
        raise InvalidOption(f"{name} must be {wanted}, not {type(value).__name__}")
    return value


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "data": _data,
    "url": _link,
    "icon": _link,
    "badge": _link,
    "image": _link,
    "tag": _text(200),
    "actions": _actions,
    "silent": _flag,
    "require_interaction": _flag,
    "renotify": _flag,
    "vibrate": _vibrate,
    "app_badge": _whole(0, 2**31),
    "language": _text(35),
    "ttl": _ttl,
    "urgency": _urgency,
    "topic": _topic,
    "critical": _flag,
    "max_retries": _whole(0, 100),
    "retry_base": _seconds,
    "retry_cap": _seconds,
    "expires_at": _aware,
    "scheduled_for": _aware,
    "scheduled_local": _naive,
    "idempotency_key": _key,
}

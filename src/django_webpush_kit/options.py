"""The options of `send()`, `send_templated()` and `broadcast()`, each declared once.

A declaration holds the type, the check, the place of storage and the documentation. Fields of `RowOptions` are stored
as JSON in the outbox row. Fields of `SendOptions` alone have their own column or concern only the call. The reference
page and `push-payload.d.ts` are generated from these declarations. `SendOptionsDict` is for type checkers.

Options of the call override the template's options, which override `WEBPUSH_KIT["DEFAULTS"]`.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import Enum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise

from django_webpush_kit import option_checks as checks
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.exceptions import InvalidOption
from django_webpush_kit.protocol.responses import DEFAULT_URGENCY, MAX_TTL, URGENCIES

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from typing_extensions import Self

DEFAULT_TTL = MAX_TTL
"""Seconds. Four weeks is the longest TTL that every push service accepts."""


class Place(Enum):
    """Where the value of an option is stored."""

    ROW = "the JSON field `options` of the outbox row"
    COLUMN = "a separate column of the outbox row"
    CALL = "nowhere: it applies to the call only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """How one option is checked, stored and documented."""

    check: Callable[[str, Any], Any]
    """`(name, value) -> checked value`; raises `InvalidOption`."""
    accepts: str
    """The accepted values, for the reference page."""
    meaning: str
    """What it does, for the reference page."""
    place: Place = Place.ROW
    in_templates: bool = True
    """Whether the `options` field of a template accepts it."""
    in_defaults: bool = True
    """Whether the setting `DEFAULTS` accepts it."""
    to_json: Callable[[Any], Any] | None = None
    """Converts the checked value to JSON. None if it already is JSON."""
    check_stored: Callable[[str, Any], Any] | None = None
    """Converts the output of `to_json` back. None if `check` does this."""


def option(check: Callable[[str, Any], Any], accepts: str, meaning: str, **details: Any) -> Any:
    """Return a dataclass field that declares an option. Its default, None, means "not given"."""
    if "check_stored" in details:
        details["check_stored"] = checks.contained(details["check_stored"])
    declared = Option(check=checks.contained(check), accepts=accepts, meaning=meaning, **details)
    return field(default=None, metadata={"option": declared})


def declared_options(kind: type[Any]) -> dict[str, Option]:
    """Return the options declared by a class and its bases, in order."""
    return {declared.name: declared.metadata["option"] for declared in fields(kind)}


def stored_options(kind: type[Any]) -> dict[str, Option]:
    """Return the options stored in the JSON field of a row."""
    return {name: declared for name, declared in declared_options(kind).items() if declared.place is Place.ROW}


@lru_cache
def _stored(kind: type[Any]) -> ItemsView[str, Option]:
    return stored_options(kind).items()


@dataclass(frozen=True, kw_only=True)
class RowOptions:
    """The options stored in the JSON field of an outbox row. None means not given."""

    url: str | None = option(checks.link, "URL", "Opened by a click.", in_templates=False)
    icon: str | None = option(checks.link, "URL", "Picture beside the text.", in_templates=False)
    badge: str | None = option(checks.link, "URL", "Small monochrome picture, for example in Android's status bar.")
    image: str | None = option(checks.link, "URL", "Large picture below the text.")
    tag: str | None = option(
        checks.text(200),
        "`str`, at most 200 characters",
        "A notification replaces the one on screen with the same tag. By default each has its own.",
    )
    actions: list[dict[str, str]] | None = option(
        checks.actions,
        'list of `{"action", "title", "icon", "url"}`',
        "Buttons. `icon` and `url` are optional.",
        in_templates=False,
    )
    silent: bool | None = option(checks.flag, "`bool`", "Neither sound nor vibration.")
    require_interaction: bool | None = option(checks.flag, "`bool`", "Stays until clicked or dismissed.")
    renotify: bool | None = option(checks.flag, "`bool`", "Alerts again when it replaces another with the same tag.")
    vibrate: list[int] | None = option(checks.vibration, "list of milliseconds", "Vibration pattern: on, off, on, ...")
    app_badge: int | None = option(checks.whole(0, 2**31), "`int`", "Number on the icon of an installed app.")
    dir: str | None = option(
        checks.choice("auto", "ltr", "rtl"), '`"auto"`, `"ltr"`, `"rtl"`', "Direction of the text."
    )
    timestamp: datetime | None = option(
        checks.aware_datetime,
        "aware `datetime`",
        "Time shown with the notification, for example when the event happened.",
        in_templates=False,
        in_defaults=False,
        to_json=datetime.isoformat,
        check_stored=checks.stored_datetime,
    )
    ttl: int | None = option(
        checks.ttl,
        "seconds or `timedelta`, at most 30 days",
        "How long the message may wait, in the outbox and at the push service. 0 means now or never.",
    )
    urgency: str | None = option(
        checks.choice(*URGENCIES),
        ", ".join(f'`"{urgency}"`' for urgency in URGENCIES),
        "More urgent rows are sent first. Devices that save power receive less urgent ones later.",
    )
    critical: bool | None = option(checks.flag, "`bool`", "Bypasses preferences, quiet hours and daily caps.")
    retry_base: float | None = option(checks.seconds, "seconds or `timedelta`", "Replaces `RETRY_BASE_SECONDS`.")
    retry_cap: float | None = option(checks.seconds, "seconds or `timedelta`", "Replaces `RETRY_CAP_SECONDS`.")

    @classmethod
    def from_json(cls, stored: object) -> Self:
        """Parse the output of `to_json`. Unknown names are ignored; invalid values raise `InvalidOption`."""
        if not isinstance(stored, dict):
            raise InvalidOption(f"options must be a JSON object, not {type(stored).__name__}")
        given = {
            name: (declared.check_stored or declared.check)(name, value)
            for name, declared in _stored(cls)  # type: ignore[arg-type]  # classes are hashable
            if (value := stored.get(name)) is not None
        }
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Return the stored options that are not None, as JSON."""
        return {
            name: value if declared.to_json is None else declared.to_json(value)
            for name, declared in _stored(type(self))  # type: ignore[arg-type]  # classes are hashable
            if (value := getattr(self, name)) is not None
        }

    @cached_property
    def given(self) -> Mapping[str, Any]:
        """The options that are given, by name."""
        names = declared_options(type(self))
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def ttl_seconds(self) -> int:
        """The TTL in seconds, or its default."""
        return DEFAULT_TTL if self.ttl is None else self.ttl

    @property
    def urgency_header(self) -> str:
        """The urgency, or its default."""
        return self.urgency or DEFAULT_URGENCY


@dataclass(frozen=True, kw_only=True)
class SendOptions(RowOptions):
    """The checked options of a call; None means not given."""

    data: dict[str, Any] | None = option(
        checks.plain_json,
        "`dict` of JSON values",
        "Your own data. Your pages and service worker hooks receive it unchanged.",
        place=Place.COLUMN,
    )
    topic: str | None = option(
        checks.topic,
        "`str`, at most 32 letters, digits, `-` and `_`",
        "A newer message replaces an undelivered one with the same topic.",
        place=Place.COLUMN,
    )
    max_retries: int | None = option(
        checks.whole(0, 100),
        "`int`",
        "Replaces `MAX_RETRIES`.",
        place=Place.COLUMN,
    )
    language: str | None = option(
        checks.text(35),
        "`str`",
        "Renders in this language instead of the subscription's.",
        in_templates=False,
        place=Place.COLUMN,
    )
    scheduled_for: datetime | None = option(
        checks.aware_datetime,
        "aware `datetime`",
        "Sends no earlier than this.",
        in_templates=False,
        in_defaults=False,
        place=Place.COLUMN,
    )
    scheduled_local: datetime | None = option(
        checks.naive_datetime,
        "naive `datetime`",
        "Sends no earlier than this, on each recipient's own clock.",
        in_templates=False,
        in_defaults=False,
        place=Place.CALL,
    )
    expires_at: datetime | None = option(
        checks.aware_datetime,
        "aware `datetime`",
        "Sends no later than this, whatever the TTL.",
        in_templates=False,
        in_defaults=False,
        place=Place.COLUMN,
    )
    idempotency_key: str | None = option(
        checks.key,
        "`str`, at most 200 characters",
        "A second call with the same key writes nothing.",
        in_templates=False,
        in_defaults=False,
        place=Place.CALL,
    )

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> SendOptions:
        """Check the options of a call. Unknown names raise TypeError, invalid values `InvalidOption`."""
        if unknown := sorted(set(given) - set(OPTIONS)):
            raise TypeError(f"unknown option {unknown[0]!r}; the options are {', '.join(sorted(OPTIONS))}")
        options = cls(**{name: OPTIONS[name].check(name, value) for name, value in given.items() if value is not None})
        if options.scheduled_for and options.scheduled_local:
            raise InvalidOption("scheduled_for and scheduled_local cannot be combined; pass one of them")
        if options.expires_at and options.scheduled_for and options.expires_at <= options.scheduled_for:
            raise InvalidOption("expires_at must be later than scheduled_for")
        return options

    def over(self, weaker: SendOptions) -> SendOptions:
        """Return these options; options that are None are taken from `weaker`."""
        return SendOptions(**{**weaker.given, **self.given})


ROW_OPTIONS = declared_options(RowOptions)
"""The options that an outbox row stores as JSON, by name."""

OPTIONS = declared_options(SendOptions)
"""All options, by name."""

TEMPLATE_OPTIONS = frozenset(name for name, declared in OPTIONS.items() if declared.in_templates)
"""Options accepted in the `options` field of a template. url, icon and actions have their own fields."""

DEFAULT_OPTIONS = frozenset(name for name, declared in OPTIONS.items() if declared.in_defaults)
"""Options accepted in the setting `DEFAULTS`."""


def default_options() -> SendOptions:
    """Return the options in `WEBPUSH_KIT["DEFAULTS"]`. Raises ImproperlyConfigured if one is unknown or invalid."""
    if unknown := sorted(set(kit_settings.DEFAULTS) - DEFAULT_OPTIONS):
        raise ImproperlyConfigured(
            f'WEBPUSH_KIT["DEFAULTS"] does not accept {unknown[0]!r}. '
            f"Accepted options: {', '.join(sorted(DEFAULT_OPTIONS))}."
        )
    try:
        return SendOptions.parse(kit_settings.DEFAULTS)
    except InvalidOption as error:
        raise ImproperlyConfigured(f'WEBPUSH_KIT["DEFAULTS"]: {error}') from None


def template_options(template: Any) -> SendOptions:
    """Return the options of a template row. Raises `InvalidOption` if one is unknown or invalid."""
    if not isinstance(template.options, dict) or (unknown := sorted(set(template.options) - TEMPLATE_OPTIONS)):
        problem = "must be an object" if not isinstance(template.options, dict) else f"cannot hold {unknown[0]!r}"
        raise InvalidOption(f"options {problem}; accepted options: {', '.join(sorted(TEMPLATE_OPTIONS))}")
    given = {
        "require_interaction": template.require_interaction or None,
        "silent": template.silent or None,
        "vibrate": template.vibrate_pattern or None,
        **template.options,
    }
    return SendOptions.parse(given)


# --- For type checkers: the keyword arguments of callers ---------------------------------------------------------

Text: TypeAlias = str | Promise
Seconds: TypeAlias = float | timedelta


class _ActionTexts(TypedDict):
    action: Text
    title: Text


class Action(_ActionTexts, total=False):
    """A button of a notification."""

    icon: Text
    url: Text


class SendOptionsDict(TypedDict, total=False):
    """The keyword options of `send()` and `send_templated()`; use it as `**options: Unpack[SendOptionsDict]`."""

    url: Text | None
    icon: Text | None
    badge: Text | None
    image: Text | None
    tag: Text | None
    actions: Sequence[Action] | None
    silent: bool | None
    require_interaction: bool | None
    renotify: bool | None
    vibrate: Sequence[int] | None
    app_badge: int | None
    dir: Literal["auto", "ltr", "rtl"] | None
    timestamp: datetime | None
    ttl: Seconds | None
    urgency: Literal["very-low", "low", "normal", "high"] | None
    critical: bool | None
    retry_base: Seconds | None
    retry_cap: Seconds | None
    data: Mapping[str, Any] | None
    topic: Text | None
    max_retries: int | None
    language: Text | None
    scheduled_local: datetime | None
    expires_at: datetime | None
    scheduled_for: datetime | None
    idempotency_key: Text | None


class BroadcastOptionsDict(SendOptionsDict, total=False):
    """The keyword options of `broadcast()`: those of `send()`, and two of its own."""

    rate: str | None
    created_by: AbstractBaseUser | None

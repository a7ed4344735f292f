"""Read the settings of your project: one dict, `WEBPUSH_KIT`, and the names of four swappable models.

`kit_settings.MAX_RETRIES` is your value or the default. Nothing is cached, so `override_settings` works in tests.
Importing this module sets defaults for the four model settings on `django.conf.settings`. Django needs them there:
it writes `settings.WEBPUSH_KIT_..._MODEL` into the migrations of projects that swap models.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Generic, TypeVar, cast, overload

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables

from django_webpush_kit.error_reports import error_text
from django_webpush_kit.protocol.endpoints import DEFAULT_PUSH_SERVICES, EndpointPolicy
from django_webpush_kit.protocol.message import MAX_PAYLOAD
from django_webpush_kit.protocol.responses import DEFAULT_URGENCY, MAX_TTL
from django_webpush_kit.protocol.vapid import VapidKey

Value = TypeVar("Value")

MODEL_SETTINGS = {
    "WEBPUSH_KIT_SUBSCRIPTION_MODEL": "webpush_kit.PushSubscription",
    "WEBPUSH_KIT_TEMPLATE_MODEL": "webpush_kit.NotificationTemplate",
    "WEBPUSH_KIT_NOTIFICATION_MODEL": "webpush_kit.PushNotification",
    "WEBPUSH_KIT_ANALYTICS_MODEL": "webpush_kit.NotificationAnalytics",
}
for _name, _default in MODEL_SETTINGS.items():
    if not hasattr(settings, _name):
        setattr(settings, _name, _default)


def require_installed_app() -> None:
    """Raise ImproperlyConfigured if models are imported but the app is not in INSTALLED_APPS."""
    if not apps.is_installed("django_webpush_kit"):
        raise ImproperlyConfigured(
            'Add "django_webpush_kit" to INSTALLED_APPS: its models were imported, but the app is not installed.'
        )


def swapped_model(setting: str) -> Any:
    """Return the model named by one of the `MODEL_SETTINGS`. Raises ImproperlyConfigured if it does not exist."""
    name = getattr(settings, setting)
    try:
        return apps.get_model(name, require_ready=False)
    except (ValueError, AttributeError):
        raise ImproperlyConfigured(f'{setting} must be "app_label.ModelName", not {name!r}.') from None
    except LookupError:
        raise ImproperlyConfigured(f"{setting} names the model {name!r}, which is not installed.") from None


MAX_DAYS = 36_500
"""About a century. Larger values would overflow a datetime."""

MAX_SMALL_INTEGER = 32_767
"""The maximum that the columns for attempts can store."""

MAX_CHUNK_SIZE = 10_000
"""Rows. Larger chunks exceed the number of parameters that databases accept in one statement."""

MAX_LEASE_SECONDS = 86_400
MAX_RETRY_SECONDS = 2_419_200


class Setting(Generic[Value]):
    """One key of `WEBPUSH_KIT`: its default and the accepted types.

    `min_value` and `max_value` are inclusive bounds of a number, `choices` the accepted values. `environment` names
    the environment variable to read if `WEBPUSH_KIT` does not contain the key.
    """

    def __init__(
        self,
        default: Value,
        *types: type,
        min_value: float | None = None,
        max_value: float | None = None,
        choices: tuple[str, ...] = (),
        environment: str = "",
    ) -> None:
        self.default = default
        self.types = types or (type(default),)
        self.min_value = min_value
        self.max_value = max_value
        self.choices = choices
        self.environment = environment
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[Value]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...
    def __get__(self, instance: object | None, owner: type) -> Value | Setting[Value]:
        if instance is None:
            return self
        given = given_settings()
        if self.name in given:
            value: Value = given[self.name]
            return value
        if self.environment:
            text: Any = os.environ.get(self.environment)
            return self.default if text is None else cast("Value", text)
        return self.default

    def problem(self, value: object) -> str:
        """Return a description of the problem with a value, or "" if it is valid."""
        if (isinstance(value, bool) and bool not in self.types) or not isinstance(value, self.types):
            expected = " or ".join(kind.__name__ for kind in self.types)
            return f"must be {expected}, not {type(value).__name__}"
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(map(repr, self.choices))}, not {value!r}"
        return self._range_problem(value) if isinstance(value, int | float) else ""

    def _range_problem(self, value: float) -> str:
        # "not ... <=" also refuses NaN
        if self.min_value is not None and not self.min_value <= value:
            return f"must be {self.min_value:.15g} or more, not {value!r}"
        if self.max_value is not None and not value <= self.max_value:
            return f"must be {self.max_value:.15g} or less, not {value!r}"
        return ""


class KitSettings:
    """Every key of `WEBPUSH_KIT` with its default. Values are not merged: a dict replaces the whole default."""

    VAPID_PRIVATE_KEY = Setting("", environment="VAPID_PRIVATE_KEY")
    VAPID_PUBLIC_KEY = Setting("", environment="VAPID_PUBLIC_KEY")
    VAPID_FALLBACK_PRIVATE_KEYS = Setting[Sequence[str]]((), list, tuple)
    VAPID_SUBJECT = Setting("")
    VAPID_CONTACT_EMAIL = Setting("", environment="VAPID_CONTACT_EMAIL")
    BASE_URL = Setting("")
    API_PATH = Setting("")

    TRANSPORT = Setting[str | Mapping[str, Any]]({"BACKEND": "auto", "OPTIONS": {}}, str, dict)
    TASK_BACKEND = Setting[str | Mapping[str, Any]](
        {"BACKEND": "django_webpush_kit.task_backends.ImmediateBackend", "OPTIONS": {}}, str, dict
    )
    PUSH_SERVICES = Setting[Sequence[str]](DEFAULT_PUSH_SERVICES, list, tuple)
    ALLOW_PRIVATE_ENDPOINTS = Setting(False)

    AUTHENTICATORS = Setting[Sequence[str]](("django_webpush_kit.api.authentication.session",), list, tuple)
    ALLOW_ANONYMOUS = Setting(False)
    STORE_CLIENT_INFO = Setting(False)
    HEALTH_PUBLIC = Setting(True)
    HEALTH_STRICT = Setting(False)
    HEALTH_MAX_LAG_SECONDS = Setting(300, min_value=1)
    STATISTICS_CACHE_SECONDS = Setting(10, min_value=0)
    DETACH_ON_LOGOUT = Setting(False)
    TRUSTED_PROXIES = Setting(0, min_value=0)
    MAX_SUBSCRIPTIONS_PER_USER = Setting(20, min_value=1)
    RATE_LIMITS = Setting[Mapping[str, str]](
        {
            "subscribe": "60/m",
            "unsubscribe": "60/m",
            "preferences": "60/m",
            "subscriptions": "60/m",
            "test": "10/m",
            "events": "300/m",
            "config": "300/m",
            "open": "120/m",
        },
        dict,
    )
    SERVICE_WORKER_SCOPE = Setting("/")
    SCOPE = Setting[str | Callable[[], str]]("", str, Callable)  # type: ignore[arg-type]  # isinstance works

    NOTIFICATION_TYPES = Setting[Mapping[str, Any]]({}, dict)
    DEFAULTS = Setting[Mapping[str, Any]]({"ttl": MAX_TTL, "urgency": DEFAULT_URGENCY}, dict)
    RECIPIENT_CONTEXT = Setting[str | Callable[[Any], dict[str, Any]]](
        "django_webpush_kit.templating.context.recipient_context",
        str,
        Callable,  # type: ignore[arg-type]  # isinstance works
    )
    MISSING_VARIABLES = Setting("error", choices=("error", "warn", "empty"))
    AUDIENCES = Setting[Mapping[str, Any]]({}, dict)
    ACTIVE_USERS = Setting[str | Mapping[str, Any] | Callable[[Any], Any]](
        {},
        dict,
        str,
        Callable,  # type: ignore[arg-type]  # isinstance works
    )
    QUIET_HOURS = Setting("defer", choices=("defer", "suppress"))
    PAYLOAD_BUDGET = Setting(3000, min_value=200, max_value=MAX_PAYLOAD)
    OVERSIZE = Setting("error", choices=("error", "truncate"))
    DECLARATIVE = Setting[bool | None](None, bool)

    MAX_RETRIES = Setting(3, min_value=0, max_value=MAX_SMALL_INTEGER)
    RETRY_BASE_SECONDS = Setting[float](30, int, float, min_value=0, max_value=MAX_RETRY_SECONDS)
    RETRY_CAP_SECONDS = Setting[float](3600, int, float, min_value=0, max_value=MAX_RETRY_SECONDS)
    MAX_CLAIMS = Setting(5, min_value=1, max_value=MAX_SMALL_INTEGER)
    CHUNK_SIZE = Setting(500, min_value=1, max_value=MAX_CHUNK_SIZE)
    LEASE_SECONDS = Setting(300, min_value=1, max_value=MAX_LEASE_SECONDS)
    BROADCAST_AHEAD = Setting(10_000, min_value=1)
    SEND_RATES = Setting[Mapping[str, str]]({}, dict)

    OBSERVERS = Setting[Sequence[str | Mapping[str, Any]]]((), list, tuple)
    ADMIN_PANEL = Setting(True)

    IDEMPOTENCY_DAYS = Setting(30, min_value=1, max_value=MAX_DAYS)
    EVENT_TOKEN_DAYS = Setting(60, min_value=1, max_value=MAX_DAYS)
    RETENTION_DAYS = Setting(90, min_value=1, max_value=MAX_DAYS)
    TEXT_RETENTION_DAYS = Setting[int | None](None, int, min_value=1, max_value=MAX_DAYS)
    STATISTICS_RETENTION_DAYS = Setting(730, min_value=1, max_value=MAX_DAYS)


kit_settings = KitSettings()


def known_settings() -> dict[str, Setting[Any]]:
    """Return all supported keys of `WEBPUSH_KIT` by name."""
    return {name: value for name, value in vars(KitSettings).items() if isinstance(value, Setting)}


def given_settings() -> Mapping[str, Any]:
    """Return the current `WEBPUSH_KIT`. Raises ImproperlyConfigured if it is not a dict."""
    given = getattr(settings, "WEBPUSH_KIT", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"WEBPUSH_KIT must be a dict, not {type(given).__name__}.")
    return given


def backend_spec(name: str) -> tuple[str, dict[str, Any]]:
    """Return the dotted path and the options of the setting `name`: a dict of BACKEND and OPTIONS, or just a path."""
    value = getattr(kit_settings, name)
    if isinstance(value, str):
        return value, {}
    unknown = [key for key in value if key not in ("BACKEND", "OPTIONS")]
    options = value.get("OPTIONS") or {}
    if unknown or not isinstance(value.get("BACKEND"), str) or not isinstance(options, Mapping):
        keys = ", ".join(map(repr, unknown or value)) or "nothing"
        raise ImproperlyConfigured(
            f'WEBPUSH_KIT["{name}"] must be a dotted path, or a dict of "BACKEND" (a dotted path) and "OPTIONS" '
            f"(a dict). Found: {keys}."
        )
    return value["BACKEND"], dict(options)


def declarative_base_url() -> str:
    """Return the origin for links in declarative payloads, or "" if payloads are not declarative.

    Payloads are declarative if `BASE_URL` is set, unless `DECLARATIVE` is False.
    """
    return "" if kit_settings.DECLARATIVE is False else kit_settings.BASE_URL.rstrip("/")


@cache
def installed_version() -> str:
    """Return the version of this package, or "unknown" if it was copied into a project without its metadata."""
    try:
        return version("django-webpush-kit")
    except PackageNotFoundError:
        return "unknown"


def current_scope() -> str:
    """Return the current tenant from the setting `SCOPE`, or "". Tokens, cache keys and wake-ups belong to a tenant.

    A `SCOPE` with a dot is the dotted path of a function. Raises ImproperlyConfigured if it is not callable, or raises.
    """
    given = kit_settings.SCOPE
    if isinstance(given, str):
        if "." not in given:
            return given
        try:
            given = import_string(given)
        except ImportError as error:
            raise ImproperlyConfigured(
                f'WEBPUSH_KIT["SCOPE"]: {error}. Set it to the dotted path of a function, or to text without dots.'
            ) from error
    if not callable(given):
        raise ImproperlyConfigured(f'WEBPUSH_KIT["SCOPE"]: {kit_settings.SCOPE!r} is not callable.')
    try:
        return str(given())
    except Exception as error:
        raise ImproperlyConfigured(f'WEBPUSH_KIT["SCOPE"]: {error_text(error)}') from error


def endpoint_policy() -> EndpointPolicy:
    """Return the rules for endpoints, from `PUSH_SERVICES` and `ALLOW_PRIVATE_ENDPOINTS`."""
    return EndpointPolicy(
        allowed_hosts=tuple(kit_settings.PUSH_SERVICES), allow_private=kit_settings.ALLOW_PRIVATE_ENDPOINTS
    )


@dataclass(frozen=True, slots=True)
class VapidKeyring:
    """The current VAPID key, and older keys with active subscriptions, by key id."""

    current: VapidKey
    fallbacks: tuple[VapidKey, ...]
    subject: str

    def find(self, key_id: str) -> VapidKey | None:
        """Return the key with this id, the current key for "", or None if it is not configured."""
        if not key_id:
            return self.current
        return next((key for key in (self.current, *self.fallbacks) if key.key_id == key_id), None)


def vapid_subject() -> str:
    """Return the contact for push services: `VAPID_SUBJECT`, or `VAPID_CONTACT_EMAIL` as a mailto: address."""
    email = kit_settings.VAPID_CONTACT_EMAIL
    return kit_settings.VAPID_SUBJECT or (f"mailto:{email.removeprefix('mailto:')}" if email else "")


def vapid_keyring() -> VapidKeyring:
    """Return the configured VAPID keys. Raises ImproperlyConfigured that names the setting of an invalid key."""
    return _keyring(kit_settings.VAPID_PRIVATE_KEY, tuple(kit_settings.VAPID_FALLBACK_PRIVATE_KEYS), vapid_subject())


def public_key() -> str:
    """Return the VAPID public key that browsers subscribe with (base64url), or "" if no valid key is configured."""
    try:
        return vapid_keyring().current.public_key
    except ImproperlyConfigured:
        return ""


def current_key_id() -> str:
    """Return the id of the VAPID key that browsers subscribe with, or "" if no valid key is configured."""
    try:
        return vapid_keyring().current.key_id
    except ImproperlyConfigured:
        return ""


@lru_cache(maxsize=8)
@sensitive_variables()
def _keyring(private_key: str, fallbacks: tuple[str, ...], subject: str) -> VapidKeyring:
    if not private_key:
        raise ImproperlyConfigured(
            'WEBPUSH_KIT["VAPID_PRIVATE_KEY"] is empty. Generate a key with: python manage.py generate_vapid_keys'
        )
    current = _load_key("VAPID_PRIVATE_KEY", private_key)
    # no comprehension: error reports would show the key among the variables of its frame
    names = map("VAPID_FALLBACK_PRIVATE_KEYS[{}]".format, range(len(fallbacks)))
    return VapidKeyring(current=current, fallbacks=tuple(map(_load_key, names, fallbacks)), subject=subject)


@sensitive_variables()
def _load_key(name: str, text: str) -> VapidKey:
    try:
        return VapidKey.load(text)
    except ValueError as error:
        raise ImproperlyConfigured(f'WEBPUSH_KIT["{name}"]: {error}') from None

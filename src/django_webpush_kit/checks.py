"""System checks: every mistake in the settings that can be seen without sending anything.

`manage.py check` runs them all; those about values that are fine in development and dangerous in production run under
`manage.py check --deploy`. What each id means stands in `docs/reference/checks.md`. No message contains key text.
"""

from __future__ import annotations

import difflib
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db.migrations.exceptions import CircularDependencyError, NodeNotFoundError
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import CreateModel
from django.utils.functional import Promise
from django.utils.module_loading import import_string

from django_webpush_kit import base_models, models
from django_webpush_kit.conf import (
    MODEL_SETTINGS,
    backend_spec,
    given_settings,
    kit_settings,
    known_settings,
    vapid_keyring,
    vapid_subject,
)
from django_webpush_kit.protocol.vapid import check_subject

TAG = "webpush_kit"

RELATIONS = ("webpush_kit", "0002_relations")
"""Our migration that points to whatever models are in use."""

Messages = Iterator[checks.CheckMessage]


@checks.register(TAG)
def check_settings(app_configs: Iterable[AppConfig] | None = None, **options: Any) -> list[checks.CheckMessage]:
    """Mistakes in `WEBPUSH_KIT` and in the model settings."""
    try:
        given = given_settings()
    except ImproperlyConfigured as error:
        return [_error(1, str(error), "")]
    return [*_unknown_keys(given), *_wrong_types(given).values(), *_run(CHECKS), *_model_settings()]


@checks.register(TAG, deploy=True)
def check_deployment(app_configs: Iterable[AppConfig] | None = None, **options: Any) -> list[checks.CheckMessage]:
    """Settings that are dangerous in production."""
    return list(_run(DEPLOYMENT_CHECKS))


def _run(table: Iterable[tuple[tuple[str, ...], Callable[[], Messages]]]) -> Messages:
    """The messages of those checks whose settings are of the right type."""
    try:
        wrong = _wrong_types(given_settings())
    except ImproperlyConfigured:
        return  # `check_settings` says so
    for names, function in table:
        if not wrong.keys() & set(names):
            yield from function()


def _error(number: int, message: str, hint: str) -> checks.Error:
    return checks.Error(message, hint=hint or None, id=f"webpush_kit.E{number:03}")


def _warning(number: int, message: str, hint: str) -> checks.Warning:
    return checks.Warning(message, hint=hint or None, id=f"webpush_kit.W{number:03}")


def _named(name: str) -> str:
    return f'WEBPUSH_KIT["{name}"]'


def _unknown_keys(given: Mapping[str, Any]) -> Messages:
    for name in given:
        if name not in known_settings():
            near = difflib.get_close_matches(str(name).upper(), known_settings(), n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}?" if near else "Remove it."
            yield _warning(1, f"WEBPUSH_KIT has the unknown key {name!r}.", hint)


def _wrong_types(given: Mapping[str, Any]) -> dict[str, checks.CheckMessage]:
    return {
        name: _error(2, f"{_named(name)} {problem}.", "")
        for name, setting in known_settings().items()
        if name in given and (problem := setting.problem(given[name]))
    }


def _time_zones() -> Messages:
    if not settings.USE_TZ:
        yield _error(3, "USE_TZ is False: schedules and leases need aware datetimes.", "Set USE_TZ = True.")


def _vapid_keys() -> Messages:
    if not kit_settings.VAPID_PRIVATE_KEY:
        yield _warning(
            2,
            f"{_named('VAPID_PRIVATE_KEY')} is empty: nothing can be sent.",
            "Make a key pair with `manage.py generate_vapid_keys` and keep it out of the repository.",
        )
        return
    try:
        current = vapid_keyring().current
    except TypeError:
        yield _error(4, f"{_named('VAPID_FALLBACK_PRIVATE_KEYS')} must hold text only.", "Give each key as a str.")
        return
    except ImproperlyConfigured as error:
        yield _error(4, str(error), "Give what `manage.py generate_vapid_keys` printed, PEM text, or a file's path.")
        return
    public_key = kit_settings.VAPID_PUBLIC_KEY.rstrip("=").replace("+", "-").replace("/", "_")
    if public_key and public_key != current.public_key:
        yield _error(
            5,
            f"{_named('VAPID_PUBLIC_KEY')} does not belong to {_named('VAPID_PRIVATE_KEY')}: push services would "
            "refuse every message.",
            "Leave VAPID_PUBLIC_KEY out: it is derived from the private key.",
        )


def _vapid_subject() -> Messages:
    subject = vapid_subject()
    hint = f'Set {_named("VAPID_SUBJECT")} = "mailto:you@your-site.org", an address that is read.'
    if not subject:
        if kit_settings.VAPID_PRIVATE_KEY:
            yield _error(6, f"{_named('VAPID_SUBJECT')} is empty: push services refuse messages without one.", hint)
        return
    try:
        check_subject(subject)
    except ValueError as error:
        yield _error(6, f"{_named('VAPID_SUBJECT')}: {error}", hint)


def _task_backend() -> Messages:
    from django_webpush_kit.task_backends import TaskBackend, get_task_backend  # checks are imported while apps load

    try:
        backend: object = get_task_backend()
    except (ImproperlyConfigured, ImportError) as error:
        yield _error(7, _unusable("TASK_BACKEND", error), "See django_webpush_kit.task_backends for those at hand.")
        return
    if not isinstance(backend, TaskBackend):
        path = backend_spec("TASK_BACKEND")[0]
        yield _error(7, f"{_named('TASK_BACKEND')}: {path} is no task backend.", "Derive it from TaskBackend.")
        return
    yield from backend.check()


def _transport() -> Messages:
    from django_webpush_kit.delivery.resources import close_transport, get_transport, transport_spec

    try:
        path, given = backend_spec("TRANSPORT")
        get_transport()
        close_transport()
    except (ImproperlyConfigured, ImportError, TypeError) as error:
        yield _error(8, _unusable("TRANSPORT", error), "See django_webpush_kit.transports for those at hand.")
        return
    if path == "auto" and find_spec("pycurl") is None:
        yield checks.Info(
            "pycurl is not installed: messages go out over the portable transport, which is several times slower.",
            hint="pip install django-webpush-kit[curl]",
            id="webpush_kit.I002",
        )
    timeout = transport_spec()[1].get("timeout")
    if timeout is not None and timeout < given.get("timeout", 0):
        yield _warning(
            3,
            f"{_named('TRANSPORT')}: a timeout of {given['timeout']:g} s is lowered to {timeout:g} s, because every "
            f"request must end well within LEASE_SECONDS ({kit_settings.LEASE_SECONDS} s).",
            "Lower the timeout, or raise LEASE_SECONDS.",
        )


def _unusable(name: str, error: Exception) -> str:
    return str(error) if _named(name) in str(error) else f"{_named(name)}: {error}"


def _base_url() -> Messages:
    url = kit_settings.BASE_URL
    if not url:
        if kit_settings.DECLARATIVE:
            yield _error(
                9,
                f"{_named('DECLARATIVE')} needs BASE_URL: a declarative message carries absolute links.",
                'Set BASE_URL to the site\'s origin, such as "https://www.example.com".',
            )
        return
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.path.strip("/") or parts.query:
        yield _error(
            9,
            f"{_named('BASE_URL')} must be an origin, not {url!r}.",
            'Give scheme and host alone, such as "https://www.example.com".',
        )


def _rate_limits() -> Messages:
    from django_webpush_kit.api.throttling import parse_rate

    default = known_settings()["RATE_LIMITS"].default
    for name, rate in kit_settings.RATE_LIMITS.items():
        if name not in default:
            known = ", ".join(sorted(default))
            yield _warning(4, f"{_named('RATE_LIMITS')} has the unknown key {name!r}.", f"The keys are {known}.")
        try:
            if rate:
                parse_rate(rate)
        except (ImproperlyConfigured, TypeError):
            yield _error(
                10, f"{_named('RATE_LIMITS')}: {name!r} is {rate!r}.", 'Give a number, "/" and s, m, h or d: "30/m".'
            )


TYPE_OPTIONS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "label": (lambda value: isinstance(value, str | Promise), "text"),
    "description": (lambda value: isinstance(value, str | Promise), "text"),
    "default": (lambda value: isinstance(value, bool), "True or False"),
    "max_per_day": (lambda value: type(value) is int and value > 0, "a whole number above 0"),
}
"""What a notification type may say, whether a value will do, and what would."""


def _notification_types() -> Messages:
    for name, options in kit_settings.NOTIFICATION_TYPES.items():
        where = f"{_named('NOTIFICATION_TYPES')}[{name!r}]"
        if not isinstance(name, str) or not 0 < len(name) <= 50:
            yield _error(11, f"{where}: a type is text of 1 to 50 characters.", "Shorten the name.")
        elif not isinstance(options, Mapping):
            yield _error(11, f"{where} must be a dict.", 'Such as {"label": "Orders", "default": True}.')
        else:
            yield from _type_options(where, options)


def _type_options(where: str, options: Mapping[str, Any]) -> Messages:
    for key, value in options.items():
        if key not in TYPE_OPTIONS:
            yield _warning(5, f"{where} has the unknown key {key!r}.", f"The keys are {', '.join(TYPE_OPTIONS)}.")
            continue
        is_usable, wanted = TYPE_OPTIONS[key]
        if not is_usable(value):
            yield _error(11, f'{where}["{key}"] must be {wanted}, not {value!r}.', "")


def _dotted_paths() -> Messages:
    functions = [("RECIPIENT_CONTEXT", kit_settings.RECIPIENT_CONTEXT)]
    functions += [("AUTHENTICATORS", path) for path in kit_settings.AUTHENTICATORS]
    functions += [("AUDIENCES", path) for path in kit_settings.AUDIENCES.values()]
    for name, path in functions:
        try:
            function = import_string(path) if isinstance(path, str) else path
        except ImportError as error:
            yield _error(12, f"{_named(name)}: {error}", "Give the dotted path of a function.")
        else:
            if not callable(function):
                yield _error(12, f"{_named(name)}: {path!r} cannot be called.", "Give the dotted path of a function.")


def _defaults() -> Messages:
    from django_webpush_kit.delivery.options import default_options

    try:
        default_options()
    except (ImproperlyConfigured, TypeError) as error:
        yield _error(13, _unusable("DEFAULTS", error), "DEFAULTS takes options of send(), such as ttl and urgency.")


def _push_services() -> Messages:
    for host in kit_settings.PUSH_SERVICES:
        if host != "*" and (not isinstance(host, str) or not host or any(mark in host for mark in "/:@* ")):
            yield _error(
                14,
                f"{_named('PUSH_SERVICES')}: {host!r} is not a host.",
                'Give a host, ".example.com" for its subdomains, or "*" alone for every public host.',
            )


CHECKS: tuple[tuple[tuple[str, ...], Callable[[], Messages]], ...] = (
    ((), _time_zones),
    (("VAPID_PRIVATE_KEY", "VAPID_PUBLIC_KEY", "VAPID_FALLBACK_PRIVATE_KEYS"), _vapid_keys),
    (("VAPID_SUBJECT", "VAPID_CONTACT_EMAIL"), _vapid_subject),
    (("TASK_BACKEND",), _task_backend),
    (("TRANSPORT", "LEASE_SECONDS", "PUSH_SERVICES", "ALLOW_PRIVATE_ENDPOINTS"), _transport),
    (("BASE_URL", "DECLARATIVE"), _base_url),
    (("RATE_LIMITS",), _rate_limits),
    (("NOTIFICATION_TYPES",), _notification_types),
    (("RECIPIENT_CONTEXT", "AUTHENTICATORS", "AUDIENCES"), _dotted_paths),
    (("DEFAULTS",), _defaults),
    (("PUSH_SERVICES",), _push_services),
)
"""Which settings a check reads, and the check: one whose settings are of the wrong type is not run."""


# the model settings

_BASES = {
    "WEBPUSH_KIT_SUBSCRIPTION_MODEL": (models.get_subscription_model, base_models.AbstractPushSubscription),
    "WEBPUSH_KIT_TEMPLATE_MODEL": (models.get_template_model, base_models.AbstractNotificationTemplate),
    "WEBPUSH_KIT_NOTIFICATION_MODEL": (models.get_notification_model, base_models.AbstractPushNotification),
    "WEBPUSH_KIT_ANALYTICS_MODEL": (models.get_analytics_model, base_models.AbstractNotificationAnalytics),
}


def _model_settings() -> Messages:
    swapped = []
    for name, (get_model, base) in _BASES.items():
        try:
            model: Any = get_model()
        except ImproperlyConfigured as error:
            yield _error(15, str(error), f'The default is "{MODEL_SETTINGS[name]}".')
            continue
        if not issubclass(model, base):
            yield _error(
                15,
                f"{name} names {model._meta.label}, which is no {base.__name__}.",
                f"Derive it from django_webpush_kit.base_models.{base.__name__}.",
            )
        elif getattr(settings, name) != MODEL_SETTINGS[name]:
            swapped.append((name, model))
    if swapped:
        yield from _late_migrations(swapped)


def _late_migrations(swapped: Iterable[tuple[str, Any]]) -> Messages:
    """Find models whose migration may run after ours needs it.

    Our migration depends on the first one of a swapped model's app; a model that a later one creates has to say itself
    that it comes first.
    """
    try:
        loader = MigrationLoader(None, ignore_no_migrations=True)
        before = set(loader.graph.forwards_plan(RELATIONS))
    except (CircularDependencyError, NodeNotFoundError, KeyError, ImportError):
        return  # `migrate` says it better
    for name, model in swapped:
        creator = next((key for key in loader.disk_migrations if _creates(loader, key, model)), None)
        if creator is not None and creator not in before:
            yield _warning(
                6,
                f"{name}: {model._meta.label} is made by the migration {'.'.join(creator)}, which may run too late.",
                f"Add `run_before = [{RELATIONS}]` to that migration.",
            )


def _creates(loader: MigrationLoader, key: tuple[str, str], model: Any) -> bool:
    return key[0] == model._meta.app_label and any(
        isinstance(operation, CreateModel) and operation.name_lower == model._meta.model_name
        for operation in loader.disk_migrations[key].operations
    )


# what is dangerous in production

_FAKE_DOMAINS = (".example", ".invalid", ".local", ".test", "example.com", "example.net", "example.org")


def _private_endpoints() -> Messages:
    if kit_settings.ALLOW_PRIVATE_ENDPOINTS:
        yield _warning(
            30,
            f"{_named('ALLOW_PRIVATE_ENDPOINTS')} is True: anybody who subscribes can make this site send requests "
            "into its own network.",
            "Set it for tests and local demos only.",
        )


def _open_mode() -> Messages:
    if "*" in kit_settings.PUSH_SERVICES:
        yield _warning(
            31,
            f'{_named("PUSH_SERVICES")} holds "*": anybody who subscribes chooses where this site sends requests.',
            "List the push services of the browsers, as the default does.",
        )


def _anonymous() -> Messages:
    if kit_settings.ALLOW_ANONYMOUS and not kit_settings.RATE_LIMITS.get("subscribe"):
        yield _warning(
            32,
            f"{_named('ALLOW_ANONYMOUS')} is True and RATE_LIMITS does not limit subscribe: anybody can fill the "
            "database.",
            'Set RATE_LIMITS["subscribe"], such as "30/m".',
        )


def _silent_transport() -> Messages:
    try:
        path = backend_spec("TRANSPORT")[0].rpartition(".")[2]
    except ImproperlyConfigured:
        return  # `check_settings` says so
    if path in ("LocmemTransport", "ConsoleTransport"):
        yield _warning(33, f"{_named('TRANSPORT')}: the {path} sends nothing.", 'Leave it out, or set it to "auto".')


def _client_info() -> Messages:
    if kit_settings.STORE_CLIENT_INFO:
        yield _warning(
            34,
            f"{_named('STORE_CLIENT_INFO')} is True: the IP address and user agent of each subscriber are kept.",
            "Leave it off unless your privacy policy says so; RETENTION_DAYS bounds how long.",
        )


def _fake_subject() -> Messages:
    domain = vapid_subject().partition("://")[2].partition("/")[0] or vapid_subject().rpartition("@")[2]
    if f".{domain.lower()}".endswith(tuple(f".{fake.removeprefix('.')}" for fake in _FAKE_DOMAINS)):
        yield _warning(
            35,
            f"{_named('VAPID_SUBJECT')} names {domain}: push services could not reach you before they block you.",
            "Give an address that is read.",
        )


def _private_cache() -> Messages:
    from django_webpush_kit.task_backends.base import QueueBackend, get_task_backend, is_cache_shared

    if is_cache_shared():
        return
    hint = "Use a cache that all processes share, such as Redis, as the default of CACHES."
    try:
        is_queue = isinstance(get_task_backend(), QueueBackend)
    except (ImproperlyConfigured, ImportError):
        is_queue = False
    if is_queue:
        yield _warning(
            36, "The default cache belongs to one process: each transaction enqueues a wake-up of its own.", hint
        )
    if any(kit_settings.RATE_LIMITS.values()):
        yield _warning(
            37, f"The default cache belongs to one process: each one counts {_named('RATE_LIMITS')} by itself.", hint
        )


def _proxies() -> Messages:
    is_behind_proxy = bool(
        settings.SECURE_PROXY_SSL_HEADER or settings.USE_X_FORWARDED_HOST or settings.USE_X_FORWARDED_PORT
    )
    if is_behind_proxy and not kit_settings.TRUSTED_PROXIES:
        yield _warning(
            38,
            f"{_named('TRUSTED_PROXIES')} is 0, but other settings say that a proxy is in front: all visitors who are "
            "not signed in share one rate limit.",
            "Set it to the number of proxies that append to X-Forwarded-For.",
        )
    if kit_settings.TRUSTED_PROXIES and not is_behind_proxy:
        yield _warning(
            39,
            f"{_named('TRUSTED_PROXIES')} is {kit_settings.TRUSTED_PROXIES}, but no other setting says that a proxy "
            "is in front: without one, visitors choose the address they are limited by.",
            "Set it to 0, or to the number of proxies and SECURE_PROXY_SSL_HEADER to match.",
        )


def _key_files() -> Messages:
    for text in (kit_settings.VAPID_PRIVATE_KEY, *kit_settings.VAPID_FALLBACK_PRIVATE_KEYS):
        try:
            mode = Path(text or "no file").stat().st_mode
        except (OSError, ValueError, TypeError):
            continue  # the key itself, or a file that another check misses
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield _warning(
                40, f"The VAPID private key file {text} can be read by others than its owner.", f"chmod 600 {text}"
            )


def _insecure_base_url() -> Messages:
    if kit_settings.BASE_URL.startswith("http://"):
        yield _warning(41, f"{_named('BASE_URL')} is not https: browsers allow push on secure origins only.", "")


DEPLOYMENT_CHECKS: tuple[tuple[tuple[str, ...], Callable[[], Messages]], ...] = (
    (("ALLOW_PRIVATE_ENDPOINTS",), _private_endpoints),
    (("PUSH_SERVICES",), _open_mode),
    (("ALLOW_ANONYMOUS", "RATE_LIMITS"), _anonymous),
    (("TRANSPORT",), _silent_transport),
    (("STORE_CLIENT_INFO",), _client_info),
    (("VAPID_SUBJECT", "VAPID_CONTACT_EMAIL"), _fake_subject),
    (("TASK_BACKEND", "RATE_LIMITS"), _private_cache),
    (("TRUSTED_PROXIES",), _proxies),
    (("VAPID_PRIVATE_KEY", "VAPID_FALLBACK_PRIVATE_KEYS"), _key_files),
    (("BASE_URL",), _insecure_base_url),
)

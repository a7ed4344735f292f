"""Check the value of each setting, and combinations of settings."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise
from django.utils.module_loading import import_string

from django_webpush_kit.checks import messages
from django_webpush_kit.checks.messages import CheckTable, Messages, named
from django_webpush_kit.conf import backend_spec, current_scope, kit_settings, vapid_keyring, vapid_subject
from django_webpush_kit.exceptions import InvalidOption
from django_webpush_kit.protocol.endpoints import ANY_HOST, check_click_url, push_service, split_allowed_host
from django_webpush_kit.protocol.private_keys import missing_file
from django_webpush_kit.protocol.vapid import check_subject
from django_webpush_kit.subscriptions.active_users import admitted_users


def _time_zones() -> Messages:
    if not settings.USE_TZ:
        yield messages.error(3, "USE_TZ is False, but schedules and leases need aware datetimes.", "Set USE_TZ = True.")


def _vapid_keys() -> Messages:
    if not kit_settings.VAPID_PRIVATE_KEY:
        yield messages.warning(
            2,
            f"{named('VAPID_PRIVATE_KEY')} is empty, so notifications cannot be sent.",
            "Generate a key pair with `manage.py generate_vapid_keys` and keep it out of the repository.",
        )
        return
    try:
        current = vapid_keyring().current
    except TypeError:
        yield messages.error(
            4, f"{named('VAPID_FALLBACK_PRIVATE_KEYS')} must contain strings only.", "Write each key as a string."
        )
        return
    except ImproperlyConfigured as error:
        yield messages.error(4, str(error), _key_hint())
        return
    public_key = kit_settings.VAPID_PUBLIC_KEY.strip(" \t\r\n\"'=").replace("+", "-").replace("/", "_")
    if public_key and public_key != current.public_key:
        yield messages.error(
            5,
            f"{named('VAPID_PUBLIC_KEY')} does not belong to {named('VAPID_PRIVATE_KEY')}. Push services refuse "
            "messages signed with another key than the browser subscribed with.",
            "Remove VAPID_PUBLIC_KEY. It is derived from the private key.",
        )


def _key_hint() -> str:
    missing = missing_file(kit_settings.VAPID_PRIVATE_KEY)
    if missing:
        command = f"python manage.py generate_vapid_keys --format pem --output {shlex.quote(missing)}"
        return f"Restore the file. On a new site, create it: {command}"
    if any(map(missing_file, kit_settings.VAPID_FALLBACK_PRIVATE_KEYS)):
        return "Restore the file, or remove the key from the list."
    return "Generate a key with `manage.py generate_vapid_keys`, or set the path of a key file."


def _vapid_subject() -> Messages:
    subject = vapid_subject()
    hint = f'Set {named("VAPID_SUBJECT")} = "mailto:you@your-site.org" with a monitored mailbox.'
    if not subject:
        if kit_settings.VAPID_PRIVATE_KEY:
            yield messages.error(
                6, f"{named('VAPID_SUBJECT')} is empty, but push services refuse messages without a contact.", hint
            )
        return
    try:
        check_subject(subject)
    except ValueError as error:
        yield messages.error(6, f"{named('VAPID_SUBJECT')}: {error}", hint)


def _task_backend() -> Messages:
    from django_webpush_kit.task_backends import (
        TaskBackend,
        get_task_backend,
    )  # this module is imported while apps load

    try:
        backend: object = get_task_backend()
    except (ImproperlyConfigured, ImportError) as error:
        yield messages.error(
            7,
            _unusable("TASK_BACKEND", error),
            _accepted_options("TASK_BACKEND") or _available("TASK_BACKEND", TASK_BACKENDS),
        )
        return
    if not isinstance(backend, TaskBackend):
        path = backend_spec("TASK_BACKEND")[0]
        yield messages.error(
            7,
            f"{named('TASK_BACKEND')}: {path} is not a TaskBackend subclass.",
            "Derive it from django_webpush_kit.task_backends.TaskBackend.",
        )
        return
    yield from backend.check()


def _transport() -> Messages:
    from django_webpush_kit.delivery.transport import close_transport, get_transport, transport_spec
    from django_webpush_kit.transports import Transport

    try:
        path, given = backend_spec("TRANSPORT")
        transport: object = get_transport()
        close_transport()
    except (ImproperlyConfigured, ImportError, TypeError) as error:
        yield messages.error(
            8,
            _unusable("TRANSPORT", error),
            _accepted_options("TRANSPORT") or _available("TRANSPORT", TRANSPORTS),
        )
        return
    if not isinstance(transport, Transport):
        yield messages.error(
            8,
            f"{named('TRANSPORT')}: {path} is not a Transport subclass.",
            "Derive it from django_webpush_kit.transports.Transport.",
        )
        return
    timeout = transport_spec()[1].get("timeout")
    if timeout is not None and timeout < given.get("timeout", 0):
        yield messages.warning(
            3,
            f"{named('TRANSPORT')}: the timeout of {given['timeout']:g} s is lowered to {timeout:g} s, because every "
            f"request must end within half of LEASE_SECONDS ({kit_settings.LEASE_SECONDS} s).",
            "Lower the timeout, or raise LEASE_SECONDS.",
        )


def _accepted_options(name: str) -> str:
    """Return a hint that lists the OPTIONS of a BACKEND, or "" if it accepts all given OPTIONS."""
    try:
        path, given = backend_spec(name)
        bases = import_string(path).__mro__
    except (ImproperlyConfigured, ImportError, AttributeError):
        return ""
    parameters = [parameter for base in bases[:-1] for parameter in signature(base.__init__).parameters.values()]
    accepted = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY} - {"endpoint_policy"}
    return f"{path} accepts these OPTIONS: {', '.join(sorted(accepted)) or 'none'}." if set(given) - accepted else ""


TASK_BACKENDS = tuple(
    f"django_webpush_kit.task_backends.{name}Backend"
    for name in ("Immediate", "Celery", "DjangoQ", "DjangoTasks", "Null")
)

TRANSPORTS = tuple(
    f"django_webpush_kit.transports.{name}Transport" for name in ("Curl", "PyWebPush", "Console", "Locmem")
)


def _available(name: str, paths: Sequence[str]) -> str:
    """Return a hint that lists the classes of the package, with the one that was probably meant.

    It is "" for one of them: then the message says what is wrong, such as a missing package or file.
    """
    try:
        given = backend_spec(name)[0]
    except ImproperlyConfigured:
        given = ""
    if given in (*paths, "auto"):
        return ""
    classes = {path.rpartition(".")[2]: path for path in paths}
    near = difflib.get_close_matches(given.rpartition(".")[2], classes, n=1, cutoff=0.8)
    guess = f"Did you mean {classes[near[0]]!r}? " if near else ""
    return f"{guess}Available: {', '.join(paths)}."


def _unusable(name: str, error: Exception) -> str:
    return str(error) if named(name) in str(error) else f"{named(name)}: {error}"


def _base_url() -> Messages:
    url = kit_settings.BASE_URL
    if not url:
        if kit_settings.DECLARATIVE:
            yield messages.error(
                9,
                f"{named('DECLARATIVE')} needs BASE_URL, because declarative messages contain absolute links.",
                'Set BASE_URL to the site\'s origin, such as "https://www.example.com".',
            )
        return
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.path.strip("/") or parts.query:
        yield messages.error(
            9,
            f"{named('BASE_URL')} must be an origin, not {url!r}.",
            'Write scheme and host only, such as "https://www.example.com".',
        )


def _rate_limits() -> Messages:
    from django_webpush_kit.api.throttling import parse_rate
    from django_webpush_kit.urls import urlpatterns

    known = sorted(str(pattern.name) for pattern in urlpatterns)
    for name, rate in kit_settings.RATE_LIMITS.items():
        if name not in known:
            hint = f"Valid keys: {', '.join(known)}."
            yield messages.warning(4, f"{named('RATE_LIMITS')} has the unknown key {name!r}.", hint)
        try:
            if rate:
                parse_rate(rate)
        except (ImproperlyConfigured, TypeError):
            yield messages.error(
                10,
                f"{named('RATE_LIMITS')}: {name!r} is {rate!r}.",
                'Write a number, "/" and s, m, h or d, such as "30/m".',
            )


TYPE_OPTIONS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "label": (lambda value: isinstance(value, str | Promise), "text"),
    "description": (lambda value: isinstance(value, str | Promise), "text"),
    "default": (lambda value: isinstance(value, bool), "True or False"),
    "max_per_day": (lambda value: type(value) is int and value > 0, "a whole number above 0"),
}
"""Keys of a notification type, with a test of the value and a description of valid values."""


def _notification_types() -> Messages:
    for name, options in kit_settings.NOTIFICATION_TYPES.items():
        where = f"{named('NOTIFICATION_TYPES')}[{name!r}]"
        if not isinstance(name, str) or not 0 < len(name) <= 50:
            yield messages.error(
                11, f"{where}: the name of a type must be a string of 1 to 50 characters.", "Rename the type."
            )
        elif not isinstance(options, Mapping):
            yield messages.error(
                11, f"{where} must be a dict.", 'Write for example {"label": "Orders", "default": True}.'
            )
        else:
            yield from _type_options(where, options)


def _type_options(where: str, options: Mapping[str, Any]) -> Messages:
    for key, value in options.items():
        if key not in TYPE_OPTIONS:
            yield messages.warning(
                5, f"{where} has the unknown key {key!r}.", f"Valid keys: {', '.join(TYPE_OPTIONS)}."
            )
            continue
        is_usable, wanted = TYPE_OPTIONS[key]
        if not is_usable(value):
            yield messages.error(11, f'{where}["{key}"] must be {wanted}, not {value!r}.', "")


def _dotted_paths() -> Messages:
    functions = [("RECIPIENT_CONTEXT", kit_settings.RECIPIENT_CONTEXT)]
    functions += [("AUTHENTICATORS", path) for path in kit_settings.AUTHENTICATORS]
    functions += [("AUDIENCES", path) for path in kit_settings.AUDIENCES.values()]
    for name, path in functions:
        try:
            function = import_string(path) if isinstance(path, str) else path
        except ImportError as error:
            yield messages.error(12, f"{named(name)}: {error}", "Set the dotted path of a function.")
        else:
            if not callable(function):
                yield messages.error(
                    12, f"{named(name)}: {path!r} is not callable.", "Set the dotted path of a function."
                )


def _active_users() -> Messages:
    try:
        admitted_users()
    except ImproperlyConfigured as error:
        hint = 'Give lookups of the user model, such as {"deleted_at": None}, or a function queryset -> queryset.'
        yield messages.error(12, str(error), hint)


def _scope() -> Messages:
    try:
        current_scope()
    except ImproperlyConfigured as error:
        cause = error.__cause__
        if cause is None or isinstance(cause, ImportError):
            hint = "Set the dotted path of a function, for example one that returns connection.schema_name."
            yield messages.error(12, str(error), hint)
        else:  # the project's function may need a request, which checks do not have
            yield messages.warning(7, f"{named('SCOPE')} raises {type(cause).__name__} outside a request.", SCOPE_HINT)


SCOPE_HINT = "Workers and commands call it too. Return the name of the current schema or database."


def _defaults() -> Messages:
    from django_webpush_kit.options import default_options

    try:
        default_options()
    except (ImproperlyConfigured, TypeError) as error:
        yield messages.error(
            13, _unusable("DEFAULTS", error), "DEFAULTS accepts the options of send(), such as ttl and urgency."
        )


def _push_services() -> Messages:
    for host in kit_settings.PUSH_SERVICES:
        try:
            if host != ANY_HOST:
                split_allowed_host(host)
        except ValueError:
            yield messages.error(
                14,
                f"{named('PUSH_SERVICES')}: {host!r} is not a host.",
                'Write "push.example.com", ".example.com" for its subdomains, "push.example.com:8443" for another '
                'port than 443, or "*" for every public host.',
            )


LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
"""Browsers treat them as secure origins, also over http."""


def _api_path() -> Messages:
    path = kit_settings.API_PATH
    if path.startswith("http://") and urlsplit(path).hostname in LOCAL_HOSTS:
        return
    try:
        check_click_url(path)
    except ValueError as error:
        yield messages.error(9, f"{named('API_PATH')}: {error}", 'Give a path such as "/api/v1/push/".')


def _service_worker_scope() -> Messages:
    scope = kit_settings.SERVICE_WORKER_SCOPE
    if not scope.startswith("/") or scope.startswith("//") or not scope.isprintable():
        yield messages.error(
            9,
            f"{named('SERVICE_WORKER_SCOPE')} must be a path of your site, not {scope!r}.",
            'Begin it with a slash, such as "/app/".',
        )


def _send_rates() -> Messages:
    from django_webpush_kit.outbox.rates import Rate

    for name, rate in kit_settings.SEND_RATES.items():
        where = f"{named('SEND_RATES')}[{name!r}]"
        try:
            Rate.parse(rate)
        except InvalidOption as error:
            yield messages.error(17, f"{where}: {error}.", 'Write a number, "/" and s, m, h or d, such as "900/m".')
        known = push_service(f"https://{name}/")
        if known != name:
            yield messages.error(
                17,
                f"{where}: {name!r} is not the name of a push service.",
                f"Write {known!r}." if known else 'Write a host without scheme and port, such as "fcm.googleapis.com".',
            )


def _observers() -> Messages:
    from django_webpush_kit.observers import make_observer

    for spec in kit_settings.OBSERVERS:
        try:
            make_observer(spec)
        except ImproperlyConfigured as error:
            hint = 'Give the dotted path of a subclass of observers.Observer, or {"BACKEND": path, "OPTIONS": {...}}.'
            yield messages.error(18, str(error), hint)


CHECKS: CheckTable = (
    ((), _time_zones),
    (("VAPID_PRIVATE_KEY", "VAPID_PUBLIC_KEY", "VAPID_FALLBACK_PRIVATE_KEYS"), _vapid_keys),
    (("VAPID_SUBJECT", "VAPID_CONTACT_EMAIL"), _vapid_subject),
    (("TASK_BACKEND",), _task_backend),
    (("TRANSPORT", "LEASE_SECONDS", "PUSH_SERVICES", "ALLOW_PRIVATE_ENDPOINTS"), _transport),
    (("BASE_URL", "DECLARATIVE"), _base_url),
    (("RATE_LIMITS",), _rate_limits),
    (("NOTIFICATION_TYPES",), _notification_types),
    (("RECIPIENT_CONTEXT", "AUTHENTICATORS", "AUDIENCES"), _dotted_paths),
    (("ACTIVE_USERS",), _active_users),
    (("SCOPE",), _scope),
    (("API_PATH",), _api_path),
    (("SERVICE_WORKER_SCOPE",), _service_worker_scope),
    (("DEFAULTS",), _defaults),
    (("PUSH_SERVICES",), _push_services),
    (("SEND_RATES",), _send_rates),
    (("OBSERVERS",), _observers),
)

"""Deployment checks: settings that are fine in development and dangerous, or slower than need be, in production."""

from __future__ import annotations

import stat
from importlib.util import find_spec
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.checks import messages
from django_webpush_kit.checks.messages import CheckTable, Messages, named
from django_webpush_kit.checks.queues import shared_sqlite
from django_webpush_kit.conf import backend_spec, kit_settings, known_settings, vapid_subject
from django_webpush_kit.database import outbox_database
from django_webpush_kit.task_backends import CeleryBackend, DjangoQBackend, get_task_backend
from django_webpush_kit.task_backends.base import MAX_IMMEDIATE_ROWS

_FAKE_DOMAINS = (".example", ".invalid", ".local", ".test", "example.com", "example.net", "example.org")


def _private_endpoints() -> Messages:
    if kit_settings.ALLOW_PRIVATE_ENDPOINTS:
        yield messages.warning(
            30,
            f"{named('ALLOW_PRIVATE_ENDPOINTS')} is True, so any subscriber can make this site send requests "
            "to its own network.",
            "Set it for tests and local demos only.",
        )


def _open_mode() -> Messages:
    for host in kit_settings.PUSH_SERVICES:
        if host == "*" or (isinstance(host, str) and host.startswith(".") and "." not in host[1:]):
            yield messages.warning(
                31,
                f'{named("PUSH_SERVICES")} contains "{host}", so any subscriber can choose which hosts this '
                "site sends requests to.",
                "List the push services of the browsers, as the default does.",
            )


def _anonymous() -> Messages:
    if kit_settings.ALLOW_ANONYMOUS and not kit_settings.RATE_LIMITS.get("subscribe"):
        yield messages.warning(
            32,
            f"{named('ALLOW_ANONYMOUS')} is True and RATE_LIMITS does not limit subscribe, so anyone can fill "
            "the database.",
            'Set RATE_LIMITS["subscribe"], such as "30/m".',
        )


def _unlimited() -> Messages:
    rates = kit_settings.RATE_LIMITS
    unlimited = [name for name in known_settings()["RATE_LIMITS"].default if not rates.get(name)]
    if kit_settings.ALLOW_ANONYMOUS and "subscribe" in unlimited:
        unlimited.remove("subscribe")  # `_anonymous` reports the more serious problem
    if unlimited:
        yield messages.warning(
            42,
            f"{named('RATE_LIMITS')} does not limit {', '.join(unlimited)}, so one client can overload the site.",
            "RATE_LIMITS replaces the defaults; list these keys too, or limit them in the reverse proxy.",
        )


def _silent_transport() -> Messages:
    try:
        path = backend_spec("TRANSPORT")[0].rpartition(".")[2]
    except ImproperlyConfigured:
        return  # `check_settings` reports it
    if path in ("LocmemTransport", "ConsoleTransport"):
        yield messages.warning(
            33, f"{named('TRANSPORT')}: {path} sends nothing.", 'Remove the setting, or set it to "auto".'
        )


def _client_info() -> Messages:
    if kit_settings.STORE_CLIENT_INFO:
        yield messages.warning(
            34,
            f"{named('STORE_CLIENT_INFO')} is True, so the IP address and user agent of each subscriber are stored.",
            "Set it only if your privacy policy covers it. RETENTION_DAYS limits how long they are stored.",
        )


def _fake_subject() -> Messages:
    domain = vapid_subject().partition("://")[2].partition("/")[0] or vapid_subject().rpartition("@")[2]
    if f".{domain.lower()}".endswith(tuple(f".{fake.removeprefix('.')}" for fake in _FAKE_DOMAINS)):
        yield messages.warning(
            35,
            f"{named('VAPID_SUBJECT')} is a placeholder ({domain}); push services contact this address before "
            "blocking a sender.",
            "Use a monitored mailbox.",
        )


def _private_cache() -> Messages:
    from django_webpush_kit.caching import is_cache_shared
    from django_webpush_kit.task_backends.base import QueueBackend, get_task_backend

    if is_cache_shared():
        return
    hint = 'Set CACHES["default"] to a cache that all processes share, such as Redis.'
    try:
        is_queue = isinstance(get_task_backend(), QueueBackend)
    except (ImproperlyConfigured, ImportError):
        is_queue = False
    if is_queue:
        yield messages.warning(
            36,
            "The default cache (LocMem/Dummy) is not shared between processes, so every transaction enqueues its own "
            "wake-up.",
            hint,
        )
    if any(kit_settings.RATE_LIMITS.values()):
        yield messages.warning(
            37,
            f"The default cache (LocMem/Dummy) is not shared between processes, so each process counts "
            f"{named('RATE_LIMITS')} separately.",
            hint,
        )


def _proxies() -> Messages:
    is_behind_proxy = bool(
        settings.SECURE_PROXY_SSL_HEADER or settings.USE_X_FORWARDED_HOST or settings.USE_X_FORWARDED_PORT
    )
    if is_behind_proxy and not kit_settings.TRUSTED_PROXIES:
        yield messages.warning(
            38,
            f"{named('TRUSTED_PROXIES')} is 0, but other settings expect a proxy: all visitors who are not signed in "
            "share one rate limit.",
            "Set it to the number of proxies that append to X-Forwarded-For.",
        )
    if kit_settings.TRUSTED_PROXIES and not is_behind_proxy:
        yield messages.warning(
            39,
            f"{named('TRUSTED_PROXIES')} is {kit_settings.TRUSTED_PROXIES}, but no other setting expects a proxy. "
            "Without one, visitors can forge the address that is rate limited.",
            "Set it to 0, or to the number of proxies and SECURE_PROXY_SSL_HEADER to match.",
        )


def _key_files() -> Messages:
    for text in (kit_settings.VAPID_PRIVATE_KEY, *kit_settings.VAPID_FALLBACK_PRIVATE_KEYS):
        try:
            mode = Path(text or "no file").stat().st_mode
        except (OSError, ValueError, TypeError):
            continue  # the key itself, or a missing file, which another check reports
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield messages.warning(
                40, f"The VAPID private key file {text} is readable by other users.", f"chmod 600 {text}"
            )


def _insecure_base_url() -> Messages:
    if kit_settings.BASE_URL.startswith("http://"):
        yield messages.warning(
            41, f"{named('BASE_URL')} is not https, but browsers allow push only on secure origins.", "Use https."
        )


def _workers() -> Messages:
    try:
        backend = get_task_backend()
    except (ImproperlyConfigured, ImportError):
        return  # `check_settings` reports it
    if backend.delivers_in_requests:
        yield from shared_sqlite(outbox_database())  # `deliver_push` writes beside the requests
        yield messages.information(
            1,
            f"The {type(backend).__name__} sends at most {MAX_IMMEDIATE_ROWS} notifications within a request and never "
            f"retries by itself{_WHY_IN_REQUESTS.get(type(backend), '')}.",
            "Run `manage.py deliver_push --loop`, or `deliver_push` every minute, or choose a queue as "
            f"{named('TASK_BACKEND')}.",
        )


_WHY_IN_REQUESTS: dict[type, str] = {
    CeleryBackend: ", because task_always_eager is set",
    DjangoQBackend: ", because Q_CLUSTER has sync",
}


def _pycurl() -> Messages:
    try:
        path = backend_spec("TRANSPORT")[0]
    except ImproperlyConfigured:
        return  # `check_settings` reports it
    if path == "auto" and find_spec("pycurl") is None:
        yield messages.information(
            2,
            "pycurl is not installed, so messages are sent by the portable transport, which is several times slower.",
            "python -m pip install pycurl",
        )


CHECKS: CheckTable = (
    (("ALLOW_PRIVATE_ENDPOINTS",), _private_endpoints),
    (("PUSH_SERVICES",), _open_mode),
    (("ALLOW_ANONYMOUS", "RATE_LIMITS"), _anonymous),
    (("ALLOW_ANONYMOUS", "RATE_LIMITS"), _unlimited),
    (("TRANSPORT",), _silent_transport),
    (("STORE_CLIENT_INFO",), _client_info),
    (("VAPID_SUBJECT", "VAPID_CONTACT_EMAIL"), _fake_subject),
    (("TASK_BACKEND", "RATE_LIMITS"), _private_cache),
    (("TRUSTED_PROXIES",), _proxies),
    (("VAPID_PRIVATE_KEY", "VAPID_FALLBACK_PRIVATE_KEYS"), _key_files),
    (("BASE_URL",), _insecure_base_url),
    (("TASK_BACKEND",), _workers),
    (("TRANSPORT",), _pycurl),
)

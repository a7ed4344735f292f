"""What a worker keeps between chunks: its transport with open connections, and signers with their tokens."""

from __future__ import annotations

import threading
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_webpush_kit.conf import VapidKeyring, backend_spec, endpoint_policy, kit_settings
from django_webpush_kit.protocol.vapid import VapidKey, VapidSigner
from django_webpush_kit.transports import Transport
from django_webpush_kit.transports.network import NetworkTransport

REQUEST_SECONDS = 30.0

_local = threading.local()


def get_transport() -> Transport:
    """Return this thread's transport, made from the settings as they stand, and kept while they do not change."""
    path, options = transport_spec()
    policy = endpoint_policy()
    wanted = (path, repr(sorted(options.items())), policy)
    if getattr(_local, "wanted", None) != wanted:
        close_transport()
        _local.transport = _build(path, {**options, "endpoint_policy": policy})
        _local.wanted = wanted
    transport: Transport = _local.transport
    return transport


def close_transport() -> None:
    """Close this thread's transport, if it has one."""
    transport: Transport | None = getattr(_local, "transport", None)
    _local.transport = _local.wanted = None
    if transport is not None:
        transport.close()


def transport_spec() -> tuple[str, dict[str, Any]]:
    """The dotted path and options of the transport; "auto" is curl where pycurl is installed, else pywebpush.

    Network transports are given a `timeout` of at most half a lease, so that every request ends within its lease.
    """
    path, options = backend_spec("TRANSPORT")
    if path == "auto":
        path = f"django_webpush_kit.transports.{'CurlTransport' if find_spec('pycurl') else 'PyWebPushTransport'}"
    if issubclass(import_string(path), NetworkTransport):
        options["timeout"] = min(options.get("timeout", REQUEST_SECONDS), kit_settings.LEASE_SECONDS / 2)
    return path, options


def request_seconds() -> float:
    """The longest one request may take."""
    return float(transport_spec()[1].get("timeout", 0.0))


@lru_cache(maxsize=32)
def get_signer(key: VapidKey, subject: str) -> VapidSigner:
    """The signer of one key; it keeps one token per push service until that nears its end."""
    return VapidSigner(key, subject)


def find_signer(keyring: VapidKeyring, key_id: str) -> VapidSigner | None:
    """The signer for the key a subscription was made with, or None when that key is no longer configured."""
    key = keyring.find(key_id)
    return None if key is None else get_signer(key, keyring.subject)


def _build(path: str, options: dict[str, Any]) -> Transport:
    try:
        transport: Transport = import_string(path)(**options)
    except TypeError as error:
        raise ImproperlyConfigured(f'WEBPUSH_KIT["TRANSPORT"]: {path}: {error}') from error
    return transport

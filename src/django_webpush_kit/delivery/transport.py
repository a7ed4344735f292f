"""The transport of this process with its open connections, and signers with cached VAPID tokens."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
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


def get_transport() -> Transport:
    """Return the transport shared by the threads of this process. A change of the settings replaces it."""
    path, options = transport_spec()
    policy = endpoint_policy()
    wanted = (path, repr(sorted(options.items())), policy)
    current = _state.current
    if current is None or current.made_from != wanted or current.process_id != os.getpid():
        current = _replace(_Current(_build(path, {**options, "endpoint_policy": policy}), wanted, os.getpid()))
    return current.transport


def close_transport() -> None:
    """Close this process's transport, if it has one."""
    _replace(None)


def transport_spec() -> tuple[str, dict[str, Any]]:
    """Return the dotted path and options of the transport.

    "auto" is the curl transport if pycurl is installed, and the portable one otherwise and under gevent and eventlet.
    Network transports get a `timeout` of at most half a lease, so that every request ends within its lease.
    """
    path, options = backend_spec("TRANSPORT")
    if path == "auto":
        is_fast = find_spec("pycurl") is not None and not is_monkey_patched()
        path = f"django_webpush_kit.transports.{'CurlTransport' if is_fast else 'PyWebPushTransport'}"
    if issubclass(import_string(path), NetworkTransport):
        options["timeout"] = min(options.get("timeout", REQUEST_SECONDS), kit_settings.LEASE_SECONDS / 2)
    return path, options


def is_monkey_patched() -> bool:
    """Return whether gevent or eventlet have replaced Python's sockets."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    return bool((gevent and gevent.is_module_patched("socket")) or (eventlet and eventlet.is_monkey_patched("socket")))


def request_seconds() -> float:
    """Return the maximum duration of one request, in seconds."""
    return float(transport_spec()[1].get("timeout", 0.0))


@lru_cache(maxsize=32)
def get_signer(key: VapidKey, subject: str) -> VapidSigner:
    """Return the signer of one key. It reuses a token for each push service until it is about to expire."""
    return VapidSigner(key, subject)


def find_signer(keyring: VapidKeyring, key_id: str) -> VapidSigner | None:
    """Return the signer for the key of a subscription, or None if that key is no longer configured."""
    key = keyring.find(key_id)
    return None if key is None else get_signer(key, keyring.subject)


@dataclass(frozen=True, slots=True)
class _Current:
    transport: Transport
    made_from: tuple[object, ...]
    process_id: int


class _State:
    current: _Current | None = None


_state = _State()


def _replace(new: _Current | None) -> Any:
    """Make `new` the current transport and close the previous one, unless it was inherited over a fork."""
    former, _state.current = _state.current, new
    if former is not None and former.process_id == os.getpid():
        former.transport.close()
    return new


def _build(path: str, options: dict[str, Any]) -> Transport:
    try:
        transport: Transport = import_string(path)(**options)
    except TypeError as error:
        raise ImproperlyConfigured(f'WEBPUSH_KIT["TRANSPORT"]: {path}: {error}') from error
    return transport

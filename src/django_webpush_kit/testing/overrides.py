"""Settings for tests: your project's `WEBPUSH_KIT` with a local transport and immediate delivery."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.test.utils import override_settings

from django_webpush_kit.conf import given_settings, public_key, vapid_subject
from django_webpush_kit.protocol.vapid import generate_vapid_keys

_IMMEDIATE = "django_webpush_kit.task_backends.ImmediateBackend"


def locmem_settings() -> override_settings:
    """Return settings that deliver to the test outbox at commit."""
    return _overridden(TRANSPORT="django_webpush_kit.transports.LocmemTransport", TASK_BACKEND=_IMMEDIATE)


def loopback_settings() -> override_settings:
    """Return settings that deliver over the network at commit, also to push services on loopback."""
    return _overridden(TRANSPORT="auto", TASK_BACKEND=_IMMEDIATE, ALLOW_PRIVATE_ENDPOINTS=True)


def _overridden(**replaced: Any) -> override_settings:
    assumed: dict[str, Any] = {}
    if not public_key():  # no key is configured, or its file is not on this machine
        # a configured public key without its private key would not match the temporary key pair
        assumed |= {"VAPID_PRIVATE_KEY": _throwaway_key(), "VAPID_PUBLIC_KEY": "", "VAPID_FALLBACK_PRIVATE_KEYS": ()}
    if not vapid_subject():
        assumed["VAPID_SUBJECT"] = "mailto:tests@example.com"
    return override_settings(WEBPUSH_KIT={**given_settings(), **assumed, **replaced})


@lru_cache(maxsize=1)
def _throwaway_key() -> str:
    return generate_vapid_keys()["private_key"]

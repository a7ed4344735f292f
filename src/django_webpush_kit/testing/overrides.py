"""Settings for tests: the host's own `WEBPUSH_KIT` with the parts replaced that would leave the process."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.test.utils import override_settings

from django_webpush_kit.conf import given_settings, kit_settings, vapid_subject
from django_webpush_kit.protocol.vapid import generate_vapid_keys

_IMMEDIATE = "django_webpush_kit.task_backends.ImmediateBackend"


def locmem_settings() -> override_settings:
    """Deliver at commit, into the outbox."""
    return _overridden(TRANSPORT="django_webpush_kit.transports.LocmemTransport", TASK_BACKEND=_IMMEDIATE)


def loopback_settings() -> override_settings:
    """Deliver at commit, over the network, to push services on loopback too."""
    return _overridden(TRANSPORT="auto", TASK_BACKEND=_IMMEDIATE, ALLOW_PRIVATE_ENDPOINTS=True)


def _overridden(**replaced: Any) -> override_settings:
    assumed: dict[str, Any] = {}
    if not kit_settings.VAPID_PRIVATE_KEY:
        # a public key given without its private half would not match the throw-away pair
        assumed |= {"VAPID_PRIVATE_KEY": _throwaway_key(), "VAPID_PUBLIC_KEY": ""}
    if not vapid_subject():
        assumed["VAPID_SUBJECT"] = "mailto:tests@example.com"
    return override_settings(WEBPUSH_KIT={**given_settings(), **assumed, **replaced})


@lru_cache(maxsize=1)
def _throwaway_key() -> str:
    return generate_vapid_keys()["private_key"]

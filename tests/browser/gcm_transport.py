"""A transport that takes messages for Google's push service to a `FakeGCM` instead.

For a site under test whose browser is `Chromium`::

    WEBPUSH_KIT = {
        "TRANSPORT": {"BACKEND": "tests.browser.gcm_transport.GCMTransport", "OPTIONS": {"origin": gcm.origin}},
        "ALLOW_PRIVATE_ENDPOINTS": True,
        ...
    }
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django_webpush_kit.transports import PushRequest, PushResponse, PyWebPushTransport
from django_webpush_kit.transports.network import PreparedRequest
from tests.browser.fake_gcm import ENDPOINT_ORIGIN


class GCMTransport(PyWebPushTransport):
    """Everything but the address is as in production: endpoint rules, headers, encryption, the connection."""

    def __init__(self, *, origin: str, **options: Any) -> None:
        super().__init__(**options)
        self._origin = origin

    def prepare(self, request: PushRequest) -> PreparedRequest | PushResponse:
        """Prepare for the real endpoint, then change where it goes."""
        prepared = super().prepare(request)
        if isinstance(prepared, PushResponse):
            return prepared
        return replace(prepared, url=prepared.url.replace(ENDPOINT_ORIGIN, self._origin, 1))

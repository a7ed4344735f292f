"""A transport for the example site under a Chromium whose push service is a `FakeGCM`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from django_webpush_kit.transports import PushRequest, PushResponse, PyWebPushTransport


class RelayTransport(PyWebPushTransport):
    """Posts to the origin in the environment variable TEST_PUSH_ORIGIN instead of the endpoint's own.

    Chromium fixes the host of its endpoints. The VAPID token stays the one for that host.
    """

    def send(self, requests: Iterable[PushRequest]) -> Iterator[PushResponse]:
        origin = os.environ["TEST_PUSH_ORIGIN"]
        return super().send(replace(one, endpoint=origin + urlsplit(one.endpoint).path) for one in requests)

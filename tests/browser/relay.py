"""Transports for an example site that sends to a browser's push service, wherever that is served."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from django_webpush_kit.transports import PushRequest, PushResponse, PyWebPushTransport


class RelayTransport(PyWebPushTransport):
    """Posts to the origin in the environment variable TEST_PUSH_ORIGIN instead of the endpoint's own.

    Chromium fixes the host of its endpoints. The VAPID token stays the one for that host.
    """

    def send(self, requests: Iterable[PushRequest | None]) -> Iterator[PushResponse]:
        origin = os.environ["TEST_PUSH_ORIGIN"]
        # None stands for a pause: nothing is due at the moment
        return super().send(one and replace(one, endpoint=origin + urlsplit(one.endpoint).path) for one in requests)


class DyingTransport(RelayTransport):
    """The worker is killed at the first message that a push service has accepted, before it can note that."""

    def send(self, requests: Iterable[PushRequest | None]) -> Iterator[PushResponse]:
        for response in super().send(requests):
            if response.status == 201:
                os.kill(os.getpid(), signal.SIGKILL)
            yield response

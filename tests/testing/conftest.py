"""A fake push service and an application server that sends to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_webpush_kit.testing.fake_push_service import FakePushService
from tests.testing.application_server import ApplicationServer


@pytest.fixture
def service() -> Iterator[FakePushService]:
    with FakePushService() as running:
        yield running


@pytest.fixture
def server() -> ApplicationServer:
    return ApplicationServer()

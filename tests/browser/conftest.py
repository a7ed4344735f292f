"""Real browsers for tests: `firefox` and `chromium` run once for all, `site` is a fresh origin for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_webpush_kit.testing import FakePushService
from tests.browser.chromium import Chromium
from tests.browser.fake_gcm import FakeGCM
from tests.browser.firefox import Firefox
from tests.browser.site import Site


@pytest.fixture(scope="session")
def push_service() -> Iterator[FakePushService]:
    with FakePushService() as service:
        yield service


@pytest.fixture(scope="session")
def firefox(push_service: FakePushService) -> Iterator[Firefox]:
    with Firefox(push_service) as browser:
        yield browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    from tests.browser.notification_centre import NotificationCentre  # needs dbus-next, which no other test does

    with FakeGCM() as service, NotificationCentre() as centre, Chromium(service, centre) as browser:
        yield browser


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as running:
        yield running

"""Real browsers for tests: `firefox` and `chromium` run once for all, `browser` is each of them in turn.

`site` is a fresh origin for each test, `studio_folder` has the data of an example site that has just been set up.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_webpush_kit.testing import FakePushService
from example_project.backstage.running import Studio
from tests.browser.browser import Browser
from tests.browser.chromium import Chromium
from tests.browser.fake_gcm import FakeGCM
from tests.browser.firefox import Firefox
from tests.browser.raising import RaisingChromium, RaisingFirefox, screen
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


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    with screen() as name:
        yield name


@pytest.fixture(scope="session")
def raising_firefox(push_service: FakePushService, display: str) -> Iterator[RaisingFirefox]:
    with RaisingFirefox(push_service, display) as browser:
        yield browser


@pytest.fixture(scope="session")
def raising_chromium(display: str) -> Iterator[RaisingChromium]:
    from tests.browser.notification_centre import NotificationCentre  # needs dbus-next, which no other test does

    with FakeGCM() as service, NotificationCentre() as centre, RaisingChromium(service, centre, display) as browser:
        yield browser


@pytest.fixture(params=["firefox", "chromium"])
def browser(request: pytest.FixtureRequest) -> Browser:
    running: Browser = request.getfixturevalue(request.param)
    return running


@pytest.fixture(scope="session")
def new_studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studio")
    Studio(folder).set_up()
    return folder


@pytest.fixture
def studio_folder(new_studio: Path, tmp_path: Path) -> Path:
    return shutil.copytree(new_studio, tmp_path / "studio")


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as running:
        yield running

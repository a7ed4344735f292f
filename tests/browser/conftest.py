"""Real browsers for tests: `firefox` and `chromium` run once for all, `browser` is each of them in turn.

`site` is a fresh origin for each test, `studio_folder` has the data of an example site that has just been set up.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from django_webpush_kit.testing import FakePushService
from example_project.backstage.running import Studio
from tests.browser.app_builder import App, pack, require_npm
from tests.browser.browser import Browser
from tests.browser.chromium import Chromium
from tests.browser.fake_gcm import FakeGCM
from tests.browser.firefox import Firefox
from tests.browser.raising import RaisingChromium, RaisingFirefox, screen
from tests.browser.site import Site

AnyBrowser = TypeVar("AnyBrowser", bound=Browser)

_shared: list[Browser] = []


@contextmanager
def shared(browser: AnyBrowser) -> Iterator[AnyBrowser]:
    """Run a browser for many tests."""
    with browser:
        _shared.append(browser)
        yield browser
        _shared.remove(browser)


@pytest.fixture(autouse=True)
def clear_screen() -> Iterator[None]:
    """Close what clicks on notifications have opened, which would hide the pages of later tests, and their alerts."""
    yield
    for browser in _shared:
        browser.close_other_tabs()
        browser.close_alerts()


@pytest.fixture(scope="session")
def push_service() -> Iterator[FakePushService]:
    with FakePushService() as service:
        yield service


@pytest.fixture(scope="session")
def firefox(push_service: FakePushService) -> Iterator[Firefox]:
    with shared(Firefox(push_service)) as browser:
        yield browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    from tests.browser.notification_centre import NotificationCentre  # needs dbus-next, which no other test does

    with FakeGCM() as service, NotificationCentre() as centre, shared(Chromium(service, centre)) as browser:
        yield browser


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    with screen() as name:
        yield name


@pytest.fixture(scope="session")
def raising_firefox(push_service: FakePushService, display: str) -> Iterator[RaisingFirefox]:
    with shared(RaisingFirefox(push_service, display)) as browser:
        yield browser


@pytest.fixture(scope="session")
def raising_chromium(display: str) -> Iterator[RaisingChromium]:
    from tests.browser.notification_centre import NotificationCentre  # needs dbus-next, which no other test does

    with (
        FakeGCM() as service,
        NotificationCentre() as centre,
        shared(RaisingChromium(service, centre, display)) as browser,
    ):
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


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the npm package."""
    require_npm()
    return pack(tmp_path_factory.mktemp("npm"))


@pytest.fixture(scope="session")
def vite_app(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> App:
    """The Vite app, installed but not built; tests build copies of it."""
    return App.install("vite", tmp_path_factory.mktemp("vite") / "installed", packed)


@pytest.fixture(scope="session")
def next_app(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> App:
    """The Next.js app, likewise."""
    return App.install("next", tmp_path_factory.mktemp("next") / "installed", packed)

"""The Vite app of the how-to, in real browsers: behind its proxy, with an API elsewhere, and without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.app_builder import App, Deployment, deployed, free_port
from tests.browser.app_visitor import Visitor, use_the_mock, visiting, whole_way
from tests.browser.browser import Browser

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def proxied(vite_app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    app = vite_app.copy(tmp_path_factory.mktemp("vite") / "proxied")
    with deployed(app, "preview", "VITE_", is_proxied=True) as running:
        yield running


@pytest.fixture(scope="module")
def elsewhere(vite_app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    app = vite_app.copy(tmp_path_factory.mktemp("vite") / "elsewhere")
    with deployed(app, "preview", "VITE_", is_proxied=False) as running:
        yield running


@pytest.mark.parametrize("name", ["proxied", pytest.param("elsewhere", marks=pytest.mark.slow)])
def test_the_whole_way(name: str, browser: Browser, studio_folder: Path, request: pytest.FixtureRequest):
    with visiting(browser, request.getfixturevalue(name), studio_folder) as (visitor, studio):
        whole_way(visitor, studio)


@pytest.fixture(scope="module")
def mocked(vite_app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    app = vite_app.copy(tmp_path_factory.mktemp("vite") / "mocked")
    app.build(VITE_USE_MOCK_API="true")
    with app.serve("preview", free_port()) as origin:
        yield origin


def test_the_mock_needs_no_server(browser: Browser, mocked: str):
    with Visitor(browser, mocked) as visitor:
        use_the_mock(visitor)

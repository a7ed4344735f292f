"""The Next.js app of the how-to, in real browsers: behind its rewrites, with an API elsewhere, and without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from tests.browser.app_builder import App, Deployment, deployed, free_port
from tests.browser.app_visitor import Visitor, use_the_mock, visiting, whole_way
from tests.browser.browser import Browser
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def proxied(next_app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    app = next_app.copy(tmp_path_factory.mktemp("next") / "proxied")
    with deployed(app, "start", "NEXT_PUBLIC_", is_proxied=True) as running:
        yield running


@pytest.fixture(scope="module")
def elsewhere(next_app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    app = next_app.copy(tmp_path_factory.mktemp("next") / "elsewhere")
    with deployed(app, "start", "NEXT_PUBLIC_", is_proxied=False) as running:
        yield running


@pytest.mark.parametrize("name", ["proxied", "elsewhere"])
def test_the_whole_way(name: str, browser: Browser, studio_folder: Path, request: pytest.FixtureRequest):
    with visiting(browser, request.getfixturevalue(name), studio_folder) as (visitor, studio):
        whole_way(visitor, studio)


def test_pages_are_rendered_on_the_server(proxied: Deployment):
    with build_opener(ProxyHandler({})).open(f"{proxied.origin}/orders/7", timeout=60) as answer:
        assert "/orders/<!-- -->7</h1>" in answer.read().decode()
    with build_opener(ProxyHandler({})).open(f"{proxied.origin}/settings", timeout=60) as answer:
        assert "<webpush-preferences></webpush-preferences>" in answer.read().decode()


def test_the_mock_needs_no_server(browser: Browser, next_app: App, tmp_path: Path):
    app = next_app.copy(tmp_path / "mock")
    app.build(NEXT_PUBLIC_USE_MOCK_API="true")
    with app.serve("start", free_port()) as origin, Visitor(browser, origin) as visitor:
        use_the_mock(visitor)


def test_hydration_is_silent_in_development(browser: Browser, next_app: App, tmp_path: Path):
    """React tells of each difference between the server's HTML and the page in development only."""
    app = next_app.copy(tmp_path / "development")
    with (
        app.serve("dev", free_port(), NEXT_PUBLIC_USE_MOCK_API="true") as origin,
        Visitor(browser, origin) as visitor,
    ):
        visitor.watch()
        for path in ("/", "/orders/7", "/settings"):
            visitor.open(path)
            wait_until(lambda path=path: visitor.path == path, path)
        wait_until(lambda: visitor.attribute("webpush-preferences", "state") == "off", "the element")
        assert visitor.complaints() == []

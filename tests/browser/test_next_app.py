"""The Next.js app of the how-to, in real browsers: behind its rewrites, with an API elsewhere, and without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from tests.browser.app_builder import App, Deployment, deployed, free_port
from tests.browser.app_visitor import (
    OFF,
    ON,
    Visitor,
    active_subscriptions,
    receive_and_click,
    use_the_mock,
    visiting,
    whole_way,
)
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


@pytest.fixture(scope="module")
def mocked(next_app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    app = next_app.copy(tmp_path_factory.mktemp("next") / "mocked")
    app.build(NEXT_PUBLIC_USE_MOCK_API="true")
    with app.serve("start", free_port()) as origin:
        yield origin


def test_the_mock_needs_no_server(browser: Browser, mocked: str):
    with Visitor(browser, mocked) as visitor:
        use_the_mock(visitor)


@pytest.fixture(scope="module")
def in_the_shop(next_app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    app = next_app.copy(tmp_path_factory.mktemp("next") / "below-a-path")
    app.overlay("next-below-a-path")
    app.change("app/session.ts", ("await fetch(url,", "await fetch(`/shop${url}`,"))
    with deployed(app, "start", "NEXT_PUBLIC_", is_proxied=True, api_base="/shop") as running:
        yield running


def test_an_app_below_a_path(browser: Browser, in_the_shop: Deployment, studio_folder: Path):
    with visiting(browser, in_the_shop, studio_folder, base="/shop") as (visitor, studio):
        visitor.watch()
        visitor.open()
        visitor.sign_in("zoe")
        visitor.subscribe()
        assert browser.run("return location.pathname") == "/shop"  # which is not in the scope of the worker
        scopes = browser.run("return (await navigator.serviceWorker.getRegistrations()).map(({scope}) => scope)")
        assert scopes == [f"{in_the_shop.origin}/shop/"]
        receive_and_click(visitor, studio, "zoe", "In the shop", path="/shop/orders/7")
        visitor.open("/orders/8")
        visitor.wait_for_switch(ON)
        receive_and_click(visitor, studio, "zoe", "In the shop again", path="/shop/orders/7")
        visitor.press_switch(OFF)
        assert active_subscriptions(studio) == []
        visitor.assert_no_complaints()


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
        visitor.assert_no_complaints()

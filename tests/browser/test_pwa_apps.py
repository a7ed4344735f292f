"""The Vite app of the how-to with a service worker of Workbox that imports ours, in real browsers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.app_builder import App, Deployment, deployed
from tests.browser.app_visitor import ON, receive_and_click, visiting, whole_way
from tests.browser.browser import Browser
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

CONTROLLER = "return navigator.serviceWorker.controller?.scriptURL ?? ''"


@pytest.fixture(scope="module")
def vite_with_workbox(vite_app: App, tmp_path_factory: pytest.TempPathFactory) -> App:
    app = vite_app.copy(tmp_path_factory.mktemp("pwa") / "vite")
    app.add("vite-plugin-pwa@2.0.0")
    app.change("tsconfig.json", ('"skipLibCheck": false', '"skipLibCheck": true'))  # its own types need it
    return app


@pytest.fixture(scope="module")
def workbox(vite_with_workbox: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    app = vite_with_workbox.copy(tmp_path_factory.mktemp("pwa") / "workbox")
    app.overlay("vite-pwa")
    with deployed(app, "preview", "VITE_", is_proxied=True) as running:
        yield running


def test_the_whole_way(browser: Browser, workbox: Deployment, studio_folder: Path):
    with visiting(browser, workbox, studio_folder) as (visitor, studio):
        visitor.open()
        wait_until(lambda: browser.run(CONTROLLER).endswith("/sw.js"), "the app's own worker")
        whole_way(visitor, studio)
        assert browser.run(CONTROLLER).endswith("/sw.js")


def test_workbox_comes_later(browser: Browser, vite_with_workbox: App, studio_folder: Path, tmp_path: Path):
    """Who subscribed before the app became a PWA still gets what is sent."""
    app = vite_with_workbox.copy(tmp_path / "app")
    with (
        deployed(app, "preview", "VITE_", is_proxied=True) as deployment,
        visiting(browser, deployment, studio_folder) as (visitor, studio),
    ):
        visitor.open()
        visitor.sign_in("zoe")
        visitor.subscribe()
        app.overlay("vite-pwa")
        app.build(DJANGO_URL=f"http://127.0.0.1:{deployment.django_port}")
        visitor.open()
        wait_until(lambda: browser.run(CONTROLLER).endswith("/sw.js"), "the app's own worker")
        visitor.open()
        visitor.wait_for_switch(ON)
        receive_and_click(visitor, studio, "zoe", "Still here")

"""The apps of the how-to with a service worker of Workbox or Serwist that imports ours, in real browsers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.app_builder import App, Deployment, deployed
from tests.browser.app_visitor import OFF, ON, Visitor, active_subscriptions, receive_and_click, visiting, whole_way
from tests.browser.browser import Browser
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

CONTROLLER = "return navigator.serviceWorker.controller?.scriptURL ?? ''"
CACHED = """
    const paths = [];
    for (const name of await caches.keys())
        for (const { url } of await (await caches.open(name)).keys()) paths.push(new URL(url).pathname);
    return paths;
"""


def with_workbox(vite_app: App, folder: Path) -> App:
    app = vite_app.copy(folder)
    app.add("vite-plugin-pwa@2.0.0")
    app.change("tsconfig.json", ('"skipLibCheck": false', '"skipLibCheck": true'))  # its own types need it
    return app


def with_next_pwa(next_app: App, folder: Path) -> App:
    app = next_app.copy(folder)
    app.add("@ducanh2912/next-pwa@10.2.9", "webpack@5")
    app.change("package.json", ("next build", "next build --webpack"))
    app.overlay("next-pwa")
    return app


def with_serwist(next_app: App, folder: Path) -> App:
    app = next_app.copy(folder)
    app.add("@serwist/next@9.5.13", "serwist@9.5.13")
    app.change("package.json", ("next build", "next build --webpack"))
    app.overlay("next-serwist")
    return app


def with_serwist_and_turbopack(next_app: App, folder: Path) -> App:
    app = next_app.copy(folder)
    app.add("@serwist/turbopack@9.5.12", "serwist@9.5.13", "esbuild@0.27.1")
    app.overlay("next-serwist-turbopack")
    return app


@pytest.fixture(scope="module")
def vite_with_workbox(vite_app: App, tmp_path_factory: pytest.TempPathFactory) -> App:
    return with_workbox(vite_app, tmp_path_factory.mktemp("pwa") / "vite")


@pytest.fixture(scope="module")
def workbox(vite_with_workbox: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    app = vite_with_workbox.copy(tmp_path_factory.mktemp("pwa") / "workbox")
    app.overlay("vite-pwa")
    with deployed(app, "preview", "VITE_", is_proxied=True) as running:
        yield running


@pytest.fixture(scope="module", params=[with_next_pwa, with_serwist, with_serwist_and_turbopack])
def next_with_worker(
    request: pytest.FixtureRequest, next_app: App, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    app = request.param(next_app, tmp_path_factory.mktemp("pwa") / "next")
    with deployed(app, "start", "NEXT_PUBLIC_", is_proxied=True) as running:
        yield running


def wait_for_the_apps_worker(visitor: Visitor) -> None:
    wait_until(lambda: visitor.browser.run(CONTROLLER).endswith("/sw.js"), "the app's own worker")


def go_the_whole_way(browser: Browser, deployment: Deployment, studio_folder: Path) -> None:
    """Do so with the app's worker in control from the beginning; it keeps nothing that the API has answered."""
    with visiting(browser, deployment, studio_folder) as (visitor, studio):
        visitor.open()
        wait_for_the_apps_worker(visitor)
        whole_way(visitor, studio)
        assert browser.run(CONTROLLER).endswith("/sw.js")
        assert [path for path in browser.run(CACHED) if path.startswith("/api/")] == []


def test_the_whole_way_with_workbox(browser: Browser, workbox: Deployment, studio_folder: Path):
    go_the_whole_way(browser, workbox, studio_folder)


def test_the_whole_way_in_next(browser: Browser, next_with_worker: Deployment, studio_folder: Path):
    go_the_whole_way(browser, next_with_worker, studio_folder)


def test_workbox_comes_later(browser: Browser, vite_with_workbox: App, studio_folder: Path, tmp_path: Path):
    """Its worker is noticed where it does not import ours; where it does, subscriptions from before stay valid."""
    app = vite_with_workbox.copy(tmp_path / "app")
    with (
        deployed(app, "preview", "VITE_", is_proxied=True) as deployment,
        visiting(browser, deployment, studio_folder) as (visitor, studio),
    ):
        django = f"http://127.0.0.1:{deployment.django_port}"
        visitor.open()
        visitor.sign_in("zoe")
        visitor.subscribe()

        app.overlay("vite-pwa")
        app.change("vite.config.ts", ('        importScripts: ["/service-worker.js"],\n', ""))
        app.build(DJANGO_URL=django)
        visitor.open()
        wait_for_the_apps_worker(visitor)
        visitor.open()
        wait_until(lambda: visitor.attribute("webpush-preferences", "state") == "conflict", "the conflict")
        assert_says_what_is_missing(visitor)

        app.overlay("vite-pwa")
        app.build(DJANGO_URL=django)
        visitor.open()
        wait_for_update(visitor)
        visitor.open()
        visitor.wait_for_switch(ON)
        receive_and_click(visitor, studio, "zoe", "Still here")


def assert_says_what_is_missing(visitor: Visitor) -> None:
    """Pressing the switch subscribes nobody, and says why."""
    visitor.wait_for_switch(OFF)
    visitor.browser.click("main p button")
    wait_until(lambda: 'let it importScripts("/service-worker.js")' in visitor.error, "the reason")
    assert visitor.switch == OFF


def wait_for_update(visitor: Visitor) -> None:
    """Let the browser look for a new worker, and wait until the one in control answers as ours does."""
    answers = """
        await (await navigator.serviceWorker.ready).update();
        const { port1, port2 } = new MessageChannel();
        const answered = new Promise((resolve) => {
            port1.onmessage = ({ data }) => resolve(data.type);
            setTimeout(resolve, 1000, "");
        });
        navigator.serviceWorker.controller?.postMessage({ type: "webpush-kit:state" }, [port2]);
        return await answered;
    """
    wait_until(lambda: visitor.browser.run(answers) == "webpush-kit:state", "the new worker", 60)


@pytest.fixture(scope="module")
def serwist_alone(next_app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    app = with_serwist(next_app, tmp_path_factory.mktemp("pwa") / "alone")
    app.change("app/sw.ts", ('self.importScripts("/service-worker.js");\n', ""))
    with deployed(app, "start", "NEXT_PUBLIC_", is_proxied=True) as running:
        yield running


def test_serwist_that_does_not_import_ours_is_noticed(browser: Browser, serwist_alone: Deployment, studio_folder: Path):
    with visiting(browser, serwist_alone, studio_folder) as (visitor, studio):
        visitor.open()
        wait_for_the_apps_worker(visitor)
        visitor.sign_in("zoe")
        assert_says_what_is_missing(visitor)
        assert active_subscriptions(studio) == []

"""What people report of push in apps made with Vite and React, tried with the Vite app of the how-to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from example_project.backstage.running import Studio
from tests.browser.app_builder import App, Deployment, deployed, free_port
from tests.browser.app_visitor import OFF, ON, Visitor, active_subscriptions, receive_and_click, visiting
from tests.browser.browser import Browser
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

# instead of the module: what many apps do
IMPORTED = """import { createPush, type PushNotificationManager } from "django-webpush-kit";
import { useEffect, useState } from "react";
import { userId } from "./session";
"""
CREATED = """export function NotificationSwitch() {
  const [push, setPush] = useState<PushNotificationManager>();
  useEffect(() => setPush(createPush({ serviceWorkerUrl: "/service-worker.js", user: userId })), []);
"""


@pytest.fixture
def app(vite_app: App, tmp_path: Path) -> App:
    return vite_app.copy(tmp_path / "app")


@contextmanager
def in_development(app: App, browser: Browser, studio_folder: Path) -> Iterator[tuple[Visitor, Studio]]:
    """Serve the app by `npm run dev`, and visit it."""
    port, django_port = free_port(), free_port()
    deployment = Deployment(f"http://localhost:{port}", django_port, is_proxied=True)
    with (
        app.serve("dev", port, DJANGO_URL=f"http://127.0.0.1:{django_port}"),
        visiting(browser, deployment, studio_folder) as visit,
    ):
        yield visit


def requests(studio: Studio, path: str) -> int:
    """How many requests of a path the site has answered."""
    return studio.log("site").count(f"/api/v1/push/{path} HTTP")


def test_strict_mode_and_managers_made_in_effects_subscribe_once(browser, app, studio_folder):
    app.change(
        "src/NotificationSwitch.tsx",
        ('import { push } from "./push";\n', IMPORTED),
        ("export function NotificationSwitch() {\n", CREATED),
    )
    with in_development(app, browser, studio_folder) as (visitor, studio):
        visitor.watch()
        visitor.open()
        visitor.sign_in("zoe")
        visitor.subscribe()
        visitor.open()
        visitor.wait_for_switch(ON)
        assert active_subscriptions(studio) == ["zoe"]
        assert requests(studio, "subscribe") == 1
        assert browser.run("return (await navigator.serviceWorker.getRegistrations()).length") == 1
        receive_and_click(visitor, studio, "zoe", "Once")
        assert browser.alerts()[-1].title == "Once"
        assert [shown.title for shown in browser.alerts()].count("Once") == 1
        visitor.assert_no_complaints()


def test_hot_replacement_of_the_module_keeps_the_subscription(browser, app, studio_folder):
    with in_development(app, browser, studio_folder) as (visitor, studio):
        visitor.open()
        visitor.sign_in("zoe")
        visitor.subscribe()
        app.change("src/NotificationSwitch.tsx", ("<p>", "<p className='replaced'>"))
        wait_until(lambda: browser.run("return !!document.querySelector('main p.replaced')"), "the new component")
        visitor.wait_for_switch(ON)
        app.change("src/push.ts", ("usesMock ?", "/* changed */ usesMock ?"))
        visitor.wait_for_switch(ON)
        receive_and_click(visitor, studio, "zoe", "After the change")
        assert active_subscriptions(studio) == ["zoe"]
        assert requests(studio, "subscribe") == 1


def test_a_worker_that_was_not_copied_is_named(browser, app):
    """A site that answers every unknown path with its start page does so here."""
    app.build(VITE_USE_MOCK_API="true")
    (app.folder / "dist" / "service-worker.js").unlink()
    with app.serve("preview", free_port()) as origin, Visitor(browser, origin) as visitor:
        visitor.open()
        visitor.sign_in("zoe")
        visitor.wait_for_switch(OFF)
        browser.click("main p button")
        wait_until(lambda: "service-worker.js" in visitor.error, "the name of the script")


def test_an_app_below_a_path(browser, app, studio_folder):
    app.change("vite.config.ts", ("plugins:", 'base: "/shop/",\n  plugins:'))
    app.change("src/router.ts", ("location.pathname)", 'location.pathname.replace("/shop/", "/"))'))
    with (
        deployed(app, "preview", "VITE_", is_proxied=True) as deployment,
        visiting(browser, deployment, studio_folder, base="/shop") as (visitor, studio),
    ):
        visitor.open()
        visitor.sign_in("zoe")
        visitor.subscribe()
        scopes = browser.run("return (await navigator.serviceWorker.getRegistrations()).map(({scope}) => scope)")
        assert scopes == [f"{deployment.origin}/shop/"]
        receive_and_click(visitor, studio, "zoe", "In the shop", path="/shop/orders/7")
        visitor.open()
        visitor.wait_for_switch(ON)

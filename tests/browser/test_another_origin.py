"""The front end is on another origin, with its own service worker there, as the documentation says."""

from __future__ import annotations

from importlib.resources import files

import pytest
from aiohttp import web

from django_webpush_kit.testing.loopback_server import LoopbackServer
from example_project.backstage.running import free_port
from tests.browser.lab import new_title, open_lab, owners, push, reports_of
from tests.browser.studio import select
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

MODULE = files("django_webpush_kit") / "static/django_webpush_kit/webpush-kit.js"

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Front end</title><link rel="icon" href="data:,">
<script type="module" src="/app.js"></script>
"""

APP = """
import { createPush } from "/webpush-kit.js";

window.push = createPush({
  baseUrl: "API",
  serviceWorkerUrl: "/service-worker.js",
  headers: async () => ({ Authorization: "Bearer zoe" }),
});
"""

WORKER = """
self.WEBPUSH_KIT = { baseUrl: "API" };
importScripts("ORIGIN/static/django_webpush_kit/service-worker.js");
addEventListener("install", () => skipWaiting());
"""


class FrontEnd(LoopbackServer):
    """Files of a single-page app, whose API is on another site."""

    def __init__(self, api_origin: str) -> None:
        super().__init__()
        self.api_origin = api_origin

    def application(self) -> web.Application:
        application = web.Application()
        for path, text, kind in [
            ("/app.js", APP, "text/javascript"),
            ("/service-worker.js", WORKER, "text/javascript"),
            ("/webpush-kit.js", MODULE.read_text(encoding="utf-8"), "text/javascript"),
            ("/{name:.*}", PAGE, "text/html"),
        ]:
            application.router.add_get(path, self._file(text, kind))
        return application

    def _file(self, text: str, kind: str):
        filled = text.replace('"API"', f'"{self.api_origin}/api/v1/push/"').replace('"ORIGIN', f'"{self.api_origin}')

        async def view(request: web.Request) -> web.Response:
            return web.Response(text=filled, content_type=kind)

        return view


def wait_for_app(browser):
    wait_until(lambda: browser.run("return Boolean(window.push)"), "the app")


@pytest.fixture
def front_end():
    with FrontEnd(f"http://localhost:{free_port()}") as running:
        yield running


@pytest.fixture
def studio(browser, front_end, studio_folder):
    port = int(front_end.api_origin.rpartition(":")[2])
    environment = {"TEST_FRONT_END": front_end.origin, "TEST_API": f"{front_end.api_origin}/api/v1/push/"}
    with open_lab(browser, studio_folder, port=port, **environment) as running:
        browser.allow_notifications(front_end.origin)
        browser.open(f"{front_end.origin}/")
        wait_for_app(browser)
        browser.run("await window.push.subscribe()")
        yield running


def test_messages_arrive_and_reports_and_clicks_are_counted(browser, front_end, studio):
    assert owners(studio) == ["zoe"]
    title = new_title("From afar")
    push(studio, "zoe", title, "--url=/inbox/")
    wait_until(lambda: reports_of(studio, title) == ["delivered"], "the worker's report")
    browser.click_notification(title)
    wait_until(lambda: f"{front_end.origin}/inbox/" in browser.tabs(), "the page that the click opens")
    wait_until(lambda: reports_of(studio, title) == ["delivered", "clicked"], "the click's report")
    wait_for_app(browser)  # in the page that the click has opened
    browser.run("await window.push.unsubscribe()")
    assert select(studio, "SELECT is_active FROM webpush_kit_pushsubscription") == [(0,)]


def test_a_report_survives_a_url_that_is_unknown_for_a_while(browser, studio):
    gate = studio.folder / "events-are-unknown"
    gate.touch()
    early, later = new_title("Early"), new_title("Later")
    push(studio, "zoe", early)
    wait_until(lambda: '/api/v1/push/events HTTP/1.1" 404' in studio.log("site"), "the refused report")
    assert reports_of(studio, early) == []
    gate.unlink()
    push(studio, "zoe", later)
    # on a slow machine the alert of the early one has ended meanwhile, which is reported as well
    wait_until(lambda: "delivered" in reports_of(studio, later), "the later report")
    wait_until(lambda: "delivered" in reports_of(studio, early), "the early report")

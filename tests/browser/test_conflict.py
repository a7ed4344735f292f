"""Another service worker takes the place of ours, in real browsers."""

from __future__ import annotations

import pytest

from tests.browser.studio import open_site, relayed_to, subscribe, toggle_state
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = pytest.mark.browser

WORKER = "return (await navigator.serviceWorker.getRegistration('/')).active?.scriptURL ?? ''"


def test_a_worker_that_took_the_place_of_ours_is_noticed(browser, studio_folder):
    environment = {**relayed_to(browser), "DJANGO_SETTINGS_MODULE": "tests.browser.pages_settings"}
    with open_site(studio_folder, **environment) as studio:
        subscribe(browser, studio, "zoe", "/pages/first/")
        browser.run("await navigator.serviceWorker.register('/foreign-worker.js', { scope: '/' })")
        wait_until(lambda: browser.run(WORKER).endswith("/foreign-worker.js"), "the other worker")
        browser.open(f"{studio.origin}/pages/first/")
        wait_until(lambda: toggle_state(browser) == "conflict", "the conflict")

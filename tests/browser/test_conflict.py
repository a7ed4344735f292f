"""Another service worker takes the place of ours, in real browsers."""

from __future__ import annotations

import pytest

from tests.browser.lab import new_title, open_lab, push, reports_of
from tests.browser.studio import subscribe, toggle_state
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = pytest.mark.browser

WORKER = "return (await navigator.serviceWorker.getRegistration('/')).active?.scriptURL ?? ''"


def replace_worker(browser, script):
    browser.run("await navigator.serviceWorker.register(arguments[0], { scope: '/' })", script)
    wait_until(lambda: browser.run(WORKER).endswith(script), "the other worker")


def test_a_worker_that_took_the_place_of_ours_is_noticed_and_mended_by_importing_ours(browser, studio_folder):
    with open_lab(browser, studio_folder) as studio:
        subscribe(browser, studio, "zoe", "/pages/first/")
        replace_worker(browser, "/foreign-worker.js")
        wait_until(lambda: toggle_state(browser) == "conflict", "the conflict in the open page")
        browser.open(f"{studio.origin}/pages/first/")
        wait_until(lambda: toggle_state(browser) == "conflict", "the conflict")
        status = browser.run("return document.querySelector('webpush-toggle [role=status]').textContent")
        assert status == "Another service worker has taken over this site. It must import ours."

        replace_worker(browser, "/importing-worker.js")
        wait_until(lambda: toggle_state(browser) == "on", "the switch in the open page to be on")
        browser.open(f"{studio.origin}/pages/first/")
        wait_until(lambda: toggle_state(browser) == "on", "the switch to be on")
        title = new_title("Imported")
        push(studio, "zoe", title)
        wait_until(lambda: reports_of(studio, title) == ["delivered"], "the worker's report")

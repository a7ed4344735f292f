"""The Content-Security-Policies of the documentation are enough in real browsers, and nothing asks for more.

The static files have hashed names only.
"""

from __future__ import annotations

import pytest

from tests.browser.studio import collect_static_files, events, open_site, relayed_to, subscribe, toggle_state
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = pytest.mark.browser

ELSEWHERE = "https://elsewhere.invalid/"
NAMES = ["with origins", "with a nonce and Trusted Types", "with a nonce alone"]


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_everything_works_under_the_documented_policy(browser, studio_folder, number):
    environment = {**relayed_to(browser), "DJANGO_SETTINGS_MODULE": "tests.browser.strict_settings"}
    page, clicked = f"/policies/{number}/", f"/policies/{number}/?clicked"
    collect_static_files(studio_folder, environment)
    with open_site(studio_folder, **environment) as studio:
        subscribe(browser, studio, "zoe", page)
        title = f"Under policy {number}"
        options = [f"--url={clicked}", "--icon=/static/studio/icon-192.png", "--now"]
        studio.manage("push_send", "zoe", title, *options)
        browser.wait_for_notification(title)
        wait_until(lambda: events(studio) == [("", "delivered")], "the worker's report")
        browser.click_notification(title)
        wait_until(lambda: f"{studio.origin}{clicked}" in browser.tabs(), "the page that the click opens")
        wait_until(lambda: ("", "clicked") in events(studio), "the click's report")

        browser.open(f"{studio.origin}{page}")
        wait_until(lambda: toggle_state(browser) == "on", "the switch to be on")
        browser.click("webpush-toggle button")
        wait_until(lambda: toggle_state(browser) == "off", "the switch to be off again")

        # two violations on purpose: that they are the only ones shows that others would have been reported
        violations = studio.folder / "violations"
        browser.run("document.body.append(Object.assign(new Image(), {src: arguments[0]}))", ELSEWHERE)
        wait_until(lambda: violations.exists() and ELSEWHERE in violations.read_text(), "the image's report")
        browser.open(f"{studio.origin}{page}?inline")
        wait_until(lambda: "?inline" in violations.read_text(), "the inline script's report")
        assert browser.run("return window.inline ?? null") is None
        assert violations.read_text().splitlines() == [
            f"img-src {ELSEWHERE} {studio.origin}{page}",
            f"script-src-elem inline {studio.origin}{page}?inline",
        ]

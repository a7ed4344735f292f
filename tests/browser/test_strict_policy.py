"""The Content-Security-Policies of the documentation are enough in real browsers, and nothing asks for more."""

from __future__ import annotations

import pytest

from tests.browser.studio import events, open_site, relayed_to, subscribe
from tests.browser.waiting import wait_until

pytest.importorskip("django_q")
pytestmark = pytest.mark.browser

ELSEWHERE = "https://elsewhere.invalid/"


@pytest.mark.parametrize("number", [0, 1], ids=["with origins", "with a nonce and Trusted Types"])
def test_a_documented_policy_lets_everything_work(browser, studio_folder, number):
    environment = {**relayed_to(browser), "DJANGO_SETTINGS_MODULE": "tests.browser.strict_settings"}
    page, clicked = f"/policies/{number}/", f"/policies/{number}/?clicked"
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

        # one violation on purpose: that it is the only one shows that others would have been reported
        browser.open(f"{studio.origin}{page}")
        browser.run("document.body.append(Object.assign(new Image(), {src: arguments[0]}))", ELSEWHERE)
        violations = studio.folder / "violations"
        wait_until(lambda: violations.exists() and ELSEWHERE in violations.read_text(), "a violation's report")
        assert violations.read_text().splitlines() == [f"img-src {ELSEWHERE} {studio.origin}{page}"]

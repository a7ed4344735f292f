"""The tutorial in a real browser: every block is done, in its order, on what `startproject` makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.browser import Browser
from tests.browser.studio import send_form, toggle_state
from tests.browser.waiting import wait_until
from tests.host_project import PASSWORD, HostProject, blocks
from tests.test_readme import LOOPBACK

pytestmark = pytest.mark.browser

TUTORIAL = (Path(__file__).resolve().parents[2] / "docs" / "tutorial.md").read_text()


def test_every_step_has_the_described_result(firefox: Browser, push_service, tmp_path):
    steps = [blocks(step) for step in TUTORIAL.split("\n## ")]
    start, shop, texts, _first, everybody, results, tests = steps[1:8]
    host = HostProject(tmp_path)
    for language, text in [*start, *shop, *texts]:
        host.do(language, text)
    host.append("settings.py", LOOPBACK)
    with host.served() as origin, host.running("deliver_push", "--loop"):
        firefox.allow_notifications(origin)
        firefox.open(f"{origin}/")
        send_form(firefox, "#login-form", f"{origin}/", {"username": "admin", "password": PASSWORD})
        wait_until(lambda: toggle_state(firefox) == "off", "the switch to be off")
        firefox.click("webpush-toggle button")
        wait_until(lambda: toggle_state(firefox) == "on", "the switch to be on")
        firefox.click("#order button")
        assert firefox.wait_for_notification("Order 1: thank you!")["body"] == "We have started to cook your Ramen."
        assert firefox.wait_for_notification("Order 1 is ready", seconds=60)["body"] == "Your Ramen is hot."
        firefox.click_notification("Order 1 is ready")
        for block in everybody:
            host.do(*block)
        firefox.wait_for_notification("New: cold noodles")
        firefox.click("li form button")
        wait_until(lambda: "cancelled" in firefox.run("return document.body.textContent"), "the order to be cancelled")
        wait_until(lambda: "1 clicked" in host.do(*results[0]), "the click in the statistics")
        assert "'clicked': 1" in host.do(*results[1])
    for block in tests:
        host.do(*block)


def test_every_block_is_run_or_is_a_console_session():
    """Each block that is not run is a console session, and says nothing that the others do not do."""
    languages = [language for language, _ in blocks(TUTORIAL)]
    assert languages.count("console") == 3
    assert set(languages) == {"console", "sh", "python", "html", "json"}

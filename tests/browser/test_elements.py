"""The preference centre, the prompt and the form without JavaScript, in real browsers and against the real API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.browser.gallery import AXE, STATES, Gallery
from tests.browser.studio import log_in, open_site, relayed_to, select, send_form, subscribe
from tests.browser.waiting import wait_until
from tests.conftest import new_keys

pytestmark = pytest.mark.browser

PREFERENCES = "SELECT preferences FROM webpush_kit_pushsubscription WHERE is_active ORDER BY id"

SECOND = "https://updates.push.services.mozilla.com/wpush/v2/2"

SECOND_BROWSER = """
from django.contrib.auth import get_user_model
from django_webpush_kit.services import subscribe
zoe = get_user_model().objects.get(username="zoe")
subscribe(user=zoe, endpoint="{endpoint}", user_agent="Safari", **{keys})
"""

INSIDE = "const inside = (id) => document.querySelector(arguments[0])?.shadowRoot?.getElementById(id);"


@pytest.fixture
def site(browser: Any, studio_folder: Any) -> Iterator[Any]:
    pytest.importorskip("django_q", reason="the example site's task backend")
    environment = {**relayed_to(browser), "DJANGO_SETTINGS_MODULE": "tests.browser.pages_settings"}
    with open_site(studio_folder, **environment) as studio:
        yield studio


def read(browser: Any, element: str, script: str) -> Any:
    """Run a function body in which `inside(id)` finds a part of the element."""
    return browser.run(f"{INSIDE} {script}", element)


def press(browser: Any, element: str, part: str) -> None:
    """Click a part of an element, when it is there."""
    wait_until(lambda: read(browser, element, f"return Boolean(inside('{part}'))"), f"{part} in {element}")
    read(browser, element, f"inside('{part}').click()")


def stored(studio: Any) -> list[Any]:
    return [json.loads(row[0]) for row in select(studio, PREFERENCES)]


def test_a_change_is_saved_and_survives_a_reload(browser: Any, site: Any) -> None:
    subscribe(browser, site, "zoe")
    page = f"{site.origin}/pages/centre/"
    browser.open(page)
    press(browser, "webpush-preferences", "quiet")
    wait_until(lambda: stored(site)[0].get("quiet_hours", {}).get("enabled"), "the quiet hours")
    browser.open(page)
    wait_until(lambda: read(browser, "webpush-preferences", "return inside('quiet')?.checked"), "them after a reload")
    assert read(browser, "webpush-preferences", "return inside('start').value") == "22:00"


def test_another_browser_is_listed_and_removed(browser: Any, site: Any) -> None:
    site.manage("shell", "-c", SECOND_BROWSER.format(keys=new_keys(), endpoint=SECOND))
    subscribe(browser, site, "zoe")
    browser.open(f"{site.origin}/pages/centre/")
    press(browser, "webpush-preferences", "remove-0")
    active = "SELECT endpoint FROM webpush_kit_pushsubscription WHERE is_active"
    wait_until(lambda: len(select(site, active)) == 1, "its end")
    assert select(site, active)[0][0] != SECOND


def open_until_asked(browser: Any, page: str, step: str) -> None:
    """Open the page, again if need be: one that a busy browser takes for hidden does not ask before it is visible."""
    for seconds in (20, 20, 60):
        browser.open(page)
        with suppress(TimeoutError):
            wait_until(lambda: browser.run(step) == "ask", "the question", seconds)
            return
    raise AssertionError(browser.run("return `${document.visibilityState} ${document.body.innerText}`"))


def test_the_prompt_subscribes_and_not_now_is_remembered(browser: Any, site: Any) -> None:
    browser.allow_notifications(site.origin)
    log_in(browser, site, "zoe")
    page = f"{site.origin}/pages/centre/?prompt"
    step = "return document.querySelector('webpush-prompt')?.step ?? ''"
    open_until_asked(browser, page, step)
    press(browser, "webpush-prompt", "later")
    browser.open(page)
    wait_until(
        lambda: browser.run("return document.querySelector('webpush-preferences')?.state === 'off'"), "the elements"
    )
    assert browser.run(f"await new Promise((done) => setTimeout(done, 500)); {step}") == ""

    browser.run("sessionStorage.clear(); localStorage.removeItem('webpush-kit-prompt')")
    open_until_asked(browser, page, step)
    press(browser, "webpush-prompt", "accept")
    wait_until(lambda: browser.run(step) == "done", "the end of it")
    assert select(site, "SELECT is_active FROM webpush_kit_pushsubscription") == [(1,)]


def test_the_form_works_without_javascript(browser: Any, site: Any) -> None:
    subscribe(browser, site, "zoe")
    browser.open(f"{site.origin}/pages/centre/?form")
    assert browser.run("return customElements.get('webpush-preferences') === undefined")
    browser.run("document.querySelector('[name=quiet]').checked = true")
    fields = {"start": "23:00", "end": "05:00", "timezone": "Asia/Tokyo"}
    address = send_form(browser, ".webpush-kit-preferences form", f"{site.origin}/pages/centre/?form&", fields)
    assert address.endswith("webpush-kit-saved=1")
    assert browser.run("return document.querySelector('[role=status]').textContent") == "Saved."
    assert stored(site)[0]["quiet_hours"] == {"enabled": True, **fields}


@pytest.fixture(scope="module")
def gallery() -> Iterator[Gallery]:
    with Gallery() as running:
        yield running


@pytest.mark.skipif(not AXE.exists(), reason="npm install --prefix js has not been run")
@pytest.mark.parametrize("look", ["theme=light&lang=en", "theme=dark&lang=ar"])
@pytest.mark.parametrize("name", STATES)
def test_axe_finds_nothing(chromium: Any, gallery: Gallery, name: str, look: str) -> None:
    chromium.open(f"{gallery.origin}/?{STATES[name]}&{look}")
    wait_until(lambda: chromium.run("return window.isReady ?? false"), "the element")
    found = chromium.run(
        """
        await new Promise((done) => setTimeout(done, 400)); // its way in
        const script = document.createElement("script");
        script.src = "/axe.js";
        await new Promise((done) => { script.onload = done; document.head.append(script); });
        const rules = Object.fromEntries(["page-has-heading-one", "region"].map((id) => [id, { enabled: false }]));
        const { violations } = await axe.run(document, { rules });
        return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
        """
    )
    assert found == []

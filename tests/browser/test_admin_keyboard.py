"""The admin with the keyboard alone, in a real Chromium: focus is visible and leaves every element; previews speak."""

from __future__ import annotations

import pytest

from tests.browser.admin_pages import fill, find_rows, log_in, open_page
from tests.browser.studio import open_site
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = pytest.mark.browser

KEYS = {
    "Tab": {"code": "Tab", "windowsVirtualKeyCode": 9},
    "Enter": {"code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
    " ": {"code": "Space", "windowsVirtualKeyCode": 32, "text": " "},
    "ArrowDown": {"code": "ArrowDown", "windowsVirtualKeyCode": 40},
}

SHIFT = 8

MAX_STOPS = 300

FOCUSED = """
    const element = document.activeElement;
    if (element === document.body) return null;
    const style = getComputedStyle(element);
    const { width, height, top, bottom } = element.getBoundingClientRect();
    const isInView = width > 0 && height > 0 && bottom > 0 && top < innerHeight;
    const look = [style.outlineStyle !== "none" && style.outlineWidth, style.boxShadow, style.borderColor,
        style.backgroundColor, style.textDecorationLine, style.color];
    window.stops ??= [];
    if (!window.stops.includes(element)) window.stops.push(element);
    return {
        number: window.stops.indexOf(element),
        name: element.id || element.name || element.textContent.trim().slice(0, 40) || element.outerHTML.slice(0, 80),
        isOurs: !!element.closest("#content, .app-content"),
        isInView,
        look: JSON.stringify(look),
    };
"""

LOOK_UNFOCUSED = """
    document.activeElement.blur();
    return window.stops.map((element) => {
        const style = getComputedStyle(element);
        return JSON.stringify([style.outlineStyle !== "none" && style.outlineWidth, style.boxShadow, style.borderColor,
            style.backgroundColor, style.textDecorationLine, style.color]);
    });
"""


FOCUS_THE_START = """
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute("tabindex");
"""

TYPE_AND_LISTEN = """
    const [name, texts] = arguments;
    window.spoken ??= new MutationObserver((changes) => {
        for (const { target } of changes) if (target.textContent) window.heard.push(target.textContent);
    });
    window.heard = [];
    window.spoken.observe(document.querySelector(".webpush-kit-side [role=status]"), { childList: true });
    const field = document.querySelector(`[name="${name}"]`);
    for (const text of texts) {
        field.value = text;
        field.dispatchEvent(new InputEvent("input", { bubbles: true }));
        await new Promise((resolve) => setTimeout(resolve, 450)); // the preview follows each
    }
"""


@pytest.fixture(scope="module")
def admin(chromium, tmp_path_factory):
    with open_site(tmp_path_factory.mktemp("studio")) as studio:
        fill(studio)
        log_in(chromium, studio)
        yield chromium, studio, find_rows(studio)


def press(browser, key, modifiers=0):
    for kind in ("keyDown", "keyUp"):
        browser._in_page("Input.dispatchKeyEvent", type=kind, key=key, modifiers=modifiers, **KEYS[key])


def walk(browser, modifiers=0):
    """Press Tab until focus leaves the page, and return where it stopped."""
    found = []
    while len(found) < MAX_STOPS:
        press(browser, "Tab", modifiers)
        stop = browser.run(FOCUSED)
        if stop is None or (found and stop["number"] == found[0]["number"]):
            return found
        found.append(stop)
    raise AssertionError(f"a trap: {[stop['name'] for stop in found[-5:]]}")


@pytest.mark.parametrize("page", ["dashboard", "composer", "template", "notification-again", "notification"])
def test_focus_is_visible_and_goes_through_the_page_both_ways(admin, page):
    browser, studio, rows = admin
    open_page(browser, studio, page, rows)
    browser.run(FOCUS_THE_START)
    forth = walk(browser)
    back = walk(browser, SHIFT)
    unfocused = browser.run(LOOK_UNFOCUSED)
    ours = [stop for stop in forth if stop["isOurs"]]
    assert ours
    assert [stop["name"] for stop in ours if not stop["isInView"]] == []
    assert [stop["name"] for stop in ours if stop["look"] == unfocused[stop["number"]]] == []
    assert [stop["name"] for stop in reversed(back) if stop["isOurs"]] == [stop["name"] for stop in ours]


def test_a_broadcast_is_composed_and_started(admin):
    browser, studio, rows = admin
    open_page(browser, studio, "composer", rows)
    browser.run("document.getElementById('id_content_0').focus()")
    press(browser, "ArrowDown")
    for name, text in {"title": "Open day", "body": "On Saturday"}.items():
        press(browser, "Tab")
        assert browser.run("return document.activeElement.name") == name
        browser._in_page("Input.insertText", text=text)
    press(browser, "Tab")
    press(browser, "Enter")
    wait_until(lambda: browser.run("return !!document.querySelector('[name=confirmed]')"), "the page that asks")
    browser.run("document.querySelector('.webpush-kit-confirm').closest('#content').querySelector('h1').tabIndex = -1")
    browser.run("document.querySelector('#content h1').focus()")
    press(browser, "Tab")
    assert browser.run("return document.activeElement.value") == "Start"
    press(browser, "Enter")
    wait_until(
        lambda: browser.run("return !!document.getElementById('webpush-kit-pause')"), "the page of the broadcast"
    )
    browser.run("document.getElementById('webpush-kit-pause').focus()")
    press(browser, " ")
    wait_until(lambda: browser.run("return !!document.getElementById('webpush-kit-resume')"), "the paused broadcast")


def test_the_preview_speaks_when_typing_pauses(admin):
    browser, studio, rows = admin
    open_page(browser, studio, "template", rows)
    browser.run(TYPE_AND_LISTEN, "title_template", ["N", "Ne", "New", "News"])
    heard = wait_until(lambda: browser.run("return window.heard"), "the announcement")
    assert heard == ["Preview updated."]
    browser.run(TYPE_AND_LISTEN, "title_template", ["{% debug %}"])
    [heard] = wait_until(lambda: browser.run("return window.heard"), "the announcement")
    assert "Invalid block tag" in heard

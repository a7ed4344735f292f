"""The admin in a real Chromium under a strict Content-Security-Policy: the preview follows what is typed."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.browser.studio import open_site, select, send_form
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = pytest.mark.browser

ADD = "/admin/webpush_kit/pushbroadcast/add/"
VIOLATIONS = """
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""


@pytest.fixture
def studio(studio_folder):
    with open_site(studio_folder) as running:
        yield running


@pytest.fixture
def admin(chromium, studio):
    chromium.open(f"{studio.origin}/admin/login/")
    send_form(chromium, "#login-form", f"{studio.origin}/admin", {"username": "admin", "password": "studio"})
    return chromium


def open_page(browser, studio, path):
    browser.open(studio.origin + path)
    browser.run(VIOLATIONS)


def type_into(browser, name, text):
    """Change a field as typing does: with an event, and without leaving the field."""
    browser.run(
        """
        const field = document.querySelector(`[name="${arguments[0]}"]`);
        field.focus();
        field.value = arguments[1];
        field.dispatchEvent(new InputEvent("input", {bubbles: true}));
        """,
        name,
        text,
    )


def text_of(browser, selector):
    return browser.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)


def test_the_preview_of_a_template_follows_what_is_typed(admin, studio):
    [(key,)] = select(
        studio, "SELECT id FROM webpush_kit_notificationtemplate WHERE type = 'booking_confirmed' AND language = ''"
    )
    open_page(admin, studio, f"/admin/webpush_kit/notificationtemplate/{key}/change/")
    title = ".webpush-kit-on-android .webpush-kit-expanded strong"
    assert text_of(admin, title) == "Booked: [course]"
    type_into(admin, "title_template", "Now: {{ course }} <i>")
    wait_until(lambda: text_of(admin, title) == "Now: [course] <i>", "the preview")
    type_into(admin, "sample_context", '{"course": "Drums"}')
    wait_until(lambda: text_of(admin, title) == "Now: Drums <i>", "the preview with the sample")
    assert admin.run("return document.activeElement.name") == "sample_context"
    type_into(admin, "actions-0-title", "Details")
    wait_until(lambda: text_of(admin, ".webpush-kit-on-windows .webpush-kit-button") == "Details", "the button")
    type_into(admin, "title_template", "{% debug %}")
    wait_until(lambda: "Invalid block tag" in text_of(admin, ".webpush-kit-lint"), "what is wrong")
    assert admin.run("return window.violations") == []
    assert select(studio, f"SELECT title_template FROM webpush_kit_notificationtemplate WHERE id = {key}") == [
        ("Booked: {{ course }}",)
    ]


def test_the_preview_is_dimmed_while_the_session_is_over(admin, studio):
    open_page(admin, studio, ADD)
    admin.run("document.cookie = 'csrftoken=; max-age=0; path=/'")
    type_into(admin, "context", '{"course": "Drums"}')
    wait_until(lambda: admin.run("return !!document.querySelector('.webpush-kit-stale')"), "the dimmed panel")
    assert "[course]" in text_of(admin, ".webpush-kit-card strong")


def test_a_broadcast_is_composed_started_and_watched(admin, studio):
    studio.manage("seed_history")
    open_page(admin, studio, f"{ADD}?audience=sample")
    shown = "return getComputedStyle(document.querySelector('.field-title')).display"
    assert admin.run(shown) == "none"
    admin.click("[name=content][value=text]")
    assert admin.run(shown) != "none"
    type_into(admin, "title", "Open day")
    wait_until(lambda: text_of(admin, ".webpush-kit-card strong") == "Open day", "the preview")
    assert "people" in text_of(admin, ".webpush-kit-reach")
    assert admin.run("return window.violations") == []
    send_form(admin, "#pushbroadcast_form", f"{studio.origin}{ADD}")
    wait_until(lambda: "Start the broadcast?" in text_of(admin, "h1, #content > h1"), "the page that asks")
    admin.click("form:has([name=confirmed]) input[type=submit]")
    wait_until(lambda: "started" in text_of(admin, ".messagelist"), "the page of the broadcast")
    admin.run(VIOLATIONS)
    state = ".webpush-kit-figures h2"
    assert text_of(admin, state) == "Pending"
    admin.run("document.getElementById('webpush-kit-pause').focus()")
    studio.manage("push_broadcast", "--pause", _latest(studio))
    wait_until(lambda: text_of(admin, state) == "Paused", "the figures that refresh themselves")
    assert admin.run("return window.violations") == []
    admin.click("#webpush-kit-cancel")
    wait_until(lambda: "1 broadcast will be cancelled." in text_of(admin, "#content"), "the page that asks")


def test_the_results_of_a_large_broadcast_follow_its_page(admin, studio):
    studio.manage("seed_history")
    with closing(sqlite3.connect(studio.folder / "db.sqlite3")) as database, database:
        [(key,)] = database.execute("SELECT max(id) FROM webpush_kit_pushbroadcast WHERE queued > 0")
        database.execute("UPDATE webpush_kit_pushbroadcast SET queued = queued + 50000 WHERE id = ?", [key])
    admin.run(
        "window.fetched = fetch(arguments[0]).then((answer) => answer.text()).then((text) => window.page = text)",
        f"/admin/webpush_kit/pushbroadcast/{key}/change/",
    )
    wait_until(
        lambda: "The results are being counted." in admin.run("return window.page ?? ''"), "the page as it is sent"
    )
    open_page(admin, studio, f"/admin/webpush_kit/pushbroadcast/{key}/change/")
    wait_until(lambda: "accepted" in text_of(admin, ".webpush-kit-figures dl"), "the results")
    assert admin.run("return window.violations") == []


def _latest(studio):
    [(key,)] = select(studio, "SELECT max(id) FROM webpush_kit_pushbroadcast")
    return str(key)

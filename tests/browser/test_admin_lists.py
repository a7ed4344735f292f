"""The admin's lists and the page of a notification in a real Chromium: everything fits, on a phone and on a desktop."""

from __future__ import annotations

import pytest

from tests.browser.admin_pages import TROUBLE
from tests.browser.studio import open_site, select, send_form
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = pytest.mark.browser

LIST = "/admin/webpush_kit/pushnotification/"

OUTSIDE = """
    const [selector] = arguments;
    const main = document.querySelector(selector);
    const edge = document.documentElement.clientWidth;
    return [...main.querySelectorAll("*")]
        .filter((element) => element.getClientRects().length && element.getBoundingClientRect().right > edge + 1)
        .map((element) => element.outerHTML.slice(0, 80));
"""
"""What reaches beyond the right edge of the window."""


@pytest.fixture
def studio(studio_folder):
    with open_site(studio_folder) as running:
        running.manage("seed_history")
        yield running


@pytest.fixture
def admin(chromium, studio):
    chromium.open(f"{studio.origin}/admin/login/")
    send_form(chromium, "#login-form", f"{studio.origin}/admin", {"username": "admin", "password": "studio"})
    yield chromium
    chromium._in_page("Emulation.clearDeviceMetricsOverride")


def resize(browser, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser._in_page("Emulation.setDeviceMetricsOverride", **size)


def test_on_a_tablet_the_filters_leave_the_width_to_the_list(admin, studio):
    resize(admin, 768)
    admin.open(studio.origin + LIST)
    width = "return document.querySelector('{}').getBoundingClientRect().width"
    assert admin.run(width.format(".results")) >= admin.run(width.format("#changelist-filter")) > 300
    assert admin.run(
        """const bottom = document.querySelector('.results').getBoundingClientRect().bottom;
        return document.querySelector('#changelist-filter').getBoundingClientRect().top >= bottom"""
    )


@pytest.mark.parametrize("width", [390, 1200])
def test_lists_and_the_story_fit_into_the_window(admin, studio, width):
    resize(admin, width)
    admin.open(studio.origin + LIST)
    assert admin.run(OUTSIDE, "#result_list") == []
    assert admin.run("const list = document.querySelector('.results'); return list.scrollWidth - list.clientWidth") <= 0
    rows = admin.run("return document.querySelectorAll('#result_list tbody tr').length")
    assert rows > 10
    is_card = admin.run("return getComputedStyle(document.querySelector('#result_list tbody tr')).display === 'block'")
    assert is_card is (width == 390)
    [(key,)] = select(studio, "SELECT max(id) FROM webpush_kit_pushnotification WHERE status = 'sent'")
    admin.open(f"{studio.origin}{LIST}{key}/change/")
    assert admin.run(OUTSIDE, ".webpush-kit-story") == []
    assert admin.run(OUTSIDE, ".webpush-kit-payload") == []
    steps = admin.run("return [...document.querySelectorAll('.webpush-kit-story li')].map((step) => step.innerText)")
    assert any("Accepted by" in step for step in steps)


def test_on_a_phone_the_values_of_a_row_have_titles(admin, studio):
    studio.manage("shell", "-c", TROUBLE)
    resize(admin, 390)
    admin.open(f"{studio.origin}/admin/webpush_kit/pushservicestate/")
    shown = """return [...document.querySelectorAll("#result_list tbody tr:first-child td[data-webpush-kit-title]")]
        .filter((cell) => cell.getClientRects().length)
        .map((cell) => [getComputedStyle(cell, "::before").content, cell.innerText.trim()])"""
    values = dict(admin.run(shown))
    assert values['"Messages per minute"'] == "950"
    assert '"Paused until"' not in values  # it is empty
    assert admin.run(OUTSIDE, "#result_list") == []


def test_a_notification_is_sent_again_from_its_page(admin, studio):
    query = "SELECT count(*), max(id) FROM webpush_kit_pushnotification"
    [(before, _last)] = select(studio, query)
    [(key,)] = select(
        studio,
        "SELECT max(n.id) FROM webpush_kit_pushnotification n JOIN webpush_kit_pushsubscription s"
        " ON s.id = n.subscription_id WHERE n.status = 'sent' AND s.is_active AND s.user_id = n.user_id",
    )
    admin.open(f"{studio.origin}{LIST}{key}/change/")
    admin.open(admin.run("return document.querySelector('.webpush-kit-links a[href$=\"/again/\"]').href"))
    assert select(studio, query)[0][0] == before
    admin.run("document.querySelector('.webpush-kit-buttons input[type=submit]').click()")
    wait_until(lambda: "1 notification was queued" in admin.run("return document.body?.innerText ?? ''"), "the message")
    assert select(studio, query)[0][0] == before + 1

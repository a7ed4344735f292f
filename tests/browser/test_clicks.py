"""A click on a notification brings a window to the front that shows its page, whatever is open."""

from __future__ import annotations

import shutil
from itertools import count

import pytest

from tests.browser.studio import events, open_site, relayed_to, subscribe
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = pytest.mark.browser

_numbers = count(1)


@pytest.fixture(scope="module", params=["raising_firefox", "raising_chromium"])
def browser(request):
    """Each of the browsers, with focus() as users have it."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def studio(browser, new_studio, tmp_path_factory):
    folder = shutil.copytree(new_studio, tmp_path_factory.mktemp("clicks") / "studio")
    environment = {**relayed_to(browser), "DJANGO_SETTINGS_MODULE": "tests.browser.pages_settings"}
    with open_site(folder, **environment) as running:
        subscribe(browser, running, "zoe", "/pages/first/")
        yield running


@pytest.fixture
def another_site(site):
    return f"{site.origin}/"


def visit(browser, url):
    """Open a page, and wait for our module where the page has it."""
    browser.open(url)
    has_module = browser.run("return Boolean(document.querySelector('webpush-toggle'))")
    wait_until(lambda: not has_module or browser.run("return Boolean(window.push)"), "the module")


def click(browser, studio, target):
    """Send a notification for a page, and click it."""
    title = f"Click {next(_numbers)}"
    studio.manage("push_send", "zoe", title, f"--url={target}", "--now")
    browser.click_notification(title)
    return title


def wait_for_front(browser, url):
    wait_until(lambda: browser.front() == url, f"{url} in front, not {browser.front()}")


@pytest.mark.parametrize(
    ("page", "target"),
    [
        ("/pages/first/", "/pages/first/"),
        ("/pages/first/", "/pages/second/"),
        ("/pages/first/", "/pages/slow/"),
        ("/pages/first/", "/pages/first/#part"),
        ("/pages/first/#other", "/pages/first/#part"),
        ("/pages/plain/", "/pages/second/"),
        ("/pages/plain/", "/pages/plain/#part"),
    ],
)
def test_a_page_in_the_background_comes_to_the_front_at_the_target(browser, studio, another_site, page, target):
    visit(browser, f"{studio.origin}{page}")
    with browser.other_tab(another_site):
        wait_for_front(browser, another_site)
        click(browser, studio, target)
        wait_for_front(browser, f"{studio.origin}{target}")


def test_a_page_that_redirects_to_another_site_comes_to_the_front(browser, studio, another_site):
    visit(browser, f"{studio.origin}/pages/first/")
    with browser.other_tab(another_site):
        click(browser, studio, "/pages/away/")
        wait_until(lambda: browser.front() != another_site, "another tab in front")


def test_a_window_opens_if_no_page_of_the_site_is_open(browser, studio, another_site):
    browser.open(another_site)
    target = f"/pages/opened-{next(_numbers)}/"
    click(browser, studio, target)
    wait_for_front(browser, f"{studio.origin}{target}")
    browser.close_front()


def test_the_current_url_of_a_page_counts(browser, studio, another_site):
    visit(browser, f"{studio.origin}/pages/first/")
    browser.run("history.pushState(null, '', '/pages/elsewhere/')")
    with browser.other_tab(another_site):
        click(browser, studio, "/pages/first/")
        wait_for_front(browser, f"{studio.origin}/pages/first/")
    visit(browser, f"{studio.origin}/pages/first/")
    browser.run("history.pushState(null, '', '/pages/arrived/'); window.kept = 'draft'")
    with browser.other_tab(another_site):
        click(browser, studio, "/pages/arrived/")
        wait_for_front(browser, f"{studio.origin}/pages/arrived/")
    assert browser.run("return window.kept") == "draft"


def test_a_router_may_handle_the_click(browser, studio, another_site):
    visit(browser, f"{studio.origin}/pages/first/")
    browser.run(
        """
        window.kept = "draft";
        window.push.on("navigate", (navigation) => {
            navigation.preventDefault();
            history.pushState(null, "", navigation.url);
        });
        """
    )
    with browser.other_tab(another_site):
        click(browser, studio, "/pages/routed/")
        wait_for_front(browser, f"{studio.origin}/pages/routed/")
    assert browser.run("return window.kept") == "draft"


@pytest.mark.parametrize("is_page_open", [True, False], ids=["a page was open", "no page was open"])
def test_the_opened_page_gets_the_click_event(browser, studio, another_site, is_page_open):
    visit(browser, f"{studio.origin}/pages/first/" if is_page_open else another_site)
    target = f"/pages/told-{next(_numbers)}/"
    with browser.other_tab(another_site):
        title = click(browser, studio, target)
        wait_for_front(browser, f"{studio.origin}{target}")
        wait_until(lambda: browser.run_in_front("return window.clicked") == [title], "the news of the click")
        if not is_page_open:
            browser.close_front()
    wait_until(lambda: ("", "clicked") in events(studio), "the click's report")

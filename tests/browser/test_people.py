"""A second person on the same browser: the first one's messages do not reach them, and nothing subscribes them."""

from __future__ import annotations

import pytest

from example_project.backstage.running import StudioError
from tests.browser.frameworks import TURBO
from tests.browser.lab import forget_origin, new_title, open_lab, owners, push, sign_in, visit_lab
from tests.browser.studio import toggle_state
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = pytest.mark.browser


@pytest.fixture
def studio(browser, studio_folder):
    with open_lab(browser, studio_folder) as running:
        yield running
        forget_origin(browser, running)


def assert_first_is_safe(browser, studio):
    """What is sent to the first person is not shown, and the second is subscribed only once they want to be."""
    assert owners(studio) == []
    with pytest.raises(StudioError, match="no active subscription"):
        push(studio, "zoe", new_title("Private"))
    visit_lab(browser, studio)
    assert browser.run("return await makePush({}).state()") == "off"
    browser.run("await makePush({}).subscribe()")
    assert owners(studio) == ["kaethe"]
    theirs = new_title("For the second")
    push(studio, "kaethe", theirs)
    browser.wait_for_notification(theirs)
    assert [shown for shown in browser.on_screen() if shown.startswith("Private")] == []


def test_who_signs_in_is_noticed_by_a_page_that_does_not_say_who(browser, studio):
    """The documented set-up of a single-page app, without `user`: the server says who is signed in."""
    visit_lab(browser, studio)
    sign_in(browser, "zoe")
    browser.run("await makePush({}).subscribe()")
    assert owners(studio) == ["zoe"]
    sign_in(browser, "kaethe")
    visit_lab(browser, studio)
    browser.run("makePush({ repair: true })")
    wait_until(lambda: owners(studio) == [], "the end of the first one's subscription")
    assert_first_is_safe(browser, studio)


def test_set_user_ends_the_first_ones_subscription_without_a_page_load(browser, studio):
    visit_lab(browser, studio)
    sign_in(browser, "zoe")
    browser.run("window.push = makePush({}); await push.setUser('zoe'); await push.subscribe()")
    sign_in(browser, "kaethe")
    assert browser.run("return await push.setUser('kaethe')") == "ended"
    assert browser.run("return await push.state()") == "off"
    assert_first_is_safe(browser, studio)


@pytest.mark.skipif(not TURBO.exists(), reason="npm install --prefix js has not been run")
def test_a_login_by_turbo_is_noticed_without_a_page_load(browser, studio):
    visit_lab(browser, studio)
    sign_in(browser, "zoe")
    browser.open(f"{studio.origin}/turbo/")
    wait_until(lambda: toggle_state(browser) == "off", "the switch to be off")
    browser.click("webpush-toggle button")
    wait_until(lambda: toggle_state(browser) == "on", "the switch to be on")
    browser.run("document.querySelector('[name=username]').value = 'kaethe'")
    browser.click("#login")
    who = "return document.querySelector('#who')?.textContent"
    wait_until(lambda: browser.run(who) == "kaethe", "Turbo's answer")
    assert browser.run("return window.isSamePage")
    wait_until(lambda: toggle_state(browser) == "off" and owners(studio) == [], "the switch to be off again")
    assert_first_is_safe(browser, studio)


def test_storage_that_is_cleared_after_detach_means_off(browser, studio):
    visit_lab(browser, studio)
    sign_in(browser, "zoe")
    browser.run("const push = makePush({}); await push.subscribe(); await push.detach(); localStorage.clear()")
    sign_in(browser, "kaethe")
    browser.open(f"{studio.origin}/pages/first/")
    wait_until(lambda: toggle_state(browser) == "off", "the switch")
    assert browser.run("return await window.push.repair({ force: true })") == "nothing"
    assert toggle_state(browser) == "off"
    assert_first_is_safe(browser, studio)


def test_the_first_comes_back_without_a_click_after_detach(browser, studio):
    visit_lab(browser, studio)
    sign_in(browser, "zoe")
    browser.run("const push = makePush({}); await push.subscribe(); await push.detach()")
    assert owners(studio) == []
    sign_in(browser, "kaethe")
    assert browser.run("return await makePush({}).repair({ force: true })") == "nothing"
    sign_in(browser, "zoe")
    assert browser.run("return await makePush({}).repair({ force: true })") == "resent"
    assert owners(studio) == ["zoe"]

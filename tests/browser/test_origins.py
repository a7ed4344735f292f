"""What shares an origin: a database made anew, another project, another push provider, a former scope."""

from __future__ import annotations

import shutil

import pytest

from tests.browser.lab import (
    count_alerts,
    forget_origin,
    new_title,
    open_lab,
    owners,
    push,
    reports_of,
    sign_in,
    subscriptions,
    visit_lab,
)
from tests.browser.studio import log_in, subscribe, toggle_state
from tests.browser.waiting import wait_until
from tests.testing.application_server import ApplicationServer

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

SUBSCRIBE_OTHER_PROVIDER = """
    await navigator.serviceWorker.register("/foreign-worker.js", { scope: "/" });
    const registration = await navigator.serviceWorker.ready;
    const options = { userVisibleOnly: true, applicationServerKey: arguments[0] };
    return (await registration.pushManager.subscribe(options)).endpoint;
"""


def assert_shown_once(browser, title):
    """The worker may have reported it before the desktop draws it."""
    wait_until(lambda: count_alerts(browser, title), f"the alert {title!r}")
    assert count_alerts(browser, title) == 1


@pytest.mark.parametrize("has_key_of_its_own", [False, True], ids=["a database made anew", "another project"])
def test_the_first_messages_of_what_follows_on_an_origin_are_shown(
    browser, studio_folder, new_studio, tmp_path, has_key_of_its_own
):
    with open_lab(browser, studio_folder) as first:
        subscribe(browser, first, "zoe", "/pages/first/")
        for title in [new_title("Before") for _ in range(3)]:
            push(first, "zoe", title)
            wait_until(lambda title=title: reports_of(first, title) == ["delivered"], "the worker's report")
    folder = shutil.copytree(new_studio, tmp_path / "second")
    if has_key_of_its_own:
        (folder / "vapid.pem").unlink()
        first.environment["STUDIO_DATA"] = str(folder)
        first.manage("generate_vapid_keys", "--format=pem", f"--output={folder / 'vapid.pem'}")
    with open_lab(browser, folder, port=first.port) as second:
        log_in(browser, second, "zoe")
        browser.open(f"{second.origin}/pages/first/")
        wait_until(lambda: toggle_state(browser) in ("on", "off"), "the switch")
        if not owners(second):
            browser.run("await window.push.subscribe()")
        for title in [new_title("After") for _ in range(3)]:
            push(second, "zoe", title)
            wait_until(lambda title=title: reports_of(second, title) == ["delivered"], "the worker's report")
            assert_shown_once(browser, title)
        forget_origin(browser, second)


def test_another_providers_subscription_is_neither_shown_as_ours_nor_ended(browser, studio_folder):
    with open_lab(browser, studio_folder) as studio:
        visit_lab(browser, studio)
        sign_in(browser, "zoe")
        theirs = browser.run(SUBSCRIBE_OTHER_PROVIDER, ApplicationServer().public_key)

        # at their scope there is no place for our worker, and it is said
        browser.open(f"{studio.origin}/pages/first/")
        wait_until(lambda: toggle_state(browser) == "off", "the switch")
        browser.click("webpush-toggle button")
        error = "return document.querySelector('webpush-toggle').getAttribute('error')"
        wait_until(lambda: browser.run(error) == "service_worker_conflict", "the reason")
        assert browser.run("return await window.push.repair({ force: true })") == "nothing"
        browser.run("await window.push.unsubscribe()")
        assert subscriptions(browser) == {"/": theirs}

        # in a narrower scope there is; opening a page there subscribes nobody
        visit_lab(browser, studio)
        browser.run("window.push = makePush({ scope: '/p/' })")
        assert browser.run("return await push.repair({ force: true })") == "nothing"
        assert browser.run("return await push.state()") == "off"
        assert owners(studio) == []
        browser.run("await push.subscribe()")
        assert subscriptions(browser).keys() == {"/", "/p/"}
        assert owners(studio) == ["zoe"]
        title = new_title("Ours")
        push(studio, "zoe", title)
        wait_until(lambda: reports_of(studio, title) == ["delivered"], "the worker's report")
        browser.run("await push.unsubscribe()")
        assert subscriptions(browser) == {"/": theirs}
        forget_origin(browser, studio)


def test_a_scope_that_changes_takes_the_subscription_along_once(browser, studio_folder):
    with open_lab(browser, studio_folder) as before:
        subscribe(browser, before, "zoe", "/pages/first/")
        former = subscriptions(browser)["/"]
    with open_lab(browser, studio_folder, port=before.port, TEST_SCOPE="/p/") as studio:
        browser.open(f"{studio.origin}/p/pages/inbox/")
        wait_until(lambda: subscriptions(browser).keys() == {"/p/"}, "the subscription in the new scope")
        wait_until(lambda: toggle_state(browser) == "on", "the switch to be on")
        assert owners(studio) == ["zoe"]
        assert subscriptions(browser)["/p/"] != former
        title = new_title("Once")
        push(studio, "zoe", title)
        wait_until(lambda: reports_of(studio, title) == ["delivered"], "the worker's report")
        assert_shown_once(browser, title)
        browser.click("webpush-toggle button")
        wait_until(lambda: toggle_state(browser) == "off", "the switch to be off")
        assert subscriptions(browser) == {}
        assert owners(studio) == []
        forget_origin(browser, studio)

"""What keeps a page from subscribing: each has its state or code in real browsers, and the reason is shown."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.browser.chromium import Chromium
from tests.browser.fake_gcm import FakeGCM
from tests.browser.lab import forget_origin, open_lab, owners, sign_in, sign_out, subscriptions, visit_lab
from tests.browser.studio import log_in, subscribe, toggle_state
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

STATUS = "return document.querySelector('webpush-toggle [role=status]').textContent"
ERROR = "return document.querySelector('webpush-toggle').getAttribute('error')"


@pytest.fixture(scope="module", params=["firefox", "chromium"])
def browser(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def shared_studio(browser, new_studio, tmp_path_factory):
    folder = shutil.copytree(new_studio, tmp_path_factory.mktemp("obstacles") / "studio")
    with open_lab(browser, folder) as running:
        yield running


@pytest.fixture
def studio(browser, shared_studio):
    """The same site for all: what a test leaves behind is taken away."""
    visit_lab(browser, shared_studio)
    sign_in(browser, "zoe")
    yield shared_studio
    visit_lab(browser, shared_studio)
    forget_origin(browser, shared_studio)


def set_permission(browser, origin, answer):
    """Change the permission as in the browser's settings: "granted" or "denied"."""
    if browser.name == "chromium":
        browser._cdp.command(
            "Browser.setPermission", origin=origin, permission={"name": "notifications"}, setting=answer
        )
        return
    browser.run_privileged(
        """
        const principal = Services.scriptSecurityManager.createContentPrincipalFromOrigin(arguments[0]);
        const value = Ci.nsIPermissionManager[arguments[1] === "denied" ? "DENY_ACTION" : "ALLOW_ACTION"];
        Services.perms.addFromPrincipal(principal, "desktop-notification", value);
        """,
        origin,
        answer,
    )


def test_a_malformed_key_has_a_code_of_its_own(browser, studio):
    for key in ("AAAA", "***", "BAAA"):
        given = """
            const fetch = async (url, init) => {
                const answer = await window.fetch(url, init);
                if (!url.endsWith("/config")) return answer;
                return new Response(JSON.stringify({ ...(await answer.json()), public_key: arguments[0] }));
            };
            return await codeOf(makePush({ fetch }).subscribe());
        """
        assert browser.run(given, key) == "invalid_key", key
    assert owners(studio) == []


def test_frames_of_others_and_sandboxes_say_framed(browser, studio):
    browser.open(f"{studio.origin}/frames/")
    names = {"same": "off", "sandbox": "framed", "other": "framed"}
    wait_until(lambda: browser.run("return window.told ?? {}").keys() == names.keys(), "all three frames")
    assert browser.run("return window.told") == names


def test_a_page_without_https_says_insecure(browser, studio):
    visit_lab(browser, studio)
    browser.open(f"http://insecure.test:{studio.port}/lab/")
    wait_until(lambda: browser.run("return Boolean(window.makePush)"), "the page's script")
    assert browser.run("return isSecureContext") is False
    assert browser.run("return await makePush({}).state()") == "insecure"
    assert browser.run("return await codeOf(makePush({}).subscribe())") == "insecure"


def test_a_worker_that_was_unregistered_means_off_and_one_click_mends_it(browser, studio):
    subscribe(browser, studio, "zoe", "/pages/first/")
    browser.run("for (const one of await navigator.serviceWorker.getRegistrations()) await one.unregister()")
    browser.open(f"{studio.origin}/pages/first/")
    wait_until(lambda: toggle_state(browser) == "off", "the switch to be off")
    browser.click("webpush-toggle button")
    wait_until(lambda: toggle_state(browser) == "on", "the switch to be on")
    assert list(subscriptions(browser)) == ["/"]
    endpoint = subscriptions(browser)["/"]
    browser.open(f"{studio.origin}/pages/first/")
    wait_until(lambda: toggle_state(browser) == "on", "the switch to be on")
    assert subscriptions(browser)["/"] == endpoint


def test_a_permission_that_changes_while_the_page_is_open_is_shown_at_once(browser, studio):
    subscribe(browser, studio, "zoe", "/pages/first/")
    try:
        set_permission(browser, studio.origin, "denied")
        wait_until(lambda: toggle_state(browser) == "denied", "the switch")
        assert browser.run(STATUS).startswith("Blocked.")
    finally:
        set_permission(browser, studio.origin, "granted")
    wait_until(lambda: toggle_state(browser) in ("on", "off"), "the switch again")


def test_a_page_that_comes_back_from_the_cache_of_the_browser_shows_what_holds_now(browser, studio):
    subscribe(browser, studio, "zoe", "/pages/first/")
    visit_lab(browser, studio)
    browser.run("await makePush({}).unsubscribe()")
    browser.run("setTimeout(() => history.back())")
    wait_until(lambda: browser.run("return location.pathname") == "/pages/first/", "the page before")
    wait_until(lambda: toggle_state(browser) == "off", "the switch to be off")


def test_a_listener_that_throws_does_not_fail_the_subscription(browser, studio):
    outcome = """
        const push = makePush({});
        push.on("change", () => { throw new Error("in a listener of the page"); });
        push.on("change", (state) => window.heard.push(`second ${state}`));
        const answer = await push.subscribe();
        return [answer.success, window.heard.includes("second on")];
    """
    assert browser.run(outcome) == [True, True]
    assert owners(studio) == ["zoe"]


def test_two_managers_at_once_make_one_subscription(browser, studio):
    both = (
        "return (await Promise.all([makePush({}), makePush({})].map((push) => push.subscribe()))).map(JSON.stringify)"
    )
    ids = {json.loads(answer)["subscription_id"] for answer in browser.run(both)}
    assert len(ids) == 1
    assert owners(studio) == ["zoe"]


def test_a_switch_says_that_nobody_is_signed_in(browser, studio):
    browser.open(f"{studio.origin}/pages/first/")
    wait_until(lambda: toggle_state(browser) == "off", "the switch")
    browser.run("window.heard = []; addEventListener('webpush-error', ({detail}) => heard.push(detail.error.code))")
    sign_out(browser)
    browser.click("webpush-toggle button")
    wait_until(lambda: browser.run(ERROR), "the reason")
    assert browser.run(ERROR) == "not_authenticated"
    assert browser.run(STATUS) == "Sign in to receive notifications."
    assert browser.run("return window.heard") == ["not_authenticated"]
    assert toggle_state(browser) == "off"
    assert subscriptions(browser) == {}


def test_a_switch_says_that_the_server_has_no_key(browser, studio_folder):
    (studio_folder / "vapid.pem").unlink()
    with open_lab(browser, studio_folder) as without_key:
        log_in(browser, without_key, "zoe")
        browser.open(f"{without_key.origin}/pages/first/")
        wait_until(lambda: toggle_state(browser) == "off", "the switch")
        browser.click("webpush-toggle button")
        wait_until(lambda: browser.run(ERROR) == "not_configured", "the reason")
        assert browser.run(STATUS) == "This site cannot send notifications yet."


@pytest.fixture
def firefox_without_cookies(firefox):
    firefox.run_privileged("Services.prefs.setIntPref('network.cookie.cookieBehavior', 2)")
    yield firefox
    firefox.run_privileged("Services.prefs.clearUserPref('network.cookie.cookieBehavior')")


@pytest.fixture
def chromium_without_cookies():
    with FakeGCM() as service:
        fresh = Chromium(service)
        folder = fresh.profile / "Default"
        folder.mkdir(parents=True)
        (folder / "Preferences").write_text('{"profile": {"default_content_setting_values": {"cookies": 2}}}')
        with fresh:
            yield fresh


@pytest.mark.parametrize("name", ["firefox_without_cookies", "chromium_without_cookies"])
def test_blocked_cookies_are_a_state_of_their_own(request, name, studio_folder):
    blocked = request.getfixturevalue(name)
    with open_lab(blocked, studio_folder) as studio:
        visit_lab(blocked, studio)
        assert blocked.run("return await makePush({}).state()") == "storage-blocked"
        assert blocked.run("return await codeOf(makePush({}).subscribe())") == "storage_blocked"


def test_a_private_window_subscribes_or_has_a_code(browser, studio):
    """Older Firefoxes refuse the subscription, and Chromium the permission. Firefox 153 allows both."""
    with browser.private_window() as private:
        visit_lab(private, studio)
        sign_in(private, "zoe")
        private.run("window.push = makePush({})")
        code = private.run("return await codeOf(push.subscribe())")
        state = private.run("return await push.state()")
        if code:
            assert code in ("push_service_unavailable", "denied")
            assert state in ("off", "denied")
            assert owners(studio) == []
        else:
            assert state == "on"
            assert owners(studio) == ["zoe"]
            private.run("await push.unsubscribe()")
            assert private.run("return await push.state()") == "off"
    assert owners(studio) == []

"""What a visitor of the single-page apps does, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from example_project.backstage.running import Studio
from tests.browser.app_builder import Deployment
from tests.browser.browser import Browser
from tests.browser.studio import events, open_site, relayed_to, select
from tests.browser.waiting import wait_until

if TYPE_CHECKING:
    from typing_extensions import Self

# Firefox on what Next.js still loads when the next page is opened, if a service worker has taken the request
_CUT_OFF = re.compile(r"Failed to load \S+[?&]_rsc=\S+ A ServiceWorker intercepted the request")

OFF, ON = "Turn notifications on", "Turn notifications off"


class Visitor:
    """Somebody at a browser with one of the apps; a context manager, after which the browser has forgotten the site."""

    def __init__(self, browser: Browser, origin: str, base: str = "") -> None:
        self.browser = browser
        self.origin = origin
        self._base = base
        browser.allow_notifications(origin)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._leave()

    def open(self, path: str = "/") -> None:
        self.browser.open(f"{self.origin}{self._base}{path}")

    def sign_in(self, name: str) -> None:
        """Use the form, and wait for the page behind it."""
        self._wait_for("form [name=password]")
        self.browser.run(
            """
            const form = document.querySelector("form");
            form.elements.name.value = arguments[0];
            form.elements.password.value = "studio";
            form.requestSubmit();
            """,
            name,
        )
        wait_until(lambda: self._text("#user") == name, f"{name} to be signed in")

    def sign_out(self) -> None:
        self.browser.click("#sign-out")
        self._wait_for("form [name=password]")

    @property
    def switch(self) -> str:
        """What the switch offers: `OFF` when notifications are off; "" while there is none or it is busy."""
        return self._text("main p button:enabled")

    def wait_for_switch(self, text: str) -> None:
        try:
            wait_until(lambda: self.switch == text, text)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self._text('main')!r}") from None

    def press_switch(self, text: str) -> None:
        """Press it, as soon as it can be pressed, and wait until it says this."""
        wait_until(lambda: self.switch not in ("", text), "the switch")
        self.browser.click("main p button")
        self.wait_for_switch(text)

    def subscribe(self) -> None:
        self.wait_for_switch(OFF)
        self.press_switch(ON)

    @property
    def error(self) -> str:
        """What is said beside the switch."""
        return self._text("main [role=status]")

    @property
    def path(self) -> str:
        """The path that the app's router has rendered."""
        return self._text("h1")

    def watch(self) -> None:
        """Note what the pages of this origin complain about from now on."""
        self.browser.watch_console(self.origin)

    def complaints(self) -> list[str]:
        """Return errors and warnings in the console."""
        return self.browser.complaints()

    def assert_no_complaints(self) -> None:
        """Fail with the errors and warnings in the console, if there are any."""
        complaints = [complaint for complaint in self.complaints() if not _CUT_OFF.search(complaint)]
        assert not complaints, "\n".join(complaints)

    def attribute(self, selector: str, name: str) -> str:
        """Return an attribute of an element in the page; "" if there is none."""
        value: str = self.browser.run(
            "return document.querySelector(arguments[0])?.getAttribute(arguments[1]) ?? ''", selector, name
        )
        return value

    def _leave(self) -> None:
        self.browser.run(
            """
            for (const registration of await navigator.serviceWorker.getRegistrations()) {
                const subscription = await registration.pushManager.getSubscription();
                await subscription?.unsubscribe();
                await registration.unregister();
            }
            localStorage.clear();
            sessionStorage.clear();
            """
        )
        self.browser.open("about:blank")

    def _text(self, selector: str) -> str:
        text: str = self.browser.run("return document.querySelector(arguments[0])?.innerText?.trim() ?? ''", selector)
        return text or ""

    def _wait_for(self, selector: str) -> None:
        wait_until(lambda: self.browser.run("return !!document.querySelector(arguments[0])", selector), selector)


@contextmanager
def visiting(
    browser: Browser, deployment: Deployment, studio_folder: Path, base: str = ""
) -> Iterator[tuple[Visitor, Studio]]:
    """Run the Django of an app, and visit the app. `base` is the path below which it is served."""
    environment = {**relayed_to(browser), **deployment.environment}
    with (
        open_site(studio_folder, port=deployment.django_port, **environment) as studio,
        Visitor(browser, deployment.origin, base) as visitor,
    ):
        yield visitor, studio


def active_subscriptions(studio: Studio) -> list[str]:
    """The names of the users of all active subscriptions."""
    rows = select(
        studio,
        "SELECT u.username FROM webpush_kit_pushsubscription s JOIN auth_user u ON u.id = s.user_id WHERE s.is_active",
    )
    return [name for (name,) in rows]


def receive_and_click(visitor: Visitor, studio: Studio, name: str, title: str, path: str = "/orders/7") -> None:
    """Send to a user, see it on the desktop, click it, and see its page in the tab that was open."""
    visitor.browser.run("window.kept = arguments[0]", title)
    studio.manage("push_send", name, title, f"--url={path}?from=push#top", "--now")
    visitor.browser.click_notification(title)
    wait_until(lambda: visitor.path == "/orders/7", "the page of the order")
    assert visitor.browser.run("return [location.search, location.hash, window.kept]") == ["?from=push", "#top", title]
    wait_until(lambda: {action for _, action in events(studio)} >= {"delivered", "clicked"}, "the worker's reports")


def whole_way(visitor: Visitor, studio: Studio) -> None:
    """Sign in, subscribe, receive, click; then somebody else does so in the same browser."""
    visitor.watch()
    visitor.open()
    visitor.sign_in("zoe")
    visitor.subscribe()
    assert active_subscriptions(studio) == ["zoe"]
    receive_and_click(visitor, studio, "zoe", "For Zoe")
    visitor.open()
    visitor.wait_for_switch(ON)

    visitor.sign_out()
    assert active_subscriptions(studio) == []
    visitor.sign_in("kaethe")
    visitor.wait_for_switch(OFF)
    visitor.press_switch(ON)
    assert active_subscriptions(studio) == ["kaethe"]
    receive_and_click(visitor, studio, "kaethe", "For Käthe")

    visitor.open()
    visitor.wait_for_switch(ON)
    visitor.press_switch(OFF)
    assert active_subscriptions(studio) == []
    visitor.assert_no_complaints()


def use_the_mock(visitor: Visitor) -> None:
    """Sign in, subscribe, have a notification shown, also after a reload; then the mock fails as it is told."""
    visitor.watch()
    visitor.open()
    visitor.sign_in("zoe")
    visitor.subscribe()
    for _ in range(2):
        visitor.browser.click("#test")
        wait_until(lambda: "Test notification" in visitor.browser.on_screen(), "the notification")
        visitor.browser.dismiss_notification("Test notification")
        visitor.open()
        visitor.wait_for_switch(ON)
    visitor.press_switch(OFF)
    visitor.open("/?fail=network_error")
    visitor.wait_for_switch(OFF)
    visitor.browser.click("main p button")
    wait_until(lambda: visitor.error.startswith("The server cannot be reached."), "the reason")
    assert visitor.switch == OFF
    visitor.assert_no_complaints()

"""A real, headless Firefox whose push service is a `FakePushService`."""

from __future__ import annotations

import base64
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django_webpush_kit.testing import FakePushService
from tests.browser.marionette import Marionette, MarionetteError
from tests.browser.process import BrowserProcess
from tests.browser.waiting import wait_until

if TYPE_CHECKING:
    from typing_extensions import Self

BINARY = os.environ.get("FIREFOX_BINARY", "firefox-esr")

# an alert can be clicked once its window is active
_FIND_ALERT = """
    for (const window of Services.wm.getEnumerator("alert:alert")) {
        const title = window.document.getElementById("alertTitleLabel")?.getAttribute("value");
        if (window.gIsActive && title === arguments[0]) { %s }
    }
    return false;
"""
_CLICK_ALERT = _FIND_ALERT % "window.document.getElementById('alertBox').click(); return true;"
_DISMISS_ALERT = _FIND_ALERT % "window.close(); return true;"
# the alerts that Firefox draws itself have no buttons: tell the listener what a system's notification centre would
_CLICK_BUTTON = (
    _FIND_ALERT
    % """
    const button = {QueryInterface: ChromeUtils.generateQI(["nsIAlertAction"]), action: arguments[1], title: ""};
    window.gAlertListener.observe(button, "alertclickcallback", window.gAlertCookie);
    return true;
"""
)


class Firefox:
    """Use as a context manager. One browser serves many tests: a site on another port is another origin."""

    def __init__(self, push_service: FakePushService, *, binary: str = BINARY) -> None:
        self.push_service = push_service
        self._binary = binary
        self._process = BrowserProcess("firefox")
        self._marionette: Marionette

    def start(self) -> Self:
        """Start, or start again with the same profile after `quit`."""
        self._write_preferences()
        port = self._process.start(
            [
                self._binary,
                "--headless",
                "--marionette",
                "--remote-allow-system-access",
                "--no-remote",
                "--profile",
                str(self._process.profile),
            ],
            port_file=self._process.profile / "MarionetteActivePort",
            environment={"MOZ_CRASHREPORTER_DISABLE": "1"},
        )
        self._marionette = Marionette(int(port))
        self._marionette.command("WebDriver:NewSession", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        return self

    def quit(self) -> None:
        """End the browser; its profile stays for another `start`."""
        with suppress(MarionetteError, OSError):
            self._marionette.command("Marionette:Quit", flags=["eForceQuit"])
        self._marionette.close()
        self._process.end()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.quit()
        self._process.remove_profile()

    def open(self, url: str) -> None:
        """Load a page and wait for it."""
        self._marionette.command("WebDriver:Navigate", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of an async function in the page, with `arguments`, and return what it returns."""
        return self._execute(f"return (async () => {{ {script} }})()", arguments)

    def run_privileged(self, script: str, *arguments: Any) -> Any:
        """Run the body of a function with the browser's own rights."""
        self._marionette.command("Marionette:SetContext", value="chrome")
        try:
            return self._execute(script, arguments, sandbox="system")
        finally:
            self._marionette.command("Marionette:SetContext", value="content")

    def click(self, selector: str) -> None:
        """Click an element as a user does: the page gets a trusted event and user activation."""
        element = self._marionette.command("WebDriver:FindElement", using="css selector", value=selector)
        (element_id,) = element.values()
        self._marionette.command("WebDriver:ElementClick", id=element_id)

    def notifications(self) -> list[dict[str, Any]]:
        """The notifications on display of the page's service worker: `{"title", "body", "tag", "data"}`."""
        shown: list[dict[str, Any]] = self.run(
            """
            const registration = await navigator.serviceWorker.ready;
            const notifications = await registration.getNotifications();
            return notifications.map(({title, body, tag, data}) => ({title, body, tag, data}));
            """
        )
        return shown

    def wait_for_notification(self, title: str) -> dict[str, Any]:
        """Wait until a notification with this title is on display."""
        return wait_until(
            lambda: next((shown for shown in self.notifications() if shown["title"] == title), None),
            f"the notification {title!r}",
        )

    def click_notification(self, title: str, action: str = "") -> None:
        """Click the notification with this title, or its button with the id `action`, as the user would.

        The alert of a clicked button stays until the worker closes its notification.
        """
        script = _CLICK_BUTTON if action else _CLICK_ALERT
        wait_until(lambda: self.run_privileged(script, title, action), f"the alert window {title!r}")

    def dismiss_notification(self, title: str) -> None:
        """Close the notification with this title without a click."""
        wait_until(lambda: self.run_privileged(_DISMISS_ALERT, title), f"the alert window {title!r}")

    def tabs(self) -> list[str]:
        """The addresses of all open tabs."""
        addresses: list[str] = self.run_privileged(
            """
            return [...Services.wm.getEnumerator("navigator:browser")]
                .flatMap(window => [...window.gBrowser.tabs])
                .map(tab => tab.linkedBrowser.currentURI.spec);
            """
        )
        return addresses

    def screenshot(self, path: str | Path) -> None:
        """Write a PNG of the page."""
        picture = self._marionette.command("WebDriver:TakeScreenshot", full=True, hash=False)
        Path(path).write_bytes(base64.b64decode(picture))

    def _execute(self, script: str, arguments: tuple[Any, ...], sandbox: str | None = None) -> Any:
        return self._marionette.command(
            "WebDriver:ExecuteScript", script=script, args=list(arguments), newSandbox=True, sandbox=sandbox
        )

    def _write_preferences(self) -> None:
        preferences = {
            "marionette.port": 0,
            "dom.push.serverURL": self.push_service.websocket_url,
            "dom.push.testing.allowInsecureServerURL": True,
            # Marionette's own preferences switch the push connection off
            "dom.push.connection.enabled": True,
            "dom.push.retryBaseInterval": 100,
            "permissions.default.desktop-notification": 1,
            # there is no notification daemon: let Firefox draw the alerts itself
            "alerts.useSystemBackend": False,
        }
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
        (self._process.profile / "user.js").write_text("".join(lines))

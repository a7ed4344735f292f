"""A real, headless Chromium whose push service is a `FakeGCM`."""

from __future__ import annotations

import base64
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.browser.cdp import CDP, CDPError
from tests.browser.fake_gcm import FakeGCM
from tests.browser.process import BrowserProcess
from tests.browser.waiting import wait_until

if TYPE_CHECKING:
    from typing_extensions import Self

    from tests.browser.notification_centre import NotificationCentre

# the package's own binary: Debian's wrapper script adds flags of its own
BINARY = os.environ.get("CHROMIUM_BINARY", "/usr/lib/chromium/chromium")

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-default-browser-check",
    "--password-store=basic",
    "--remote-debugging-port=0",
    # the MCS connection uses a throw-away certificate
    "--ignore-certificate-errors",
]


class Chromium:
    """Use as a context manager. With a `notification_centre`, notifications can be clicked."""

    def __init__(
        self, push_service: FakeGCM, notification_centre: NotificationCentre | None = None, *, binary: str = BINARY
    ) -> None:
        self.push_service = push_service
        self._centre = notification_centre
        self._binary = binary
        self._process = BrowserProcess("chromium")
        self._cdp: CDP
        self._page = ""

    def start(self) -> Self:
        """Start, or start again with the same profile after `quit`."""
        gcm = self.push_service
        answer = self._process.start(
            [
                self._binary,
                *_FLAGS,
                f"--user-data-dir={self._process.profile}",
                f"--gcm-checkin-url={gcm.origin}/checkin",
                f"--gcm-registration-url={gcm.origin}/register3",
                f"--gcm-mcs-endpoint=https://localhost:{gcm.mcs_port}",
            ],
            port_file=self._process.profile / "DevToolsActivePort",
            environment={} if self._centre is None else {"DBUS_SESSION_BUS_ADDRESS": self._centre.bus_address},
        )
        port, path = answer.split()
        self._cdp = CDP(f"ws://127.0.0.1:{port}{path}")
        tab = self._cdp.command("Target.createTarget", url="about:blank")["targetId"]
        self._page = self._cdp.command("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        return self

    def quit(self) -> None:
        """End the browser; its profile stays for another `start`."""
        with suppress(CDPError, OSError):
            self._cdp.command("Browser.close")
        self._cdp.close()
        self._process.end()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.quit()
        self._process.remove_profile()

    def allow_notifications(self, origin: str) -> None:
        """Grant the permission, as if the user had been asked; it does not outlive the browser."""
        self._cdp.command("Browser.grantPermissions", origin=origin, permissions=["notifications"])

    def open(self, url: str) -> None:
        """Load a page and wait for it."""
        answer = self._cdp.command("Page.navigate", session=self._page, url=url)
        if answer.get("errorText"):
            raise CDPError(f"{url}: {answer['errorText']}")
        wait_until(lambda: self.run("return document.readyState") == "complete", f"{url} to load")

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of an async function in the page, with `arguments`, and return what it returns."""
        expression = f"(async function () {{ {script} }})(...{json.dumps(arguments)})"
        answer = self._cdp.command(
            "Runtime.evaluate",
            session=self._page,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise CDPError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

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
        """Wait until a notification with this title is on display: at least `{"title", "body"}`."""
        if self._centre is None:
            return wait_until(
                lambda: next((shown for shown in self.notifications() if shown["title"] == title), None),
                f"the notification {title!r}",
            )
        # getNotifications() drops one that the desktop has not yet confirmed, and Chromium then shows its own instead
        body = self._centre.wait_for(title).body
        return {"title": title, "body": body.partition("\n\n")[2]}  # the origin comes first

    def click_notification(self, title: str, action: str = "") -> None:
        """Click the notification with this title, or its button with the label `action`."""
        self._notification_centre().click(title, action)

    def dismiss_notification(self, title: str) -> None:
        """Close the notification with this title without a click."""
        self._notification_centre().dismiss(title)

    def tabs(self) -> list[str]:
        """The addresses of all open tabs."""
        targets = self._cdp.command("Target.getTargets")["targetInfos"]
        return [target["url"] for target in targets if target["type"] == "page"]

    def screenshot(self, path: str | Path) -> None:
        """Write a PNG of the page."""
        picture = self._cdp.command("Page.captureScreenshot", session=self._page)["data"]
        Path(path).write_bytes(base64.b64decode(picture))

    def _notification_centre(self) -> NotificationCentre:
        if self._centre is None:
            raise RuntimeError("Notifications can be clicked only with a NotificationCentre.")
        return self._centre

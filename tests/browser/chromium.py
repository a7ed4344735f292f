"""A real, headless Chromium whose push service is a `FakeGCM`."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.browser.browser import Browser, SeenAlert
from tests.browser.cdp import CDP, CDPError
from tests.browser.fake_gcm import FakeGCM
from tests.browser.waiting import BetweenPagesError, wait_until

if TYPE_CHECKING:
    from typing_extensions import Self

    from tests.browser.notification_centre import NotificationCentre

# the package's own binary: Debian's wrapper script adds flags of its own
BINARY = os.environ.get("CHROMIUM_BINARY", "/usr/lib/chromium/chromium")

_FLAGS = (
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
    # a site without https: localhost counts as secure
    "--host-resolver-rules=MAP insecure.test 127.0.0.1",
)

_BETWEEN_PAGES = (
    "Cannot find default execution context",
    "Execution context was destroyed",
    "Inspected target navigated or closed",
    "Promise was collected",
)

# the middle of an element that stays where it is: what loads above it may still move it
_FIND_RESTING = """
    const element = document.querySelector(arguments[0]);
    if (!element) return null;
    element.scrollIntoView({block: "center", behavior: "instant"});
    const {x, y, width, height} = element.getBoundingClientRect();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const now = element.getBoundingClientRect();
    return element.isConnected && now.x === x && now.y === y ? {x: x + width / 2, y: y + height / 2} : null;
"""

# kept beyond the page
_NOTE_COMPLAINTS = """
    if (location.origin === %s) {
        const note = (...what) => {
            const noted = [...JSON.parse(sessionStorage.complaints ?? "[]"), what.map(String).join(" ")];
            sessionStorage.complaints = JSON.stringify(noted);
        };
        for (const level of ["error", "warn"]) {
            const write = console[level];
            console[level] = (...what) => { note(level, ...what); write.apply(console, what); };
        }
        addEventListener("error", ({message}) => note("uncaught", message));
        addEventListener("unhandledrejection", ({reason}) => note("unhandled", reason));
    }
"""


class Chromium(Browser):
    """With a `notification_centre`, notifications can be clicked, and alerts are known."""

    name = "chromium"
    flags = _FLAGS
    push_service: FakeGCM

    def __init__(
        self, push_service: FakeGCM, notification_centre: NotificationCentre | None = None, *, binary: str = BINARY
    ) -> None:
        super().__init__(push_service, binary)
        self._centre = notification_centre
        self._cdp: CDP
        self._page = ""
        self._tab = ""

    def start(self) -> Self:
        gcm = self.push_service
        answer = self._launch(
            [
                *self.flags,
                f"--user-data-dir={self.profile}",
                f"--gcm-checkin-url={gcm.origin}/checkin",
                f"--gcm-registration-url={gcm.origin}/register3",
                f"--gcm-mcs-endpoint=https://localhost:{gcm.mcs_port}",
            ],
            port_file=self.profile / "DevToolsActivePort",
            environment=self.environment(),
        )
        port, path = answer.split()
        self._cdp = CDP(f"ws://127.0.0.1:{port}{path}")
        self._tab = self._cdp.command("Target.createTarget", url="about:blank")["targetId"]
        self._page = self._cdp.command("Target.attachToTarget", targetId=self._tab, flatten=True)["sessionId"]
        return self

    def environment(self) -> dict[str, str]:
        """Return the variables that the process gets beside ours."""
        return {} if self._centre is None else {"DBUS_SESSION_BUS_ADDRESS": self._centre.bus_address}

    def allow_notifications(self, origin: str) -> None:
        """Grant the permission, as if the user had been asked; it does not outlive the browser."""
        self._cdp.command("Browser.grantPermissions", origin=origin, permissions=["notifications"])

    def open(self, url: str) -> None:
        answer = self._in_page("Page.navigate", url=url)
        if answer.get("errorText"):
            raise CDPError(f"{url}: {answer['errorText']}")
        wait_until(lambda: self.run("return document.readyState") == "complete", f"{url} to load")

    def run(self, script: str, *arguments: Any) -> Any:
        try:
            answer = self._in_page(
                "Runtime.evaluate",
                expression=f"(async function () {{ {script} }})(...{json.dumps(arguments)})",
                awaitPromise=True,
                returnByValue=True,
                userGesture=True,
            )
        except CDPError as error:
            if any(said in str(error) for said in _BETWEEN_PAGES):
                raise BetweenPagesError(str(error)) from None
            raise
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise CDPError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        middle = wait_until(lambda: self.run(_FIND_RESTING, selector), f"{selector} at rest")
        for kind in ("mousePressed", "mouseReleased"):
            self._in_page("Input.dispatchMouseEvent", type=kind, **middle, button="left", clickCount=1)

    def wait_for_notification(self, title: str) -> dict[str, Any]:
        if self._centre is None:
            return super().wait_for_notification(title)
        # getNotifications() drops one that the desktop has not yet confirmed, and Chromium then shows its own instead
        body = self._centre.wait_for(title).body
        return {"title": title, "body": body.partition("\n\n")[2]}  # the origin comes first

    def click_notification(self, title: str, action: str = "") -> None:
        """Click the notification with this title, or its button with the label `action`."""
        self._notification_centre().click(title, action)

    def dismiss_notification(self, title: str) -> None:
        self._notification_centre().dismiss(title)

    def received(self) -> int:
        return len(self.push_service.acknowledged)

    def alerts(self) -> list[SeenAlert]:
        return [SeenAlert(shown.title, shown.is_silent) for shown in self._notification_centre().history]

    def on_screen(self) -> list[str]:
        return [shown.title for shown in self._notification_centre().on_screen()]

    def stop_service_workers(self) -> None:
        wait_until(self._stopped_service_workers, "the end of the service workers")

    def _stopped_service_workers(self) -> bool:
        # again and again, for an event that was under way, such as a page's message, starts a worker anew
        self._in_page("ServiceWorker.enable")
        self._in_page("ServiceWorker.stopAllWorkers")
        self._in_page("ServiceWorker.disable")
        return not self._addresses("service_worker")

    def tabs(self) -> list[str]:
        return self._addresses("page")

    def close_other_tabs(self) -> None:
        for target in self._cdp.command("Target.getTargets")["targetInfos"]:
            if target["type"] == "page" and target["targetId"] != self._tab:
                with suppress(CDPError):  # it has closed itself
                    self._cdp.command("Target.closeTarget", targetId=target["targetId"])

    def close_alerts(self) -> None:
        """Do nothing: the desktop shows them."""

    @contextmanager
    def private_window(self) -> Iterator[Self]:
        context = self._cdp.command("Target.createBrowserContext", disposeOnDetach=True)["browserContextId"]
        tab = self._cdp.command("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        before = self._page
        self._page = self._cdp.command("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        try:
            yield self
        finally:
            self._page = before
            self._cdp.command("Target.disposeBrowserContext", browserContextId=context)

    def watch_console(self, origin: str) -> None:
        self._in_page("Page.enable")
        self._in_page("Page.addScriptToEvaluateOnNewDocument", source=_NOTE_COMPLAINTS % json.dumps(origin))

    def complaints(self) -> list[str]:
        noted: list[str] = self.run("return JSON.parse(sessionStorage.complaints ?? '[]')")
        return noted

    def screenshot(self, path: str | Path) -> None:
        picture = self._in_page("Page.captureScreenshot")["data"]
        Path(path).write_bytes(base64.b64decode(picture))

    def _ask_to_quit(self) -> None:
        with suppress(CDPError, OSError):
            self._cdp.command("Browser.close")
        self._cdp.close()

    def _in_page(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._cdp.command(method, session=self._page, **parameters)

    def _addresses(self, kind: str) -> list[str]:
        targets = self._cdp.command("Target.getTargets")["targetInfos"]
        return [target["url"] for target in targets if target["type"] == kind]

    def _notification_centre(self) -> NotificationCentre:
        if self._centre is None:
            raise RuntimeError("Notifications can be clicked, and alerts known, only with a NotificationCentre.")
        return self._centre

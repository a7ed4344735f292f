"""A real, headless Firefox whose push service is a `FakePushService`."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django_webpush_kit.testing import FakePushService
from tests.browser.browser import Browser, SeenAlert
from tests.browser.marionette import Marionette, MarionetteError
from tests.browser.waiting import BetweenPagesError, wait_until

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


_BETWEEN_PAGES = ("Document was unloaded", "Browsing context has been discarded", "destroyed before query")

# the alerts that Firefox draws are windows: note each as it opens, and let it stay, as in a system's notification
# centre, until somebody closes it: Firefox closes it, and tells the worker, at the end of an animation of 20 seconds
_NOTE_ALERTS = """
    globalThis.alerts = [];
    const note = ({target}) => {
        const title = target.getElementById("alertTitleLabel")?.getAttribute("value");
        if (target.documentElement.getAttribute("windowtype") === "alert:alert") globalThis.alerts.push(title);
    };
    const keep = ({target}) => {
        const animations = target.ownerDocument.getElementById("alertBox").getAnimations();
        for (const animation of animations) if (animation.animationName === "alert-animation") animation.cancel();
    };
    Services.obs.addObserver((window) => {
        window.addEventListener("load", note, {once: true});
        window.addEventListener("AlertActive", keep, {once: true});
    }, "domwindowopened");
"""
_STOP_SERVICE_WORKERS = """
    const manager = Cc["@mozilla.org/serviceworkers/manager;1"].getService(Ci.nsIServiceWorkerManager);
    const registrations = manager.getAllRegistrations();
    const workers = [];
    for (let number = 0; number < registrations.length; number += 1) {
        const registration = registrations.queryElementAt(number, Ci.nsIServiceWorkerRegistrationInfo);
        workers.push(registration.activeWorker);
    }
    return Promise.all(workers.filter(Boolean).map(worker => worker.terminateWorker())).then(() => workers.length);
"""
_CONSOLE = "Cc['@mozilla.org/consoleAPI-storage;1'].getService(Ci.nsIConsoleAPIStorage)"
_COMPLAINTS = f"""
    const calls = {_CONSOLE}.getEvents()
        .filter(({{level, filename}}) => ["error", "warn"].includes(level) && filename.startsWith(arguments[0]))
        .map(({{level, arguments}}) => [level, ...arguments].map(String).join(" "));
    const errors = Services.console.getMessageArray()
        .filter((message) => message instanceof Ci.nsIScriptError)
        .filter(({{flags}}) => !(flags & Ci.nsIScriptError.warningFlag))
        .filter(({{sourceName}}) => sourceName.startsWith(arguments[0]))
        .map(({{errorMessage}}) => `uncaught ${{errorMessage}}`);
    return [...calls, ...errors];
"""


class Firefox(Browser):
    """It draws its alerts itself."""

    name = "firefox"
    arguments = ("--headless", "--marionette", "--remote-allow-system-access", "--no-remote")
    push_service: FakePushService

    def __init__(self, push_service: FakePushService, *, binary: str = BINARY) -> None:
        super().__init__(push_service, binary)
        self._marionette: Marionette
        self._watched = ""

    def start(self) -> Self:
        self._write_preferences()
        port = self._launch(
            [*self.arguments, "--profile", str(self.profile)],
            port_file=self.profile / "MarionetteActivePort",
            environment=self.environment(),
        )
        self._marionette = Marionette(int(port))
        self._marionette.command("WebDriver:NewSession", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        self._run_in_alerts_sandbox(_NOTE_ALERTS)
        return self

    def allow_notifications(self, origin: str) -> None:
        """Do nothing: the preferences allow them to every site."""

    def open(self, url: str) -> None:
        self._marionette.command("WebDriver:Navigate", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        try:
            return self._execute(f"return (async () => {{ {script} }})()", arguments)
        except MarionetteError as error:
            if any(said in str(error) for said in _BETWEEN_PAGES):
                raise BetweenPagesError(str(error)) from None
            raise

    def run_privileged(self, script: str, *arguments: Any) -> Any:
        """Run the body of a function with the browser's own rights."""
        with self._chrome_context():
            return self._execute(script, arguments, sandbox="system")

    def click(self, selector: str) -> None:
        wait_until(lambda: self.run("return !!document.querySelector(arguments[0])", selector), selector)
        element = self._marionette.command("WebDriver:FindElement", using="css selector", value=selector)
        (element_id,) = element.values()
        self._marionette.command("WebDriver:ElementClick", id=element_id)

    def click_notification(self, title: str, action: str = "") -> None:
        """Click the notification with this title, or its button with the id `action`, as the user would.

        The alert of a clicked button stays until the worker closes its notification.
        """
        script = _CLICK_BUTTON if action else _CLICK_ALERT
        wait_until(lambda: self.run_privileged(script, title, action), f"the alert window {title!r}")

    def dismiss_notification(self, title: str) -> None:
        wait_until(lambda: self.run_privileged(_DISMISS_ALERT, title), f"the alert window {title!r}")

    def received(self) -> int:
        return len(self.push_service.acknowledgements)

    def alerts(self) -> list[SeenAlert]:
        return [SeenAlert(title) for title in self._run_in_alerts_sandbox("return globalThis.alerts")]

    def on_screen(self) -> list[str]:
        titles: list[str] = self.run_privileged(
            """
            return [...Services.wm.getEnumerator("alert:alert")]
                .map(window => window.document.getElementById("alertTitleLabel")?.getAttribute("value"));
            """
        )
        return titles

    def stop_service_workers(self) -> None:
        self.run_privileged(_STOP_SERVICE_WORKERS)

    def tabs(self) -> list[str]:
        addresses: list[str] = self.run_privileged(
            """
            return [...Services.wm.getEnumerator("navigator:browser")]
                .flatMap(window => [...window.gBrowser.tabs])
                .map(tab => tab.linkedBrowser.currentURI.spec);
            """
        )
        return addresses

    def close_other_tabs(self) -> None:
        first = self._marionette.command("WebDriver:GetWindowHandle")
        for handle in self._marionette.command("WebDriver:GetWindowHandles"):
            if handle != first:
                self._marionette.command("WebDriver:SwitchToWindow", handle=handle, focus=False)
                self._marionette.command("WebDriver:CloseWindow")
        self._marionette.command("WebDriver:SwitchToWindow", handle=first, focus=False)

    def close_alerts(self) -> None:
        self.run_privileged("for (const window of [...Services.wm.getEnumerator('alert:alert')]) window.close();")

    @contextmanager
    def private_window(self) -> Iterator[Self]:
        first = self._marionette.command("WebDriver:GetWindowHandle")
        opened = self._marionette.command("WebDriver:NewWindow", type="window", private=True)
        self._marionette.command("WebDriver:SwitchToWindow", handle=opened["handle"])
        try:
            yield self
        finally:
            self._marionette.command("WebDriver:CloseWindow")
            self._marionette.command("WebDriver:SwitchToWindow", handle=first)

    def watch_console(self, origin: str) -> None:
        self._watched = origin
        self.run_privileged(f"{_CONSOLE}.clearEvents(); Services.console.reset();")

    def complaints(self) -> list[str]:
        noted: list[str] = self.run_privileged(_COMPLAINTS, self._watched)
        return noted

    def screenshot(self, path: str | Path) -> None:
        picture = self._marionette.command("WebDriver:TakeScreenshot", full=True, hash=False)
        Path(path).write_bytes(base64.b64decode(picture))

    def _ask_to_quit(self) -> None:
        with suppress(MarionetteError, OSError):
            self._marionette.command("Marionette:Quit", flags=["eForceQuit"])
        self._marionette.close()

    @contextmanager
    def _chrome_context(self) -> Iterator[None]:
        self._marionette.command("Marionette:SetContext", value="chrome")
        try:
            yield
        finally:
            self._marionette.command("Marionette:SetContext", value="content")

    def _execute(self, script: str, arguments: tuple[Any, ...], sandbox: str | None = None) -> Any:
        return self._marionette.command(
            "WebDriver:ExecuteScript", script=script, args=list(arguments), newSandbox=True, sandbox=sandbox
        )

    def _run_in_alerts_sandbox(self, script: str) -> Any:
        """Run a script whose globals the next one finds again."""
        with self._chrome_context():
            return self._marionette.command(
                "WebDriver:ExecuteScript", script=script, args=[], newSandbox=False, sandbox="alerts"
            )

    def environment(self) -> dict[str, str]:
        """Return the variables that the process gets beside ours."""
        return {"MOZ_CRASHREPORTER_DISABLE": "1"}

    def preferences(self) -> dict[str, Any]:
        """Return the preferences of the profile."""
        return {
            "marionette.port": 0,
            "dom.push.serverURL": self.push_service.websocket_url,
            "dom.push.testing.allowInsecureServerURL": True,
            # Marionette's own preferences switch the push connection off
            "dom.push.connection.enabled": True,
            "dom.push.retryBaseInterval": 100,
            "permissions.default.desktop-notification": 1,
            # there is no notification daemon: let Firefox draw the alerts itself
            "alerts.useSystemBackend": False,
            # a site without https: localhost counts as secure
            "network.dns.localDomains": "insecure.test",
        }

    def _write_preferences(self) -> None:
        preferences = self.preferences()
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
        (self.profile / "user.js").write_text("".join(lines))

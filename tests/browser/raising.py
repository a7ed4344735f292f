"""Browsers with a screen, where focus() raises a tab as it does for users; headless ones cannot show that."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.browser.cdp import CDPError
from tests.browser.chromium import Chromium
from tests.browser.firefox import Firefox
from tests.browser.marionette import MarionetteError
from tests.browser.waiting import START_SECONDS, wait_until


@contextmanager
def screen() -> Iterator[str]:
    """A virtual screen; gives the value of DISPLAY."""
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x900x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as number:
            yield f":{wait_until(lambda: number.readline().strip(), 'Xvfb to start', START_SECONDS)}"
    finally:
        server.terminate()
        server.wait()


class TabsMixin:
    """What tests need to know of the tab in front."""

    def front(self) -> str:
        """The address of the tab that the user sees."""
        raise NotImplementedError

    def run_in_front(self, script: str) -> Any:
        """Run the body of an async function in the tab that the user sees."""
        raise NotImplementedError

    def close_front(self) -> None:
        """Close the tab that the user sees."""
        raise NotImplementedError

    @contextmanager
    def other_tab(self, url: str) -> Iterator[None]:
        """Within the block another tab is in front, unless something raises the first."""
        raise NotImplementedError


class RaisingFirefox(TabsMixin, Firefox):
    """A headed Firefox without the preferences that Marionette recommends: they keep focus() from raising a tab."""

    name = "raising-firefox"
    arguments = tuple(argument for argument in Firefox.arguments if argument != "--headless")

    def __init__(self, push_service: Any, display: str) -> None:
        super().__init__(push_service)
        self._display = display

    def preferences(self) -> dict[str, Any]:
        return {
            **super().preferences(),
            "remote.prefs.recommended": False,
            "browser.shell.checkDefaultBrowser": False,
            "browser.startup.page": 0,
            "browser.aboutwelcome.enabled": False,
            "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
            "browser.tabs.warnOnClose": False,
        }

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "DISPLAY": self._display}

    def front(self) -> str:
        address: str = self.run_privileged(f"return {_WINDOW}.gBrowser.selectedBrowser.currentURI.spec")
        return address

    def run_in_front(self, script: str) -> Any:
        front = self.front()
        first = self._marionette.command("WebDriver:GetWindowHandle")
        try:
            for handle in self._marionette.command("WebDriver:GetWindowHandles"):
                self._marionette.command("WebDriver:SwitchToWindow", handle=handle, focus=False)
                if self._marionette.command("WebDriver:GetCurrentURL") == front:
                    return self.run(script)
        except MarionetteError:
            return None  # between two pages
        finally:
            self._marionette.command("WebDriver:SwitchToWindow", handle=first, focus=False)
        return None

    def close_front(self) -> None:
        self.run_privileged(f"{_WINDOW}.gBrowser.removeCurrentTab()")

    @contextmanager
    def other_tab(self, url: str) -> Iterator[None]:
        self.run_privileged(
            f"""
            const {{gBrowser}} = {_WINDOW};
            gBrowser.selectedTab = gBrowser.addTrustedTab(arguments[0]);
            gBrowser.selectedTab.isOther = true;
            """,
            url,
        )
        wait_until(lambda: self.front() == url, url)
        try:
            yield
        finally:
            self.run_privileged(
                f"""
                const {{gBrowser}} = {_WINDOW};
                for (const tab of [...gBrowser.tabs]) if (tab.isOther) gBrowser.removeTab(tab);
                """
            )


_WINDOW = "Services.wm.getMostRecentWindow('navigator:browser')"


class RaisingChromium(TabsMixin, Chromium):
    """A headed Chromium: its tabs share a window, and only one of them is visible."""

    name = "raising-chromium"
    flags = tuple(flag for flag in Chromium.flags if flag != "--headless")

    def __init__(self, push_service: Any, centre: Any, display: str) -> None:
        super().__init__(push_service, centre)
        self._display = display
        self._sessions: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "DISPLAY": self._display}

    def front(self) -> str:
        return self.run_in_front("return location.href") or ""

    def run_in_front(self, script: str) -> Any:
        for target in self._cdp.command("Target.getTargets")["targetInfos"]:
            if target["type"] == "page":
                with suppress(CDPError):
                    if self._evaluate(target["targetId"], "document.visibilityState") == "visible":
                        return self._evaluate(target["targetId"], f"(async () => {{ {script} }})()")
        return None

    def close_front(self) -> None:
        for target in self._cdp.command("Target.getTargets")["targetInfos"]:
            if target["type"] == "page" and self._evaluate(target["targetId"], "document.visibilityState") == "visible":
                self._cdp.command("Target.closeTarget", targetId=target["targetId"])
                return

    @contextmanager
    def other_tab(self, url: str) -> Iterator[None]:
        target = self._cdp.command("Target.createTarget", url=url)["targetId"]
        wait_until(lambda: self.front() == url, url)
        try:
            yield
        finally:
            self._cdp.command("Target.closeTarget", targetId=target)

    def _evaluate(self, target: str, expression: str) -> Any:
        if target not in self._sessions:
            attached = self._cdp.command("Target.attachToTarget", targetId=target, flatten=True)
            self._sessions[target] = attached["sessionId"]
        answer = self._cdp.command(
            "Runtime.evaluate",
            session=self._sessions[target],
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        return answer["result"].get("value")

"""What the tests' browsers have in common: a process with a profile folder, a page in it, and what users get to see."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.browser.waiting import START_SECONDS, wait_until

if TYPE_CHECKING:
    from typing_extensions import Self

    from django_webpush_kit.testing.loopback_server import LoopbackServer


@dataclass(frozen=True, slots=True)
class SeenAlert:
    """A notification as the user got it; `is_silent` only where the system draws it, and can tell."""

    title: str
    is_silent: bool = False


class Browser(ABC):
    """Use as a context manager. One browser serves many tests: a site on another port is another origin."""

    name: str

    def __init__(self, push_service: LoopbackServer, binary: str) -> None:
        self.push_service = push_service
        self.profile = Path(tempfile.mkdtemp(prefix=f"webpush-kit-{self.name}-"))
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def start(self) -> Self:
        """Start, or start again with the same profile after `quit`."""

    def quit(self) -> None:
        """End the browser; its profile stays for another `start`."""
        self._ask_to_quit()
        if self._process is not None:
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.quit()
        shutil.rmtree(self.profile, ignore_errors=True)

    @abstractmethod
    def allow_notifications(self, origin: str) -> None:
        """Grant the permission, as if the user had been asked."""

    @abstractmethod
    def open(self, url: str) -> None:
        """Load a page and wait for it."""

    @abstractmethod
    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of an async function in the page, with `arguments`, and return what it returns."""

    @abstractmethod
    def click(self, selector: str) -> None:
        """Click an element as a user does: the page gets a trusted event and user activation."""

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

    def wait_for_notification(self, title: str, seconds: float = 20) -> dict[str, Any]:
        """Wait until a notification with this title is on display: at least `{"title", "body"}`."""
        return wait_until(
            lambda: next((shown for shown in self.notifications() if shown["title"] == title), None),
            f"the notification {title!r}",
            seconds,
        )

    @abstractmethod
    def click_notification(self, title: str, action: str = "") -> None:
        """Click the notification with this title, or its button `action`, as the user would."""

    @abstractmethod
    def dismiss_notification(self, title: str) -> None:
        """Close the notification with this title without a click."""

    @abstractmethod
    def received(self) -> int:
        """How many push messages the browser has acknowledged to its push service."""

    @abstractmethod
    def alerts(self) -> list[SeenAlert]:
        """Every alert that was put before the user since the browser's start, also of the browser itself."""

    @abstractmethod
    def on_screen(self) -> list[str]:
        """The titles of the alerts that the user has before them now, of whatever site."""

    @abstractmethod
    def stop_service_workers(self) -> None:
        """End every running service worker, as the browser does to save memory; the next event starts it anew."""

    @abstractmethod
    def tabs(self) -> list[str]:
        """The addresses of all open tabs."""

    @abstractmethod
    def close_other_tabs(self) -> None:
        """Close the tabs that clicks have opened: a page behind another counts as hidden."""

    @abstractmethod
    def close_alerts(self) -> None:
        """Close the alerts that the browser itself has put on the screen."""

    @abstractmethod
    def private_window(self) -> AbstractContextManager[Self]:
        """Within the block the page is one of a private window."""

    @abstractmethod
    def watch_console(self, origin: str) -> None:
        """Begin to note what the pages of an origin complain about."""

    @abstractmethod
    def complaints(self) -> list[str]:
        """Return the errors and warnings in the console, and errors that nothing caught, since `watch_console`.

        The page that is open has to be one of that origin.
        """

    @abstractmethod
    def screenshot(self, path: str | Path) -> None:
        """Write a PNG of the page."""

    @abstractmethod
    def _ask_to_quit(self) -> None:
        """Tell the process to end, and close the connection to it."""

    def _launch(self, arguments: list[str], *, port_file: Path, environment: dict[str, str]) -> str:
        """Run the binary with `HOME` in the profile, wait until it has written `port_file`, and return what that says.

        Its output goes to `output.txt` in the profile.
        """
        port_file.unlink(missing_ok=True)
        with (self.profile / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                [self._binary, *arguments],
                env={**os.environ, "HOME": str(self.profile), **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return wait_until(lambda: self._read(port_file), f"{self.name} to start", START_SECONDS)

    def _read(self, port_file: Path) -> str:
        if self._process is not None and self._process.poll() is not None:
            output = (self.profile / "output.txt").read_text(errors="replace")
            raise RuntimeError(f"{self.name} exited with {self._process.returncode}:\n{output[-2000:]}")
        return port_file.read_text().strip() if port_file.exists() else ""

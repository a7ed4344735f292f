"""A desktop's notification centre (org.freedesktop.Notifications) on a D-Bus of its own, for browsers that use one."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbus_next import Message, MessageType, Variant
from dbus_next.aio import MessageBus

from tests.browser.waiting import wait_until

if TYPE_CHECKING:
    from typing_extensions import Self

_PATH = "/org/freedesktop/Notifications"
_INTERFACE = "org.freedesktop.Notifications"
# reasons for closing
_DISMISSED, _CLOSED_BY_CALL = 2, 3


@dataclass(slots=True)
class Alert:
    """What the desktop shows: `actions` maps a button's key to its label. A silent one makes no sound."""

    number: int
    title: str
    body: str
    actions: dict[str, str]
    is_silent: bool = False


class NotificationCentre:
    """A context manager; `bus_address` goes to the browser as DBUS_SESSION_BUS_ADDRESS."""

    bus_address: str

    def __init__(self) -> None:
        self.history: list[Alert] = []
        """Every alert that was ever shown, oldest first; one that took another's place counts too."""

    def __enter__(self) -> Self:
        self._bus_process = subprocess.Popen(
            ["dbus-daemon", "--session", "--nofork", "--print-address"], stdout=subprocess.PIPE, text=True
        )
        self.bus_address = self._bus_process.stdout.readline().strip()
        self._alerts: dict[int, Alert] = {}
        self._last_number = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="NotificationCentre", daemon=True)
        self._thread.start()
        self._run(self._connect())
        return self

    def __exit__(self, *exception: object) -> None:
        self._run(self._disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._bus_process.terminate()
        self._bus_process.wait()
        self._bus_process.stdout.close()

    def click(self, title: str, action: str = "") -> None:
        """Click the alert with this title, or its button with the label `action`."""
        alert = self.wait_for(title)
        key = next((key for key, label in alert.actions.items() if label == action), "") if action else "default"
        if key not in alert.actions:
            raise LookupError(f"{title!r} has no button {action!r}, only {list(alert.actions.values())}")
        self._signal("ActionInvoked", "us", alert.number, key)
        self._close(alert.number, _DISMISSED)

    def dismiss(self, title: str) -> None:
        """Close the alert with this title."""
        self._close(self.wait_for(title).number, _DISMISSED)

    def wait_for(self, title: str) -> Alert:
        """Wait until an alert with this title is on the desktop."""
        return wait_until(
            lambda: next((alert for alert in self.on_screen() if alert.title == title), None),
            f"the alert {title!r}",
        )

    def on_screen(self) -> list[Alert]:
        """The alerts on the desktop now."""
        return list(self._alerts.values())

    def _close(self, number: int, reason: int) -> None:
        if self._alerts.pop(number, None) is not None:
            self._signal("NotificationClosed", "uu", number, reason)

    def _signal(self, name: str, signature: str, *values: Any) -> None:
        message = Message.new_signal(_PATH, _INTERFACE, name, signature, list(values))
        self._loop.call_soon_threadsafe(self._bus.send, message)

    def _answer(self, message: Message) -> Message | None:
        """Handle a method call; None leaves it to others."""
        if message.message_type is not MessageType.METHOD_CALL or message.interface != _INTERFACE:
            return None
        if message.member == "GetCapabilities":
            return Message.new_method_return(message, "as", [["actions", "body", "persistence"]])
        if message.member == "GetServerInformation":
            return Message.new_method_return(message, "ssss", ["tests", "tests", "1", "1.2"])
        if message.member == "Notify":
            return Message.new_method_return(message, "u", [self._show(*message.body)])
        self._close(message.body[0], _CLOSED_BY_CALL)
        return Message.new_method_return(message)

    def _show(
        self,
        _application: str,
        replaced: int,
        _icon: str,
        title: str,
        body: str,
        actions: list[str],
        hints: dict[str, Variant],
        _timeout: int,
    ) -> int:
        if not replaced:
            self._last_number += 1
        number = replaced or self._last_number
        buttons = dict(zip(actions[::2], actions[1::2], strict=True))
        alert = Alert(number, title, body, buttons, is_silent="suppress-sound" in hints)
        self._alerts[number] = alert
        self.history.append(alert)
        return number

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    async def _connect(self) -> None:
        self._bus = await MessageBus(bus_address=self.bus_address).connect()
        self._bus.add_message_handler(self._answer)
        await self._bus.request_name(_INTERFACE)

    async def _disconnect(self) -> None:
        self._bus.disconnect()
        await self._bus.wait_for_disconnect()
        for left_open in (self._bus._stream, self._bus._sock):  # dbus-next only shuts the connection down
            left_open.close()

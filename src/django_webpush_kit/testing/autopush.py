"""The WebSocket protocol of Mozilla's push service (autopush), which Firefox uses to subscribe and receive."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import WSCloseCode, WSMsgType, web

from django_webpush_kit.testing.mailboxes import Mailbox, Mailboxes, StoredMessage, checked_key, new_browser_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[["Connection", dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A browser's acknowledgement of one message.

    `code` is defined by autopush: 100 delivered to the service worker, 101 decryption failed, 102 not delivered, 302
    the worker's push handler failed.
    """

    endpoint: str
    message_id: str
    code: int


@dataclass(slots=True)
class Connection:
    """An open WebSocket, and the browser's name after its hello message."""

    socket: web.WebSocketResponse
    browser: str = ""

    async def send(self, **frame: Any) -> None:
        """Send one frame."""
        await self.socket.send_str(json.dumps(frame))


class AutopushServer:
    """Implements the autopush protocol for the mailboxes of a push service."""

    def __init__(self, mailboxes: Mailboxes, endpoint_of: Callable[[Mailbox], str]) -> None:
        self.acknowledgements: list[Acknowledgement] = []
        self.held = False
        """While true, messages are stored but not sent to browsers."""
        self._mailboxes = mailboxes
        self._endpoint_of = endpoint_of
        self._connections: dict[str, Connection] = {}
        self._known_browsers: set[str] = set()
        self._sockets: set[web.WebSocketResponse] = set()
        self._handlers: dict[str, Handler] = {
            "hello": self._hello,
            "register": self._register,
            "unregister": self._unregister,
            "ack": self._acknowledge,
            "nack": self._refuse,
        }

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Handle one WebSocket until it closes."""
        socket = web.WebSocketResponse(protocols=("push-notification",))
        await socket.prepare(request)
        connection = Connection(socket)
        self._sockets.add(socket)
        try:
            async for received in socket:
                if received.type is WSMsgType.TEXT:
                    await self._handle(connection, json.loads(received.data))
        finally:
            self._sockets.discard(socket)
            if self._connections.get(connection.browser) is connection:
                del self._connections[connection.browser]
        return socket

    def is_connected(self, browser: str) -> bool:
        """Return whether this browser is connected and messages are not held back."""
        return browser in self._connections and not self.held

    async def deliver(self, mailbox: Mailbox, message: StoredMessage) -> None:
        """Send one message if its browser is connected. It stays stored until the browser acknowledges it."""
        if not self.is_connected(mailbox.browser):
            return
        await self._connections[mailbox.browser].send(
            messageType="notification",
            channelID=mailbox.channel,
            version=message.id,
            ttl=message.ttl,
            data=base64.urlsafe_b64encode(message.body).rstrip(b"=").decode(),
            headers={"encoding": "aes128gcm"},
        )

    async def deliver_waiting(self, browser: str = "") -> None:
        """Send the waiting messages of one browser, or of every connected browser."""
        for name in [browser] if browser else list(self._connections):
            for mailbox in self._mailboxes.of_browser(name):
                for message in mailbox.waiting():
                    await self.deliver(mailbox, message)

    async def disconnect(self, *, forget: bool) -> None:
        """Close every WebSocket. With `forget`, also delete the browsers' names and subscriptions."""
        if forget:
            for browser in self._known_browsers:
                for mailbox in self._mailboxes.of_browser(browser):
                    mailbox.close()
            self._known_browsers.clear()
        for socket in list(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY)

    async def _handle(self, connection: Connection, frame: dict[str, Any]) -> None:
        kind = frame.get("messageType", "ping")
        if kind == "ping":
            await connection.socket.send_str("{}")
        elif kind in self._handlers:
            await self._handlers[kind](connection, frame)

    async def _hello(self, connection: Connection, frame: dict[str, Any]) -> None:
        claimed = frame.get("uaid", "")
        # an unknown name is replaced, which tells the browser that its subscriptions are lost
        connection.browser = claimed if claimed in self._known_browsers else new_browser_name()
        self._known_browsers.add(connection.browser)
        self._connections[connection.browser] = connection
        await connection.send(messageType="hello", uaid=connection.browser, status=200, use_webpush=True, broadcasts={})
        await self.deliver_waiting(connection.browser)

    async def _register(self, connection: Connection, frame: dict[str, Any]) -> None:
        mailbox = self._mailboxes.add(
            Mailbox(
                browser=connection.browser,
                channel=frame["channelID"],
                application_server_key=checked_key(frame.get("key") or ""),
            )
        )
        await connection.send(
            messageType="register",
            channelID=mailbox.channel,
            status=200,
            pushEndpoint=self._endpoint_of(mailbox),
        )

    async def _unregister(self, connection: Connection, frame: dict[str, Any]) -> None:
        for mailbox in self._mailboxes.of_browser(connection.browser, frame["channelID"]):
            mailbox.close()
        await connection.send(messageType="unregister", channelID=frame["channelID"], status=200)

    async def _acknowledge(self, connection: Connection, frame: dict[str, Any]) -> None:
        for update in frame["updates"]:
            self._take(connection, update["version"], update.get("code", 100))

    async def _refuse(self, connection: Connection, frame: dict[str, Any]) -> None:
        self._take(connection, frame["version"], frame.get("code", 0))

    def _take(self, connection: Connection, message_id: str, code: int) -> None:
        for mailbox in self._mailboxes.of_browser(connection.browser):
            if mailbox.messages.pop(message_id, None):
                self.acknowledgements.append(Acknowledgement(self._endpoint_of(mailbox), message_id, code))

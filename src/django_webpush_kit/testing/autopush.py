"""The browser's side of Mozilla's push service: a WebSocket on which Firefox subscribes and receives."""

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
    """What a browser said of one message.

    `code` is autopush's: 100 shown to the worker, 101 could not be decrypted, 102 not delivered, 302 the worker's
    push handler failed.
    """

    endpoint: str
    message_id: str
    code: int


@dataclass(slots=True)
class Connection:
    """A browser's open WebSocket, and its name once it has said hello."""

    socket: web.WebSocketResponse
    browser: str = ""

    async def send(self, **frame: Any) -> None:
        """Send one frame."""
        await self.socket.send_str(json.dumps(frame))


class AutopushServer:
    """Speaks the autopush protocol over a service's mailboxes."""

    def __init__(self, mailboxes: Mailboxes, endpoint_of: Callable[[Mailbox], str]) -> None:
        self.acknowledgements: list[Acknowledgement] = []
        self.held = False
        """While true, messages are stored but not handed to browsers."""
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
        """Whether a message for this browser can be handed over at once."""
        return browser in self._connections and not self.held

    async def deliver(self, mailbox: Mailbox, message: StoredMessage) -> None:
        """Hand over one message if its browser is connected; it stays stored until the browser acknowledges it."""
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
        """Hand over what waits, for one browser or for every connected one."""
        for name in [browser] if browser else list(self._connections):
            for mailbox in self._mailboxes.of_browser(name):
                for message in mailbox.waiting():
                    await self.deliver(mailbox, message)

    async def disconnect(self, *, forget: bool) -> None:
        """Close every WebSocket. With `forget` the browsers' names and subscriptions are lost as well."""
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
        # a name we do not know gets a new one, by which the browser learns that its subscriptions are lost
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

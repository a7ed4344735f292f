"""A push service for tests and demos: a real HTTP server on loopback that enforces the Web Push RFCs.

You can also run it as a command: `python -m django_webpush_kit.testing.fake_push_service`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from django_webpush_kit.testing.autopush import Acknowledgement, AutopushServer
from django_webpush_kit.testing.loopback_server import LoopbackServer
from django_webpush_kit.testing.mailboxes import MAX_TTL, Mailbox, Mailboxes, StoredMessage, checked_key
from django_webpush_kit.testing.push_rules import Refusal, refusal_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A scripted failure of the push service.

    It waits `delay` seconds, then closes the connection (`drop`), or responds with `status`, `headers` and `body`. With
    `half_reply`, it closes the connection in the middle of the response. If `status` is None, the message is handled
    normally after the delay. The failure happens `times` times; None means forever.
    """

    status: int | None = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    drop: bool = False
    half_reply: bool = False
    times: int | None = 1


@dataclass(slots=True, kw_only=True)
class ReceivedRequest:
    """One POST that the push service received, accepted or not.

    `headers` are case-insensitive, `time` is in seconds since 1970. `status` is the response's status, or None if there
    was none (yet). `reason` is the reason of a refusal. Requests on the same connection have the same `client_port`.
    """

    endpoint: str
    token: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    time: float
    client_port: int
    status: int | None = None
    reason: str = ""

    @property
    def size(self) -> int:
        """Length of the encrypted body in bytes."""
        return len(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRegistration:
    """A new subscription: the URLs to which application servers send, and from which its browser fetches messages."""

    endpoint: str
    url: str


class FakePushService(LoopbackServer):
    """A push service on 127.0.0.1: `with FakePushService() as service:`.

    It accepts requests that conform to RFC 8030, 8188, 8291 and 8292, and refuses others with 400, 401, 403, 404, 410
    or 413. Firefox can use it too: set `dom.push.serverURL` to `websocket_url`. With `tls=True` it is an HTTPS server
    whose clients must trust the file `ca_bundle`.
    """

    def __init__(self, *, port: int = 0, hostname: str = "127.0.0.1", tls: bool = False) -> None:
        super().__init__(port=port, hostname=hostname, tls=tls)
        self.requests: list[ReceivedRequest] = []
        """Every POST received, oldest first."""
        self._mailboxes = Mailboxes()
        self._autopush = AutopushServer(self._mailboxes, self._endpoint_of)
        self._faults: list[_ScriptedFault] = []

    def subscribe(self, application_server_key: str | None = None) -> PushRegistration:
        """Create a subscription. With a VAPID public key (base64url), only the owner of that key can send to it."""
        return self._registration(self.call(self._add_mailbox, application_server_key or ""))

    def expire(self, endpoint: str) -> None:
        """End a subscription. Its endpoint responds with 410 from now on, as if the user had revoked the permission."""
        self.call(self._mailbox_at(endpoint).close)

    def script(self, endpoint: str | None, *faults: Fault) -> None:
        """Script faults, in order, for the next POSTs to this endpoint, or to any endpoint if it is None.

        Faults of one endpoint come before faults for any endpoint.
        """
        self.call(self._faults.extend, [_ScriptedFault(endpoint, fault) for fault in faults])

    def clear_faults(self) -> None:
        """Remove all scripted faults."""
        self.call(self._faults.clear)

    def waiting(self, endpoint: str) -> list[StoredMessage]:
        """Return the accepted messages that the browser has not fetched yet, still encrypted."""
        return self.call(self._mailbox_at(endpoint).waiting)

    def hold(self) -> None:
        """Hold messages back from browsers, as if they were offline, until `release`."""
        self._set_held(held=True)

    def release(self) -> None:
        """Deliver the messages that were held back."""
        self._set_held(held=False)
        asyncio.run_coroutine_threadsafe(self._autopush.deliver_waiting(), self._loop).result()

    def disconnect_browsers(self, *, forget: bool = False) -> None:
        """Close every browser's WebSocket. Browsers reconnect automatically.

        With `forget`, their subscriptions are lost, and a reconnecting Firefox fires `pushsubscriptionchange`.
        """
        asyncio.run_coroutine_threadsafe(self._autopush.disconnect(forget=forget), self._loop).result()

    @property
    def acknowledgements(self) -> list[Acknowledgement]:
        """The acknowledgements of browsers connected by WebSocket, oldest first."""
        return self._autopush.acknowledgements

    @property
    def websocket_url(self) -> str:
        """The address for Firefox's `dom.push.serverURL`."""
        return f"{self.origin.replace('http', 'ws', 1)}/"

    # the HTTP side

    def application(self) -> web.Application:
        """The routes. `/wpush/` is for application servers, `/` and `/subscriptions` are for browsers."""
        application = web.Application(client_max_size=1 << 20)
        application.router.add_get("/", self._serve_browser)
        application.router.add_post("/wpush/v2/{token}", self._receive)
        application.router.add_post("/subscriptions", self._create)
        application.router.add_delete("/subscriptions/{id}", self._delete)
        application.router.add_get("/subscriptions/{id}/messages", self._list_messages)
        application.router.add_post("/subscriptions/{id}/acknowledgements", self._acknowledge)
        application.on_shutdown.append(self._close_sockets)
        return application

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        received = ReceivedRequest(
            endpoint=f"{self.origin}{request.path}",
            token=request.match_info["token"],
            headers=request.headers,
            body=await request.read(),
            time=time.time(),
            client_port=request.transport.get_extra_info("peername")[1] if request.transport else 0,
        )
        self.requests.append(received)
        fault = self._next_fault(received.endpoint)
        if fault is not None:
            await asyncio.sleep(fault.delay)
            if fault.status is not None or fault.drop:
                return await _answer_fault(request, received, fault)
        return await self._accept(received)

    async def _accept(self, received: ReceivedRequest) -> web.Response:
        mailbox = self._mailboxes.with_token(received.token)
        refusal = self._refusal(mailbox, received)
        if mailbox is None or refusal is not None:
            return _refuse(received, refusal or _UNKNOWN)
        message = StoredMessage(
            body=received.body,
            ttl=min(int(received.headers["TTL"]), MAX_TTL),
            urgency=received.headers.get("Urgency", "normal"),
            topic=received.headers.get("Topic", ""),
        )
        # a TTL of 0 means "now or never"; a browser that polls counts as connected
        if message.ttl or not mailbox.browser or self._autopush.is_connected(mailbox.browser):
            mailbox.put(message)
        await self._autopush.deliver(mailbox, message)
        received.status = 201
        return web.Response(
            status=201, headers={"Location": f"{self.origin}/messages/{message.id}", "TTL": str(message.ttl)}
        )

    def _refusal(self, mailbox: Mailbox | None, received: ReceivedRequest) -> Refusal | None:
        if mailbox is None:
            return _UNKNOWN
        if mailbox.gone:
            return Refusal(410, "The subscription has ended.")
        return refusal_of(
            received.headers,
            received.body,
            application_server_key=mailbox.application_server_key,
            audience=self.origin,
            now=time.time(),
        )

    async def _serve_browser(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._autopush.serve(request)
        return web.json_response({"service": "fake push service", "subscriptions": len(self._mailboxes.live())})

    async def _create(self, request: web.Request) -> web.Response:
        try:
            options = await request.json()
            mailbox = self._add_mailbox(options.get("vapid") or "")
        except (ValueError, AttributeError) as error:
            return web.json_response({"error": f"expected {{'vapid': <public key>}}: {error}"}, status=400)
        registration = self._registration(mailbox)
        return web.json_response(
            {"endpoint": registration.endpoint, "url": registration.url},
            status=201,
            headers={"Location": registration.url},
        )

    async def _delete(self, request: web.Request) -> web.Response:
        self._requested_mailbox(request).close()
        return web.Response(status=204)

    async def _list_messages(self, request: web.Request) -> web.Response:
        mailbox = self._requested_mailbox(request)
        messages = [] if self._autopush.held else mailbox.waiting()
        return web.json_response({"messages": [_message_json(message) for message in messages]})

    async def _acknowledge(self, request: web.Request) -> web.Response:
        mailbox = self._requested_mailbox(request)
        for message_id in (await request.json())["messages"]:
            mailbox.messages.pop(message_id, None)
        return web.Response(status=204)

    async def _close_sockets(self, _application: web.Application) -> None:
        await self._autopush.disconnect(forget=False)

    # shared

    def _add_mailbox(self, application_server_key: str) -> Mailbox:
        return self._mailboxes.add(Mailbox(application_server_key=checked_key(application_server_key)))

    def _requested_mailbox(self, request: web.Request) -> Mailbox:
        mailbox = self._mailboxes.with_id(request.match_info["id"])
        if mailbox is None or mailbox.gone:
            raise web.HTTPNotFound
        return mailbox

    def _mailbox_at(self, endpoint: str) -> Mailbox:
        mailbox = self._mailboxes.with_token(endpoint.rpartition("/")[2])
        if mailbox is None or self._endpoint_of(mailbox) != endpoint:
            raise LookupError("This push service does not have this endpoint.")
        return mailbox

    def _endpoint_of(self, mailbox: Mailbox) -> str:
        return f"{self.origin}/wpush/v2/{mailbox.token}"

    def _registration(self, mailbox: Mailbox) -> PushRegistration:
        return PushRegistration(endpoint=self._endpoint_of(mailbox), url=f"{self.origin}/subscriptions/{mailbox.id}")

    def _set_held(self, *, held: bool) -> None:
        self.call(setattr, self._autopush, "held", held)

    def _next_fault(self, endpoint: str) -> Fault | None:
        for wanted in (endpoint, None):
            for scripted in self._faults:
                if scripted.endpoint == wanted:
                    scripted.used += 1
                    if scripted.used == scripted.fault.times:
                        self._faults.remove(scripted)
                    return scripted.fault
        return None


@dataclass(slots=True)
class _ScriptedFault:
    """A fault, its endpoint, and how many times it has happened."""

    endpoint: str | None
    fault: Fault
    used: int = 0


_UNKNOWN = Refusal(404, "Subscription not found.")


def _refuse(received: ReceivedRequest, refusal: Refusal) -> web.Response:
    received.status, received.reason = refusal.status, refusal.reason
    return web.json_response({"code": refusal.status, "message": refusal.reason}, status=refusal.status)


async def _answer_fault(request: web.Request, received: ReceivedRequest, fault: Fault) -> web.StreamResponse:
    if fault.drop or fault.status is None:
        request.protocol.force_close()
        return web.Response()
    received.status, received.reason = fault.status, "scripted fault"
    if not fault.half_reply:
        return web.Response(status=fault.status, headers=fault.headers, body=fault.body)
    reply = web.StreamResponse(status=fault.status, headers=fault.headers)
    reply.content_length = len(fault.body) + 1
    await reply.prepare(request)
    await reply.write(fault.body)
    request.protocol.force_close()
    return reply


def _message_json(message: StoredMessage) -> dict[str, Any]:
    return {
        "id": message.id,
        "data": base64.urlsafe_b64encode(message.body).rstrip(b"=").decode(),
        "ttl": message.ttl,
        "urgency": message.urgency,
        "topic": message.topic,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted or terminated. Prints the origin in the first line."""
    parser = argparse.ArgumentParser(
        prog="python -m django_webpush_kit.testing.fake_push_service",
        description="A strict push service on 127.0.0.1, for demos and manual tests.",
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    parser.add_argument("--tls", action="store_true", help="serve HTTPS with a temporary certificate")
    options = parser.parse_args(arguments)
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    with FakePushService(port=options.port, tls=options.tls) as service:
        lines = [service.origin, f"Firefox: dom.push.serverURL = {service.websocket_url}"]
        lines += [f"certificate to trust: {service.ca_bundle}"] if options.tls else []
        sys.stdout.write("\n".join([*lines, ""]))
        sys.stdout.flush()
        interrupted.wait()


if __name__ == "__main__":
    main()

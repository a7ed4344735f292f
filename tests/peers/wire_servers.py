"""Push services as they answer on the wire: Mozilla's autopush, ntfy and NextPush (both UnifiedPush).

Each is a real HTTPS server for the name push.example.org. Their status codes, headers and bodies were read from their
sources: autopush-rs 1.7x (July 2026), ntfy 2.13, NextPush's server app 2.x on Nextcloud.
"""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from aiohttp import web

from django_webpush_kit.protocol.vapid import verify_authorization
from django_webpush_kit.testing.certificates import write_certificate
from django_webpush_kit.testing.loopback_server import LoopbackServer

HOST = "push.example.org"
PORT = 8443
ORIGIN = f"https://{HOST}:{PORT}"


class WireServer(LoopbackServer):
    """A push service at `ORIGIN`, which is reached through a proxy. `mailboxes` holds the bodies accepted, by token."""

    path = ""

    def __init__(self) -> None:
        super().__init__(tls=True)
        self.mailboxes: dict[str, list[bytes]] = {}
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.trouble = ""
        """What is wrong with the whole server; each has its own words."""

    def endpoint(self, token: str) -> str:
        """A new subscription's endpoint."""
        self.mailboxes[token] = []
        return ORIGIN + self.path.format(token=token)

    def application(self) -> web.Application:
        write_certificate(self._certificates, HOST)
        application = web.Application(client_max_size=1 << 20)
        application.router.add_post(self.path.partition("?")[0], self._receive)
        return application

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.posts.append((request.path_qs, dict(request.headers), body))
        return self.answer(request, request.match_info["token"], body)

    def answer(self, request: web.Request, token: str, body: bytes) -> web.Response:
        raise NotImplementedError


class Autopush(WireServer):
    """`autoendpoint`, which checks in this order: token, VAPID, subscription, body, headers."""

    path = "/wpush/v2/{token}"
    max_data_bytes = 5630
    max_ttl = 30 * 24 * 3600

    def __init__(self) -> None:
        super().__init__()
        self.unsubscribed: set[str] = set()

    def answer(self, request: web.Request, token: str, body: bytes) -> web.Response:
        if self.trouble == "conditional write failed":
            return self._error(503, None, "Conditional database operation failed", {"Retry-After": "120"})
        if self.trouble == "bridge":
            return self._error(502, 902, "Error while connecting to bridge service")
        if token not in self.mailboxes:
            return self._error(404, 102, "Invalid token")
        try:
            verify_authorization(request.headers.get("Authorization", ""), audience=ORIGIN, now=time.time())
        except ValueError as error:
            return self._error(401, 109, str(error))
        if token in self.unsubscribed:
            return self._error(410, 106, "No such subscription", {"Cache-Control": "max-age=86400"})
        if len(body) > self.max_data_bytes:
            return self._error(413, 104, "A payload reached size limit.")
        if not request.headers.get("TTL", "").isdigit():
            return self._error(400, 111, "Missing TTL value")
        if request.headers.get("Content-Encoding") != "aes128gcm":
            return self._error(400, 110, "Unknown Content-Encoding header")
        self.mailboxes[token].append(body)
        ttl = min(int(request.headers["TTL"]), self.max_ttl)
        return web.Response(status=201, headers={"Location": f"{ORIGIN}/m/gAAAAABm", "TTL": str(ttl)})

    def _error(self, code: int, errno: int | None, message: str, headers: dict[str, str] | None = None) -> web.Response:
        about = "http://autopush.readthedocs.io/en/latest/http.html#error-codes"
        body: dict[str, Any] = {"code": code, "errno": errno, "error": "x", "message": message, "more_info": about}
        return web.json_response(body, status=code, headers=headers)


class Ntfy(WireServer):
    """ntfy: 200 with the message as JSON, a 429 without Retry-After, and 507 for a topic that nobody listens to.

    What is longer than 4,096 bytes it cuts off without a word.
    """

    path = "/{token}?up=1"
    message_size_limit = 4096

    def __init__(self) -> None:
        super().__init__()
        self.without_subscriber: set[str] = set()
        self.reserved: set[str] = set()

    def answer(self, request: web.Request, token: str, body: bytes) -> web.Response:
        if self.trouble == "message limit":
            return self._error(42908, 429, "limit reached: daily message quota reached")
        if token in self.reserved:
            return self._error(40301, 403, "forbidden")
        if token in self.without_subscriber:
            words = "cannot publish to UnifiedPush topic without previously active subscriber"
            return self._error(50701, 507, words)
        assert request.query["up"] == "1"
        body = body[: self.message_size_limit]
        self.mailboxes.setdefault(token, []).append(body)
        message = {
            "id": "xE73Iyuabi",
            "time": int(time.time()),
            "expires": int(time.time()) + 43200,
            "event": "message",
            "topic": token,
            "message": base64.b64encode(body).decode(),
            "encoding": "base64",
        }
        text = json.dumps(message) + "\n"
        return web.Response(text=text, content_type="application/json", headers={"Access-Control-Allow-Origin": "*"})

    def _error(self, code: int, status: int, message: str) -> web.Response:
        body = {"code": code, "http": status, "error": message, "link": "https://ntfy.sh/docs/publish/#limitations"}
        return web.Response(text=json.dumps(body) + "\n", status=status, content_type="application/json")


class NextPush(WireServer):
    """NextPush in a Nextcloud: 201 with TTL 0, 404 for an app that was removed; Nextcloud's pages when that fails."""

    path = "/index.php/apps/uppush/push/{token}"

    def answer(self, request: web.Request, token: str, body: bytes) -> web.Response:
        if self.trouble == "maintenance":
            headers = {"X-Nextcloud-Maintenance-Mode": "1", "Retry-After": "120"}
            return web.Response(text=_PAGE, status=503, content_type="text/html", headers=headers)
        if self.trouble == "throttled":
            return web.Response(text=_PAGE, status=429, content_type="text/html")
        if self.trouble == "moved":
            return web.Response(status=301, headers={"Location": f"https://cloud.example.net{request.path}"})
        if self.trouble == "body limit of the web server":
            return web.Response(text=_PAGE, status=413, content_type="text/html")
        if token not in self.mailboxes:
            return web.json_response({"success": False}, status=404)
        self.mailboxes[token].append(body)
        return web.json_response({"success": True}, status=201, headers={"TTL": "0"})


_PAGE = "<!DOCTYPE html>\n<html><head><title>Nextcloud</title></head><body>" + "x" * 9000 + "</body></html>"

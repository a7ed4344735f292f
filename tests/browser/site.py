"""The smallest site that takes push messages: one page, one worker, a log of what the worker reports."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from django_webpush_kit.testing.loopback_server import LoopbackServer

PAGE = """<!doctype html><meta charset="utf-8"><title>Smoke test</title>
<script>
async function subscribe(key) {
    await navigator.serviceWorker.register("/worker.js");
    const registration = await navigator.serviceWorker.ready;
    const subscription = await registration.pushManager.subscribe({
        userVisibleOnly: true, applicationServerKey: key,
    });
    return subscription.toJSON();
}
</script>
"""

WORKER = """
const report = (event) => fetch("/reports", {method: "POST", body: JSON.stringify(event)});
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("push", (event) => event.waitUntil((async () => {
    const message = event.data.json();
    const {title, body, actions = []} = message;
    await self.registration.showNotification(title, {body, actions, data: message});
    await report({event: "shown", message});
})()));
self.addEventListener("notificationclick", (event) => {
    event.notification.close();
    event.waitUntil((async () => {
        await self.clients.openWindow(event.notification.data.url);
        await report({event: "clicked", message: event.notification.data, action: event.action});
    })());
});
self.addEventListener("notificationclose", (event) => event.waitUntil(
    report({event: "dismissed", message: event.notification.data})
));
self.addEventListener("pushsubscriptionchange", (event) => event.waitUntil((async () => {
    const {applicationServerKey} = event.oldSubscription.options;
    const subscription = await self.registration.pushManager.subscribe({userVisibleOnly: true, applicationServerKey});
    await report({event: "changed", old: event.oldSubscription.endpoint, subscription: subscription.toJSON()});
})()));
"""


class Site(LoopbackServer):
    """Every start is on another port: another origin, hence a fresh worker and subscription in the same browser."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[dict[str, Any]] = []

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/", self._page)
        application.router.add_get("/opened", self._page)
        application.router.add_get("/worker.js", self._worker)
        application.router.add_post("/reports", self._report)
        return application

    def reported(self, event: str) -> list[dict[str, Any]]:
        """The worker's reports of this kind, oldest first."""
        return [report for report in self.reports if report["event"] == event]

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def _worker(self, _request: web.Request) -> web.Response:
        return web.Response(text=WORKER, content_type="text/javascript", headers={"Cache-Control": "no-cache"})

    async def _report(self, request: web.Request) -> web.Response:
        self.reports.append(json.loads(await request.text()))
        return web.Response(status=204)

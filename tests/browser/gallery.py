"""The elements in every state, without a server behind them: `?element=preferences&state=on&theme=dark&lang=ar`."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from django_webpush_kit.testing.loopback_server import LoopbackServer

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "src" / "django_webpush_kit" / "static" / "django_webpush_kit"
AXE = ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"

_OBSTACLES = ("denied", "conflict", "framed", "insecure", "needs-install", "storage-blocked", "unsupported")
_SWITCHES = ("on", "off", "busy", *_OBSTACLES)

STATES = {
    **{f"preferences {state}": f"element=preferences&state={state}" for state in _SWITCHES},
    "preferences without a network": "element=preferences&state=on&fails=1",
    "prompt ask": "element=prompt&state=off",
    "prompt dismissed": "element=prompt&state=off&answer=dismissed&press=%23accept",
    "prompt done": "element=prompt&state=off&press=%23accept",
    "prompt blocked": "element=prompt&state=denied",
    "prompt install": "element=prompt&state=on&install",
    "prompt ios": "element=prompt&state=needs-install",
    **{f"toggle {state}": f"element=toggle&state={state}" for state in _SWITCHES},
    "toggle not signed in": "element=toggle&state=off&answer=not_authenticated&press=button",
}


class Gallery(LoopbackServer):
    """Serves the page, the elements and axe-core."""

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_static("/static", STATIC)
        application.router.add_get("/axe.js", self._axe)
        application.router.add_get("/", self._page)
        return application

    async def _page(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(Path(__file__).with_name("elements_gallery.html"))

    async def _axe(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(AXE)

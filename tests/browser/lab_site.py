"""Pages that say nothing in their head, as those of single-page apps, for tests that use the module by script.

Added to the pages of `pages_site`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template import RequestContext, Template
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from tests.browser.frameworks import NODE_MODULES
from tests.browser.pages_site import urlpatterns as pages

MODULE = files("django_webpush_kit") / "static/django_webpush_kit/webpush-kit.js"


PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Lab</title>
<link rel="icon" href="data:,">
<script type="module" src="/lab.js"></script>
"""

SCRIPT = """
import * as kit from "/webpush-kit.js";

window.kit = kit;
window.heard = [];
window.makePush = (options) => {
  const push = kit.createPush({ repair: false, ...options });
  push.on("change", (state) => window.heard.push(state));
  push.on("error", ({ code }) => window.heard.push(`error ${code}`));
  return push;
};
window.codeOf = (promise) => promise.then(() => "", ({ code, name }) => code ?? name);
window.framed = makePush({}).state();
window.framed.then((state) => parent.postMessage(state, "*"));
"""

FRAMES = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Frames</title>
<link rel="icon" href="data:,">
<script src="/frames.js"></script>
<iframe src="/lab/" name="same"></iframe>
<iframe src="/lab/" name="sandbox" sandbox="allow-scripts"></iframe>
<iframe src="{other}/lab/" name="other"></iframe>
"""

FRAMES_SCRIPT = """
window.told = {};
addEventListener("message", ({ data, source }) => {
  for (const frame of document.querySelectorAll("iframe")) {
    if (frame.contentWindow === source) window.told[frame.name] = data;
  }
});
"""

TURBO = """{% load webpush_kit %}<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Turbo</title>
<link rel="icon" href="data:,">
{% webpush_kit_head %}
<script type="module" src="/turbo.js"></script>
</head><body>
<p id="who">{{ user.username }}</p>
<webpush-toggle></webpush-toggle>
<form method="post" action="/turbo/login/"><input name="username"><button id="login">Log in</button></form>
</body></html>
"""

TURBO_SCRIPT = """
import "/npm/@hotwired/turbo/dist/turbo.es2017-esm.js";
import { defaultPush } from "/static/django_webpush_kit/webpush-kit.js";

window.isSamePage = true;
window.push = defaultPush();
"""


def script_of(text: str) -> Callable[[HttpRequest], HttpResponse]:
    def view(_request: HttpRequest) -> HttpResponse:
        # the sandbox is an origin of its own
        return HttpResponse(text, content_type="text/javascript", headers={"Access-Control-Allow-Origin": "*"})

    return view


def _framable(text: str) -> HttpResponse:
    policy = "default-src * 'unsafe-inline'; frame-ancestors *"
    return HttpResponse(text, headers={"Content-Security-Policy": policy})


def lab(_request: HttpRequest) -> HttpResponse:
    return _framable(PAGE)


def frames(request: HttpRequest) -> HttpResponse:
    """A page with three frames: of the same origin, in a sandbox, and of another site."""
    return _framable(FRAMES.format(other=f"http://127.0.0.1:{request.get_port()}"))


def turbo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(Template(TURBO).render(RequestContext(request)))


@csrf_exempt
@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign somebody in without a page load. With Turbo, the next page replaces the body and parts of the head."""
    login(request, get_user_model().objects.get(username=request.POST["username"]))
    return HttpResponseRedirect("/turbo/", status=303)


@csrf_exempt
@require_POST
def end_session(request: HttpRequest) -> HttpResponse:
    """Forget the session, without the signal of a logout: as if it had expired."""
    request.session.flush()
    return HttpResponse(status=204)


def npm(_request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse((NODE_MODULES / name).read_text(), content_type="text/javascript")


def importing_worker(_request: HttpRequest) -> HttpResponse:
    """What a build tool makes when it is told to import ours."""
    script = """
        addEventListener("install", () => skipWaiting());
        addEventListener("activate", (event) => event.waitUntil(clients.claim()));
        self.WEBPUSH_KIT = { baseUrl: "/api/v1/push/" };
        importScripts("/api/v1/push/service-worker.js");
    """
    return HttpResponse(script, content_type="text/javascript", headers={"Service-Worker-Allowed": "/"})


def bearer(request: HttpRequest) -> object:
    """Authenticate "Authorization: Bearer <username>"."""
    scheme, _, username = request.headers.get("Authorization", "").partition(" ")
    return get_user_model().objects.filter(username=username).first() if scheme == "Bearer" else None


def front_end_access(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Let the front end on another origin in, as django-cors-headers does with the documented settings.

    While the file `events-are-unknown` exists, the URL for reports does not.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path.endswith("/events") and (settings.DATA_DIR / "events-are-unknown").exists():
            response = HttpResponse(status=404)
        else:
            response = HttpResponse() if request.method == "OPTIONS" else get_response(request)
        if settings.FRONT_END and request.headers.get("Origin") == settings.FRONT_END:
            response.headers["Access-Control-Allow-Origin"] = settings.FRONT_END
            response.headers["Access-Control-Allow-Headers"] = (
                "accept, authorization, content-type, x-subscription-token"
            )
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, DELETE"
        return response

    return middleware


urlpatterns = [
    path("lab/", lab),
    path("lab/sign-out/", end_session),
    path("lab.js", script_of(SCRIPT)),
    path("webpush-kit.js", script_of(MODULE.read_text(encoding="utf-8"))),
    path("frames/", frames),
    path("frames.js", script_of(FRAMES_SCRIPT)),
    path("turbo/", turbo),
    path("turbo/login/", sign_in),
    path("turbo.js", script_of(TURBO_SCRIPT)),
    path("npm/<path:name>", npm),
    path("importing-worker.js", importing_worker),
    path("p/", include(pages[:-1])),
    *pages,
]

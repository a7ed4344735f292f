"""Pages to click to, and to be clicked away from, added to the example site."""

from __future__ import annotations

import time

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template import RequestContext, Template
from django.urls import include, path

PAGE = """{% load webpush_kit %}<!doctype html><html lang="en"><meta charset="utf-8"><title>{{ name }}</title>
<link rel="icon" href="data:,">
{% webpush_kit_head %}
<webpush-toggle></webpush-toggle>
<p id="part">{{ name }}</p>
<script type="module" src="/pages.js"></script>
"""

SCRIPT = """
import { defaultPush } from "/static/django_webpush_kit/webpush-kit.js";

window.clicked = [];
window.errors = [];
window.push = defaultPush();
window.push.on("clicked", ({ title }) => window.clicked.push(title));
window.push.on("error", ({ code }) => window.errors.push(code));
"""
SECONDS_TO_LOAD = 4


def page(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(Template(PAGE).render(RequestContext(request, {"name": name})))


CENTRE = """{% load webpush_kit %}<!doctype html><html lang="en"><meta charset="utf-8"><title>centre</title>
<link rel="icon" href="data:,">
{% webpush_kit_head elements=with_script %}
{% webpush_kit_preferences %}
{% if with_prompt %}<webpush-prompt delay="0"></webpush-prompt>{% endif %}
"""


def centre(request: HttpRequest) -> HttpResponse:
    """The preference centre; `?form` without the elements, as where scripts do not run, `?prompt` with the prompt."""
    context = {"with_script": "form" not in request.GET, "with_prompt": "prompt" in request.GET}
    return HttpResponse(Template(CENTRE).render(RequestContext(request, context)))


def script(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(SCRIPT, content_type="text/javascript")


def slow(request: HttpRequest) -> HttpResponse:
    time.sleep(SECONDS_TO_LOAD)
    return page(request, "slow")


def away(_request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("http://127.0.0.1:9/nobody-listens")


def plain(_request: HttpRequest) -> HttpResponse:
    """A page without our module."""
    return HttpResponse("<!doctype html><meta charset=utf-8><title>plain</title><link rel=icon href=data:,>plain")


def foreign_worker(_request: HttpRequest) -> HttpResponse:
    """What a build tool makes: a worker that knows nothing of push messages."""
    script = 'addEventListener("install", () => skipWaiting()); addEventListener("activate", () => clients.claim());'
    return HttpResponse(script, content_type="text/javascript", headers={"Service-Worker-Allowed": "/"})


urlpatterns = [
    path("pages/slow/", slow),
    path("pages/away/", away),
    path("pages/plain/", plain),
    path("pages/centre/", centre),
    path("pages/<str:name>/", page),
    path("pages.js", script),
    path("foreign-worker.js", foreign_worker),
    path("", include("config.urls")),
]

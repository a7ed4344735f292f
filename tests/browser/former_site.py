"""A page with django-webpush's button, and the page with our module that comes after it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import include, path

FORMER = """{% load webpush_notifications %}<!doctype html><html lang="en"><meta charset="utf-8"><title>Former</title>
{% webpush_header %}
<link rel="icon" href="data:,">
{% webpush_button %}
"""

PRESENT = """{% load webpush_kit %}<!doctype html><html lang="en"><meta charset="utf-8"><title>Present</title>
{% webpush_kit_head elements=False %}
<script type="module" src="/present.js"></script>
"""

SCRIPT = """
import { createPush } from "/static/django_webpush_kit/webpush-kit.js";

const push = createPush({ scope: "/webpush/", replaceServiceWorker: true });
push.on("change", (state) => { document.title = state; });
"""


def former(request: HttpRequest) -> HttpResponse:
    return HttpResponse(Template(FORMER).render(RequestContext(request)))


def present(request: HttpRequest) -> HttpResponse:
    return HttpResponse(Template(PRESENT).render(RequestContext(request)))


def script(request: HttpRequest) -> HttpResponse:
    return HttpResponse(SCRIPT, content_type="text/javascript")


urlpatterns = [
    path("former/", former),
    path("webpush/present/", present),
    path("present.js", script),
    path("webpush/", include("webpush.urls")),
    path("", include("config.urls")),
]

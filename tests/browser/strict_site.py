"""Pages under the Content-Security-Policies that the documentation says are enough, added to the example site.

The browser reports every violation, also of the worker and of the example's own pages, to the file `violations`.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import include, path, resolve
from django.views.decorators.csrf import csrf_exempt
from django.views.static import serve

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "pages.md"
POLICIES = re.findall(r"^Content-Security-Policy: (.+)$", DOCUMENTATION.read_text(encoding="utf-8"), re.MULTILINE)
STRICTEST = POLICIES[1]
POLICIES.append(STRICTEST.replace(" 'strict-dynamic'", "").partition("; require-trusted-types-for")[0])

PAGE = """{% load webpush_kit %}<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Under a policy</title>
{% webpush_kit_head %}
<webpush-toggle></webpush-toggle>
{% if with_inline %}<script>window.inline = true;</script>{% endif %}
"""


def page(request: HttpRequest, number: int) -> HttpResponse:
    request.policy = POLICIES[number]
    context = {"with_inline": "inline" in request.GET}
    return HttpResponse(Template(PAGE).render(RequestContext(request, context)))


@csrf_exempt
def violations(request: HttpRequest) -> HttpResponse:
    report = json.loads(request.body)["csp-report"]
    with (settings.DATA_DIR / "violations").open("a") as file:
        file.write(f"{report['effective-directive']} {report['blocked-uri']} {report['document-uri']}\n")
    return HttpResponse(status=204)


def content_security_policy(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        request.csp_nonce = secrets.token_urlsafe(16)
        response = get_response(request)
        policy = getattr(request, "policy", response.headers["Content-Security-Policy"])
        if resolve(request.path).url_name == "service-worker":
            policy = STRICTEST
        policy = policy.replace("'nonce-...'", f"'nonce-{request.csp_nonce}'")
        response.headers["Content-Security-Policy"] = f"{policy}; report-uri /violations/"
        return response

    return middleware


urlpatterns = [
    path("policies/<int:number>/", page),
    path("violations/", violations),
    path("static/<path:path>", serve, {"document_root": settings.STATIC_ROOT}),
    path("", include("config.urls")),
]

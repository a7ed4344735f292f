"""The shipped scripts under a Content-Security-Policy that lets nothing run but what carries the page's nonce."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from django_webpush_kit import urls
from django_webpush_kit.models import get_subscription_model
from tests.browser.studio import toggle_state
from tests.browser.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]

POLICY = (
    "default-src 'none'; script-src %s; worker-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'"
)

PAGE = """<!doctype html><meta charset="utf-8"><title>Strict</title><link rel="icon" href="data:,">
<script nonce="{{ csp_nonce }}">
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => {
        window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
    });
</script>
{% load webpush_kit %}{% webpush_kit_head %}
<webpush-toggle></webpush-toggle>
{% if with_inline %}<script>window.inline = true;</script>{% endif %}
"""


View = Callable[..., HttpResponse]


def strict(view: View) -> View:
    """Put the policy on every answer, the service worker's included, with a fresh nonce."""

    def strict_view(request: HttpRequest, **arguments: Any) -> HttpResponse:
        request.csp_nonce = secrets.token_urlsafe(16)
        response = view(request, **arguments)
        sources = f"'nonce-{request.csp_nonce}' {django_settings.SCRIPT_SOURCES}".strip()
        response.headers["Content-Security-Policy"] = POLICY % sources
        return response

    return csrf_exempt(strict_view)  # as the API's own views are


def page(request: HttpRequest) -> HttpResponse:
    context = {"csp_nonce": request.csp_nonce, "with_inline": "inline" in request.GET}
    return HttpResponse(Template(PAGE).render(RequestContext(request, context)))


api = [path(str(pattern.pattern), strict(pattern.callback), name=pattern.name) for pattern in urls.urlpatterns]
urlpatterns = [path("", strict(page)), path("api/v1/push/", include((api, "webpush_kit")))]


@pytest.mark.parametrize("sources", ["", "'strict-dynamic'"])
def test_a_browser_subscribes_under_a_policy_of_nonces(
    browser: Any, live_server: Any, client: Any, user: Any, settings: Any, sources: str
) -> None:
    settings.SCRIPT_SOURCES = sources
    settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, "ALLOW_PRIVATE_ENDPOINTS": True}
    client.force_login(user)
    browser.allow_notifications(live_server.url)
    browser.open(f"{live_server.url}/")
    browser.run("document.cookie = `sessionid=${arguments[0]}; path=/`", client.session.session_key)
    browser.open(f"{live_server.url}/")
    wait_until(lambda: toggle_state(browser) == "off", "the switch to be off")
    browser.click("webpush-toggle button")
    wait_until(lambda: toggle_state(browser) == "on", "the switch to be on")
    assert get_subscription_model().objects.get().user == user
    browser.click("webpush-toggle button")
    wait_until(lambda: toggle_state(browser) == "off", "the switch to be off again")
    assert browser.run("return window.violations") == []

    browser.open(f"{live_server.url}/?inline")
    found = wait_until(lambda: browser.run("return window.violations"), "the policy to refuse an inline script")
    assert found[0].startswith("script-src")
    assert browser.run("return window.inline ?? null") is None

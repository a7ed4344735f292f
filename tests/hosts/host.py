"""A stranger's project with packages of others, and the whole way of a notification through it over HTTP."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import requests

from django_webpush_kit.testing import FakeBrowser, FakePushService
from tests.host_project import PASSWORD, HostProject

SETTINGS = """
INSTALLED_APPS += ["django_webpush_kit"]
TEMPLATES[0]["DIRS"] += [BASE_DIR / "templates"]
STATIC_ROOT = BASE_DIR / "collected"
DATABASES["default"]["OPTIONS"] = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL",
}
WEBPUSH_KIT = {
    "VAPID_PRIVATE_KEY": str(BASE_DIR / "vapid.pem"),
    "VAPID_SUBJECT": "mailto:ops@example.com",
    "ALLOW_PRIVATE_ENDPOINTS": True,
}
"""

VIEWS = """
from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django_webpush_kit.services import send


def home(request):
    return render(request, "home.html")


@csrf_exempt
@transaction.atomic
def order(request):
    result = send(get_user_model().objects.get(), "Order 1", "is on its way", url="/orders/1/")
    return JsonResponse({"queued": result.queued})
"""

URLS = """
from django.urls import include

from mysite import views

urlpatterns += [
    path("", views.home),
    path("order/", views.order),
    path("api/v1/push/", include("django_webpush_kit.urls")),
]
"""

HOME = """
{% load webpush_kit %}<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Home</title>{% webpush_kit_head %}</head>
<body><webpush-toggle label="Notifications"></webpush-toggle></body>
</html>
"""

ADMIN_PAGES = ("pushsubscription", "pushnotification", "notificationtemplate", "pushbroadcast", "notificationanalytics")


class Host(HostProject):
    """A project with our app, one page, and one view that sends.

    `settings` is appended to the settings, `urls` to the root URLconf. `files` are further files, by path.
    """

    def __init__(
        self, folder: Path, *, settings: str = "", urls: str = URLS, files: dict[str, str] | None = None
    ) -> None:
        super().__init__(folder, warnings="default")
        self.append("settings.py", SETTINGS + settings)
        self.append("urls.py", urls)
        for name, text in {"mysite/views.py": VIEWS, "templates/home.html": HOME, **(files or {})}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def set_up(self, *superuser: str) -> None:
        """Make the key, the tables and a superuser; `superuser` are the options of `createsuperuser`."""
        self.run("manage.py", "generate_vapid_keys", "--format", "pem", "--output", "vapid.pem")
        self.run("manage.py", "makemigrations")
        self.run("manage.py", "migrate", "--verbosity", "0")
        options = superuser or ("--username", "admin", "--email", "admin@example.com")
        self.run("manage.py", "createsuperuser", "--noinput", *options)
        self.run("manage.py", "check")


@dataclass
class Visitor:
    """A person with a browser at a site: `session` has the cookies, `browser` the push subscription."""

    origin: str
    session: requests.Session
    browser: FakeBrowser

    @classmethod
    def at(cls, origin: str, service: FakePushService) -> Visitor:
        session = requests.Session()
        session.trust_env = False
        # what a real browser sends, and what some middleware insists on
        session.headers.update({"User-Agent": "Mozilla/5.0 Firefox/153.0", "Referer": f"{origin}/"})
        visitor = cls(origin, session, FakeBrowser(service))
        visitor.browser.client = visitor.report
        return visitor

    def get(self, path: str, status: int = 200) -> requests.Response:
        answer = self.session.get(urljoin(self.origin, path), timeout=60)
        assert answer.status_code == status, f"{path}: {answer.status_code}\n{answer.text[:3000]}"
        return answer

    def post(self, path: str, body: Any, status: int = 200, **headers: str) -> requests.Response:
        answer = self.session.post(urljoin(self.origin, path), json=body, headers=headers, timeout=60)
        assert answer.status_code == status, f"{path}: {answer.status_code}\n{answer.text[:3000]}"
        return answer

    def report(self, path: str, body: Any) -> requests.Response:
        return self.post(path, body)

    def log_in(self, username: str = "admin", page: str = "/admin/login/") -> None:
        """Log in as a person does, at the admin's form."""
        self.get(page)
        form = {
            "username": username,
            "password": PASSWORD,
            "csrfmiddlewaretoken": self.session.cookies["csrftoken"],
            "next": "/admin/",
        }
        answer = self.session.post(urljoin(self.origin, page), data=form, allow_redirects=False, timeout=60)
        assert answer.status_code == 302, answer.text[:3000]

    def subscribe(self, page: str = "/", **headers: str) -> str:
        """Subscribe as the module on a page does; returns the API's base URL as the page gives it."""
        text = self.get(page).text
        metas = dict(re.findall(r'<meta name="webpush-kit-(\w+)" content="([^"]*)">', text))
        subscription = self.browser.subscribe(metas["key"])
        headers = headers or {"X-CSRFToken": metas["csrf"]}
        self.post(f"{metas['base']}subscribe", {"subscription": subscription}, 201, **headers)
        return metas["base"]


def goes_the_whole_way(
    origin: str,
    service: FakePushService,
    *,
    prepare: Callable[[Visitor], None] = Visitor.log_in,
    page: str = "/",
    order: str = "/order/",
    admin: str = "/admin/webpush_kit/",
    subscribe_headers: dict[str, str] | None = None,
) -> Visitor:
    """Log in, subscribe, send from a view, receive, report, follow the counted link, look at the admin's pages."""
    visitor = Visitor.at(origin, service)
    prepare(visitor)
    visitor.subscribe(page, **(subscribe_headers or {}))
    assert visitor.post(order, {}).json() == {"queued": 1}
    payload = visitor.browser.wait_for(timeout=60)[0]
    assert payload["notification"]["title"] == "Order 1"
    assert [report.response.json()["recorded"] for report in visitor.browser.deliver()] == [1]
    shown = visitor.browser.shown[0]
    assert visitor.browser.click(shown).response.json()["recorded"] == 1
    # how a declarative push counts its click, and an e-mail might
    link = urljoin(payload["events"], f"open/{payload['token']}")
    opened = visitor.session.get(urljoin(origin, link), allow_redirects=False, timeout=60)
    assert (opened.status_code, opened.headers["Location"]) == (302, "/orders/1/")
    if admin:
        for name in ADMIN_PAGES:
            visitor.get(f"{admin}{name}/")
    return visitor


def wait_until(probe: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Call `probe` until it returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s for {what}")
        time.sleep(0.1)
    return found


def module(*arguments: str) -> list[str]:
    """Arguments that make Python run a module; gunicorn, celery and others are started like this."""
    assert sys.executable
    return ["-m", *arguments]

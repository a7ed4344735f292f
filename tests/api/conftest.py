"""An HTTP client for the API, and the bodies browsers send."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from django_webpush_kit.conf import given_settings
from tests.conftest import new_keys

BASE = "/api/v1/push/"


class ApiClient(Client):
    """Django's test client with JSON bodies, paths relative to the API, and subscription tokens."""

    def call(self, method: str, path: str, body: Any = None, *, token: str = "", **options: Any) -> HttpResponse:
        headers = {**({"X-Subscription-Token": token} if token else {}), **options.pop("headers", {})}
        options.setdefault("content_type", "application/json")
        if body is not None:
            options["data"] = body
        return self.generic_json(method, BASE + path, headers=headers, **options)

    def generic_json(self, method: str, path: str, data: Any = None, **options: Any) -> HttpResponse:
        content = data if isinstance(data, bytes) else self._encode_json({} if data is None else data, "application/json")
        return self.generic(method, path, content if data is not None else b"", **options)

    def subscribe(self, body: Any, **options: Any) -> HttpResponse:
        return self.call("POST", "subscribe", body, **options)


@pytest.fixture
def api() -> ApiClient:
    """A browser that is not signed in."""
    return ApiClient()


@pytest.fixture
def login() -> Callable[[Any], ApiClient]:
    """Make a browser that is signed in: `login(user)`."""

    def make(user: Any, **options: Any) -> ApiClient:
        client = ApiClient(**options)
        client.force_login(user)
        return client

    return make


@pytest.fixture
def kit(settings: Any) -> Callable[..., None]:
    """Change keys of `WEBPUSH_KIT` for this test: `kit(ALLOW_ANONYMOUS=True)`."""

    def change(**values: Any) -> None:
        settings.WEBPUSH_KIT = {**given_settings(), **values}

    return change


def new_endpoint() -> str:
    return f"https://updates.push.services.mozilla.com/wpush/v2/{secrets.token_urlsafe(12)}"


def new_body(**members: Any) -> dict[str, Any]:
    """The body of subscribe as a new browser sends it."""
    subscription = {"endpoint": new_endpoint(), "expirationTime": None, "keys": new_keys()}
    return {"subscription": subscription, **members}

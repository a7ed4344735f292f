"""An HTTP client for the API, and the bodies browsers send."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import HttpResponse
from django.test import Client

from tests.conftest import new_keys
from tests.randomness import per_test

BASE = "/api/v1/push/"

ACTIONS = ("POST unsubscribe", "GET preferences", "PUT preferences", "POST test")
"""What can be done to a subscription once it is there."""


class ApiClient(Client):
    """Django's test client with JSON bodies, paths relative to the API, and subscription tokens."""

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
        **environ: Any,
    ) -> HttpResponse:
        """`body` is JSON to be, or bytes as they are."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        headers = {**({"X-Subscription-Token": token} if token else {}), **(headers or {})}
        return self.generic(method, BASE + path, content, content_type, headers=headers, **environ)

    def on(self, action: str, endpoint: str, preferences: Any = None, **options: Any) -> HttpResponse:
        """One of ACTIONS on the subscription with this endpoint."""
        if action == "GET preferences":
            return self.call("GET", f"preferences?{urlencode({'endpoint': endpoint})}", **options)
        method, path = action.split()
        body = {"endpoint": endpoint, **({"preferences": preferences or {}} if method == "PUT" else {})}
        return self.call(method, path, body, **options)

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


def new_endpoint() -> str:
    return f"https://updates.push.services.mozilla.com/wpush/v2/{per_test.name()}"


def new_body(**members: Any) -> dict[str, Any]:
    """The body of subscribe as a new browser sends it."""
    subscription = {"endpoint": new_endpoint(), "expirationTime": None, "keys": new_keys()}
    return {"subscription": subscription, **members}

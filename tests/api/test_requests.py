"""What every path has in common: methods, media types, sizes, malformed bodies, headers, the host's middleware."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.http import UnreadablePostError
from django.test import AsyncClient, RequestFactory
from django.urls import URLPattern
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_webpush_kit import urls
from django_webpush_kit.api import requests, views
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.tokens import sign_notification, sign_subscription
from tests.api.conftest import BASE, ApiClient, new_body
from tests.factories import make_notification

pytestmark = pytest.mark.django_db

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
ALLOWED = {
    "subscribe": {"POST"},
    "unsubscribe": {"POST"},
    "preferences": {"GET", "HEAD", "PUT"},
    "preferences-form": {"GET", "HEAD", "POST"},
    "subscriptions": {"GET", "HEAD", "DELETE"},
    "test": {"POST"},
    "health": {"GET", "HEAD"},
    "config": {"GET", "HEAD"},
    "events": {"POST"},
    "open/x": {"GET", "HEAD"},
    "openapi.json": {"GET", "HEAD"},
    "service-worker.js": {"GET", "HEAD"},
}
TAKES_BODY = [("POST", path) for path in ("subscribe", "unsubscribe", "test", "events")] + [("PUT", "preferences")]


def is_error(answer: Any, status: int, code: str) -> bool:
    body = answer.json()
    return (answer.status_code, body["success"], body["code"]) == (status, False, code) and set(body) == {
        "success",
        "message",
        "code",
        "errors",
    }


def test_every_path_is_listed_here() -> None:
    patterns = {str(url.pattern).replace("<token>", "x") for url in urls.urlpatterns if isinstance(url, URLPattern)}
    assert patterns == set(ALLOWED)


@pytest.mark.parametrize("path", ALLOWED)
def test_other_methods_are_405_with_those_allowed(api: ApiClient, path: str) -> None:
    for method in set(METHODS) - ALLOWED[path]:
        answer = api.call(method, path)
        assert answer.status_code == 405
        assert set(answer.headers["Allow"].split(", ")) == ALLOWED[path]


@pytest.mark.parametrize(("method", "path"), TAKES_BODY)
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_anything_but_json_is_415(api: ApiClient, method: str, path: str, content_type: str) -> None:
    assert is_error(api.call(method, path, b"{}", content_type=content_type), 415, "unsupported_media_type")


def test_a_charset_is_accepted(user: Any, login: Any) -> None:
    answer = login(user).subscribe(new_body(), content_type="application/json; charset=utf-8")
    assert answer.status_code == 201


NO_OBJECTS = [
    b" ",
    b"{",
    b"[]",
    b"null",
    b"true",
    b"7",
    b'"x"',
    b"{}{}",
    b"\xff\xfe",
    b'{"a": NaN}',
    b'{"a": -Infinity}',
    b'{"a": "\\ud800"}',
    b'{"a": "\\u0000"}',
    b'{"\\u0000": 1}',
    b'{"\\udfff": 1}',
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b'{"a": ' + b"[" * 20 + b"]" * 20 + b"}",
    b'{"a": ' + b"9" * 5000 + b"}",
    b"\xef\xbb\xbf{}",
]


@pytest.mark.parametrize(("method", "path"), TAKES_BODY)
def test_a_body_that_is_not_a_json_object_is_400(
    user: Any, login: Any, push_settings: Any, method: str, path: str
) -> None:
    push_settings(RATE_LIMITS={})
    client = login(user)
    for body in NO_OBJECTS:
        assert is_error(client.call(method, path, body), 400, "malformed"), body


def test_a_large_body_is_refused_by_its_announced_length(api: ApiClient) -> None:
    class Unread:
        def read(self, size: int = -1) -> bytes:
            raise AssertionError("nothing of it may be read")

    request = RequestFactory().post(BASE + "events", b"{}", content_type="application/json")
    request.META["CONTENT_LENGTH"] = str(requests.MAX_BODY + 1)
    request._stream = Unread()
    assert is_error_response(views.events(request), 413, "too_large")


@pytest.mark.parametrize("length", ["", "x", "-1", "9" * 5000, "²"])
def test_an_invalid_content_length_is_ignored(length: str) -> None:
    request = RequestFactory().post(BASE + "events", b"{}", content_type="application/json")
    request.META["CONTENT_LENGTH"] = length
    assert views.events(request).status_code in (400, 413)


def test_a_body_without_an_announced_length_is_read_up_to_the_limit() -> None:
    class Endless:
        taken = 0

        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= requests.MAX_BODY + 1
            self.taken += size
            return b" " * size

    request = RequestFactory().post(BASE + "events", b"{}", content_type="application/json")
    del request.META["CONTENT_LENGTH"]
    request._stream = stream = Endless()
    assert is_error_response(views.events(request), 413, "too_large")
    assert stream.taken == requests.MAX_BODY + 1


def test_a_connection_that_breaks_while_sending_is_400() -> None:
    class Broken:
        def read(self, size: int = -1) -> bytes:
            raise OSError("connection reset")

    request = RequestFactory().post(BASE + "events", b"{}", content_type="application/json")
    request._stream = Broken()
    with pytest.raises(UnreadablePostError):
        request.read()
    assert is_error_response(views.events(request), 400, "malformed")


def is_error_response(response: Any, status: int, code: str) -> bool:
    return (response.status_code, json.loads(response.content)["code"]) == (status, code)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.sampled_from(
    [
        "subscription",
        "endpoint",
        "keys",
        "p256dh",
        "auth",
        "expirationTime",
        "preferences",
        "categories",
        "quiet_hours",
        "events",
        "token",
        "action",
        "action_id",
        "timestamp",
        "language",
        "timezone",
        "subscription_token",
    ]
)
LIKELY = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=6),
    max_leaves=25,
)


@pytest.mark.thorough
@pytest.mark.parametrize(("method", "path"), TAKES_BODY)
def test_no_json_makes_a_5xx(user: Any, login: Any, push_settings: Any, method: str, path: str) -> None:
    push_settings(RATE_LIMITS={})
    client = login(user)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(body=LIKELY)
    def ask(body: Any) -> None:
        assert 400 <= client.call(method, path, json.dumps(body).encode()).status_code < 500

    ask()


@pytest.mark.parametrize("path", ["health", "config", "preferences?endpoint=x", "open/x", "openapi.json"])
def test_answers_are_not_sniffed_and_only_the_static_ones_are_kept(api: ApiClient, path: str) -> None:
    answer = api.call("GET", path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    kept = {"config": "private, no-cache", "openapi.json": "no-cache"}
    assert answer.headers["Cache-Control"] == kept.get(path, "no-store")


@pytest.mark.parametrize("is_signed_in", [True, False])
def test_no_answer_to_a_body_is_kept(user: Any, login: Any, api: ApiClient, is_signed_in: bool) -> None:
    client, body = login(user) if is_signed_in else api, new_body()
    answers = [client.subscribe(body), client.on("POST test", body["subscription"]["endpoint"])]
    answers += [
        client.on(action, body["subscription"]["endpoint"]) for action in ("PUT preferences", "GET preferences")
    ]
    answers += [client.on("POST unsubscribe", body["subscription"]["endpoint"]), client.call("POST", "events", {})]
    answers += [client.call("GET", "subscribe"), client.call("POST", "subscribe", b"", content_type="text/plain")]
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}
    assert {answer.headers["X-Content-Type-Options"] for answer in answers} == {"nosniff"}


@pytest.mark.parametrize("path", ["config", "openapi.json", "service-worker.js"])
def test_static_answers_are_revalidated(api: ApiClient, path: str) -> None:
    etag = api.call("GET", path).headers["ETag"]
    again = api.call("GET", path, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.fixture
def _login_required(settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]


@pytest.mark.usefixtures("_login_required")
@pytest.mark.parametrize("path", [path for path in ALLOWED if path != "preferences-form"])
def test_a_site_that_requires_login_everywhere_keeps_the_api_open(api: ApiClient, path: str) -> None:
    assert api.get("/admin/").status_code == 302, "the middleware is at work"
    for method in METHODS:
        answer = api.call(method, path, {})
        is_error = answer.status_code in (400, 401, 404, 405)
        assert is_error or (answer.status_code, method in ("GET", "HEAD")) == (200, True), "no redirect to a login page"


@pytest.mark.usefixtures("_login_required")
def test_users_and_tokens_are_recognized_on_a_site_that_requires_login_everywhere(
    user: Any, login: Any, api: ApiClient, subscription: Any
) -> None:
    assert login(user).subscribe(new_body()).status_code == 201
    assert api.on("GET preferences", subscription.endpoint, token=sign_subscription(subscription)).status_code == 200
    notification = make_notification(subscription, options={"url": "/orders/7"})
    token = sign_notification(notification)
    assert api.call("POST", "events", {"events": [{"token": token, "action": "delivered"}]}).json()["recorded"] == 1
    assert api.call("GET", f"open/{token}").headers["Location"] == "/orders/7"


def test_it_works_behind_asgi(user: Any) -> None:
    client = AsyncClient()
    client.force_login(user)
    post = async_to_sync(client.post)
    assert post(f"{BASE}subscribe", json.dumps(new_body()), content_type="application/json").status_code == 201
    assert post(f"{BASE}events", b"x" * (requests.MAX_BODY + 1), content_type="application/json").status_code == 413


@pytest.mark.django_db(transaction=True)
def test_views_run_outside_of_atomic_requests(user: Any, login: Any, monkeypatch: Any) -> None:
    seen: list[bool] = []
    register = views.register

    def spy(*arguments: Any, **options: Any) -> Any:
        seen.append(connection.in_atomic_block)
        return register(*arguments, **options)

    monkeypatch.setattr(views, "register", spy)
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert login(user).subscribe(new_body()).status_code == 201
    assert seen == [False]
    assert get_subscription_model().objects.count() == 1

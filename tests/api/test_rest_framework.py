"""Django REST framework's authentication, with JSON web tokens of djangorestframework-simplejwt."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from django_webpush_kit.models import get_subscription_model
from tests.api.conftest import ApiClient, new_body

pytest.importorskip("rest_framework")
pytestmark = pytest.mark.django_db

JWT = "rest_framework_simplejwt.authentication.JWTAuthentication"
SESSION = "rest_framework.authentication.SessionAuthentication"


@pytest.fixture(autouse=True)
def _authenticated_by_drf(push_settings: Any, settings: Any) -> None:
    push_settings(AUTHENTICATORS=["django_webpush_kit.contrib.rest_framework.authenticate"])
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [JWT, SESSION]}


@pytest.fixture
def bearer(user: Any) -> dict[str, str]:
    from rest_framework_simplejwt.tokens import AccessToken

    return {"Authorization": f"Bearer {AccessToken.for_user(user)}"}


@pytest.mark.thorough
def test_a_bearer_token_names_the_user(user: Any, api: ApiClient, bearer: dict[str, str]) -> None:
    body = new_body()
    answer = api.subscribe(body, headers=bearer)
    assert answer.status_code == 201
    assert get_subscription_model().objects.get().user == user
    endpoint = body["subscription"]["endpoint"]
    assert api.on("GET preferences", endpoint, headers=bearer).status_code == 200
    assert api.on("POST unsubscribe", endpoint, headers=bearer).status_code == 200


def test_a_bearer_token_is_enough_where_login_is_required_everywhere(
    api: ApiClient, bearer: dict[str, str], settings: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert api.subscribe(new_body(), headers=bearer).status_code == 201
    assert api.subscribe(new_body()).status_code == 401


@pytest.mark.thorough
def test_a_token_needs_no_csrf(bearer: dict[str, str]) -> None:
    assert ApiClient(enforce_csrf_checks=True).subscribe(new_body(), headers=bearer).status_code == 201


def test_a_bad_token_is_401_with_drfs_challenge(user: Any, api: ApiClient) -> None:
    from rest_framework_simplejwt.tokens import AccessToken

    expired = AccessToken.for_user(user)
    expired.set_exp(lifetime=-timedelta(minutes=1))
    for token in ("x", str(expired)):
        answer = api.subscribe(new_body(), headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "authentication_failed")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_without_credentials_nobody_is_signed_in(api: ApiClient) -> None:
    assert api.subscribe(new_body()).json()["code"] == "not_authenticated"


def test_drfs_session_authentication_enforces_csrf(user: Any, login: Any) -> None:
    assert login(user).subscribe(new_body()).status_code == 201
    refused = login(user, enforce_csrf_checks=True).subscribe(new_body())
    assert refused.status_code == 403


class TestItsOwnDefaultClasses:
    """Session authentication with its CSRF check, which looks at `request.POST`."""

    @pytest.fixture(autouse=True)
    def _defaults(self, settings: Any) -> None:
        settings.REST_FRAMEWORK = {}

    @pytest.fixture
    def browser(self, login: Any, user: Any) -> ApiClient:
        client: ApiClient = login(user, enforce_csrf_checks=True)
        client.cookies["csrftoken"] = "c" * 32
        return client

    def test_a_csrf_token_is_enough_and_the_body_is_still_there(self, browser: ApiClient, user: Any) -> None:
        body = new_body()
        assert browser.subscribe(body, headers={"X-CSRFToken": "c" * 32}).status_code == 201
        row = get_subscription_model().objects.get()
        assert (row.user, row.endpoint) == (user, body["subscription"]["endpoint"])

    def test_without_one_it_is_403_with_a_message(self, browser: ApiClient) -> None:
        answer = browser.subscribe(new_body())
        assert (answer.status_code, answer.json()["code"]) == (403, "authentication_failed")
        assert answer.json()["message"] == "CSRF Failed: CSRF token missing."

    def test_every_path_takes_its_body(self, browser: ApiClient) -> None:
        body = new_body()
        headers = {"X-CSRFToken": "c" * 32}
        browser.subscribe(body, headers=headers)
        for action in ("PUT preferences", "POST test", "POST unsubscribe"):
            assert browser.on(action, body["subscription"]["endpoint"], headers=headers).status_code == 200


def test_the_message_of_a_bad_token_is_a_sentence(api: ApiClient) -> None:
    message = api.subscribe(new_body(), headers={"Authorization": "Bearer x"}).json()["message"]
    assert message == "Given token not valid for any token type"


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ({"code": "gone", "detail": "The token is gone."}, "The token is gone."),
        ({"token": ["It has expired.", "It is not ours."]}, "It has expired. It is not ours."),
        (["It has expired."], "It has expired."),
        ({}, ""),
    ],
)
def test_error_details_of_any_shape_become_a_message(
    api: ApiClient, settings: Any, monkeypatch: Any, detail: Any, message: str
) -> None:
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [f"{__name__}.Refusing"]}
    monkeypatch.setattr(Refusing, "detail", detail)
    assert api.subscribe(new_body()).json()["message"] == message


class TestStatelessUsers:
    """simplejwt's users that exist in the token alone."""

    @pytest.fixture(autouse=True)
    def _stateless(self, settings: Any) -> None:
        settings.REST_FRAMEWORK = {
            "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTStatelessUserAuthentication"]
        }

    def test_are_looked_up_in_the_database(self, user: Any, api: ApiClient, bearer: dict[str, str]) -> None:
        assert api.subscribe(new_body(), headers=bearer).status_code == 201
        assert get_subscription_model().objects.get().user == user

    @pytest.mark.parametrize("key", ["999999", "no key"])
    def test_are_refused_with_a_message_if_they_do_not_exist(self, api: ApiClient, key: str) -> None:
        from rest_framework_simplejwt.tokens import AccessToken

        token = AccessToken()
        token["user_id"] = key
        answer = api.subscribe(new_body(), headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "authentication_failed")
        assert "does not exist" in answer.json()["message"]


def test_an_authenticator_without_a_challenge_gets_ours(api: ApiClient, settings: Any) -> None:
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [f"{__name__}.Refusing"]}
    assert "web push" in api.subscribe(new_body()).headers["WWW-Authenticate"]


def test_a_class_that_cannot_check_the_credentials_now_is_503(api: ApiClient, settings: Any) -> None:
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [f"{__name__}.Unavailable"]}
    answer = api.subscribe(new_body())
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.json()["message"] == "The directory does not answer."


def test_a_class_may_return_none_for_an_unknown_user(api: ApiClient, settings: Any) -> None:
    settings.REST_FRAMEWORK = {"UNAUTHENTICATED_USER": None, "DEFAULT_AUTHENTICATION_CLASSES": [JWT]}
    assert api.subscribe(new_body()).json()["code"] == "not_authenticated"


class Unavailable:
    """An authentication class of a host that asks another service."""

    def authenticate(self, request: Any) -> None:
        from rest_framework.exceptions import APIException

        raise APIException("The directory does not answer.")


class Refusing:
    """An authentication class of a host."""

    detail: Any = None

    def authenticate(self, request: Any) -> None:
        from rest_framework.exceptions import AuthenticationFailed

        error = AuthenticationFailed()
        if self.detail is not None:
            error.detail = self.detail
        raise error

    def authenticate_header(self, request: Any) -> str:
        return ""

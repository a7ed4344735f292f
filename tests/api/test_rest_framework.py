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
def _authenticated_by_drf(kit: Any, settings: Any) -> None:
    kit(AUTHENTICATORS=["django_webpush_kit.contrib.rest_framework.authenticate"])
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [JWT, SESSION]}


@pytest.fixture
def bearer(user: Any) -> dict[str, str]:
    from rest_framework_simplejwt.tokens import AccessToken

    return {"Authorization": f"Bearer {AccessToken.for_user(user)}"}


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


def test_an_authenticator_without_a_challenge_gets_ours(api: ApiClient, settings: Any) -> None:
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [f"{__name__}.Refusing"]}
    assert "web push" in api.subscribe(new_body()).headers["WWW-Authenticate"]


def test_a_class_that_knows_nobody_may_say_so_with_none(api: ApiClient, settings: Any) -> None:
    settings.REST_FRAMEWORK = {"UNAUTHENTICATED_USER": None, "DEFAULT_AUTHENTICATION_CLASSES": [JWT]}
    assert api.subscribe(new_body()).json()["code"] == "not_authenticated"


class Refusing:
    """An authentication class of a host."""

    def authenticate(self, request: Any) -> None:
        from rest_framework.exceptions import AuthenticationFailed

        raise AuthenticationFailed

    def authenticate_header(self, request: Any) -> str:
        return ""

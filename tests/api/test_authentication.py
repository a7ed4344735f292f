"""Sessions with CSRF, and other ways to say who asks."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db import DataError, InterfaceError, OperationalError
from django.http import HttpRequest
from django.test import RequestFactory

from django_webpush_kit.api.authentication import AuthenticationFailed, AuthenticationUnavailable, session
from tests.api.conftest import BASE, ApiClient, new_body

pytestmark = pytest.mark.django_db

SESSION = "django_webpush_kit.api.authentication.session"
HERE = "tests.api.test_authentication"


def nobody(request: HttpRequest) -> None:
    return None


def refuses(request: HttpRequest) -> None:
    raise AuthenticationFailed("This key has been revoked.", challenge="Key")


def by_header(request: HttpRequest) -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model().objects.filter(username=request.headers.get("X-User", "")).first()


@pytest.fixture
def strict(login: Any, user: Any) -> ApiClient:
    """A signed-in browser, with the CSRF checks that Django's test client leaves out."""
    return login(user, enforce_csrf_checks=True)


def test_a_session_needs_a_csrf_token(strict: ApiClient) -> None:
    answer = strict.subscribe(new_body())
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
    strict.cookies["csrftoken"] = "c" * 32
    assert strict.subscribe(new_body(), headers={"X-CSRFToken": "d" * 32}).status_code == 403
    assert strict.subscribe(new_body(), headers={"X-CSRFToken": "c" * 32}).status_code == 201


def test_a_csrf_token_from_another_site_does_not_help(strict: ApiClient) -> None:
    strict.cookies["csrftoken"] = "c" * 32
    headers = {"X-CSRFToken": "c" * 32, "Origin": "https://evil.example"}
    assert strict.subscribe(new_body(), headers=headers).status_code == 403


def test_reading_needs_no_csrf_token(strict: ApiClient, subscription: Any) -> None:
    assert strict.on("GET preferences", subscription.endpoint).status_code == 200


def test_a_subscription_token_needs_no_csrf_token(strict: ApiClient, login: Any, user: Any) -> None:
    token = login(user).subscribe(new_body()).json()["subscription_token"]
    assert ApiClient(enforce_csrf_checks=True).subscribe(new_body(), token=token).status_code == 200


def test_a_site_without_sessions_has_nobody_signed_in() -> None:
    assert session(RequestFactory().get(BASE)) is None


def test_the_first_authenticator_that_knows_the_user_decides(user: Any, api: ApiClient, push_settings: Any) -> None:
    push_settings(AUTHENTICATORS=[f"{HERE}.nobody", f"{HERE}.refuses", f"{HERE}.by_header"])
    assert api.subscribe(new_body(), headers={"X-User": user.username}).status_code == 201


def test_refused_credentials_are_the_response_if_no_authenticator_finds_a_user(
    api: ApiClient, push_settings: Any
) -> None:
    push_settings(AUTHENTICATORS=[f"{HERE}.refuses", f"{HERE}.refuses", f"{HERE}.by_header"])
    answer = api.subscribe(new_body())
    assert (answer.status_code, answer.json()["message"]) == (401, "This key has been revoked.")
    assert answer.headers["WWW-Authenticate"] == "Key"


def test_without_authenticators_only_tokens_count(user: Any, login: Any, push_settings: Any) -> None:
    push_settings(AUTHENTICATORS=[])
    assert login(user).subscribe(new_body()).status_code == 401


class TestAnAuthenticatorThatFails:
    """Whatever it raises or returns ends its own request, with an answer that says so."""

    @pytest.mark.parametrize("fault", [ValueError, KeyError, ZeroDivisionError, PermissionDenied, DataError])
    def test_refuses_the_credentials_and_is_logged(
        self, api: ApiClient, push_settings: Any, caplog: Any, fault: type
    ) -> None:
        def broken(request: HttpRequest) -> None:
            raise fault("of the project")

        push_settings(AUTHENTICATORS=[broken])
        answer = api.subscribe(new_body())
        assert (answer.status_code, answer.json()["code"]) == (401, "authentication_failed")
        assert "of the project" in caplog.text
        assert "of the project" not in answer.content.decode()

    @pytest.mark.parametrize("fault", [OperationalError, InterfaceError])
    def test_an_outage_of_the_database_refuses_nothing(
        self, api: ApiClient, push_settings: Any, caplog: Any, fault: type
    ) -> None:
        def away(request: HttpRequest) -> None:
            raise fault("server closed the connection")

        for authenticators in ([away], [refuses, away, nobody], [away, refuses]):
            push_settings(
                AUTHENTICATORS=[f"{HERE}.{one.__name__}" if one is not away else one for one in authenticators]
            )
            answer = api.subscribe(new_body())
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert "WWW-Authenticate" not in answer.headers
            assert "server closed" not in answer.content.decode()
        assert "server closed the connection" in caplog.text

    def test_a_value_that_the_database_cannot_read_is_no_outage(self, api: ApiClient, push_settings: Any) -> None:
        def unreadable(request: HttpRequest) -> None:
            raise OperationalError("Could not decode to UTF-8 column 'username'")

        push_settings(AUTHENTICATORS=[unreadable])
        assert api.subscribe(new_body()).json()["code"] == "authentication_failed"

    def test_it_may_answer_that_it_is_unavailable(self, api: ApiClient, push_settings: Any) -> None:
        def away(request: HttpRequest) -> None:
            raise AuthenticationUnavailable("The directory does not answer.")

        push_settings(AUTHENTICATORS=[away])
        answer = api.subscribe(new_body())
        assert (answer.status_code, answer.json()["message"]) == (503, "The directory does not answer.")

    def test_a_session_that_cannot_be_read_is_503(self, login: Any, user: Any, settings: Any, monkeypatch: Any) -> None:
        def away(session: Any) -> None:
            raise OperationalError("server closed the connection")

        client = login(user)
        monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore.load", away)
        answer = client.subscribe(new_body())
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")

    @pytest.mark.parametrize("value", [7, "ada", object(), ["ada"]])
    def test_a_return_value_that_is_not_a_user_refuses_them_too(
        self, api: ApiClient, push_settings: Any, value: Any
    ) -> None:
        push_settings(AUTHENTICATORS=[lambda request: value])
        assert api.subscribe(new_body()).json()["code"] == "authentication_failed"

    def test_another_one_may_still_find_the_user(self, user: Any, login: Any, push_settings: Any) -> None:
        push_settings(AUTHENTICATORS=[lambda request: 1 / 0, SESSION])
        assert login(user).subscribe(new_body()).status_code == 201

    def test_an_anonymous_user_counts_as_no_user(self, api: ApiClient, push_settings: Any) -> None:
        push_settings(AUTHENTICATORS=[lambda request: AnonymousUser()])
        assert api.subscribe(new_body()).json()["code"] == "not_authenticated"

    def test_its_own_error_code_is_passed_on(self, api: ApiClient, push_settings: Any) -> None:
        def locked(request: HttpRequest) -> None:
            raise AuthenticationFailed("This account is locked.", status=403, code="account_locked")

        push_settings(AUTHENTICATORS=[locked])
        answer = api.subscribe(new_body())
        assert (answer.status_code, answer.json()["code"]) == (403, "account_locked")


@pytest.mark.parametrize("name", ["HTTP_X_XSRF_TOKEN", "HTTP_X_CSRFTOKEN"])
def test_the_modules_header_works_with_any_csrf_header_name(strict: ApiClient, settings: Any, name: str) -> None:
    settings.CSRF_HEADER_NAME = name
    strict.cookies["csrftoken"] = "c" * 32
    assert strict.subscribe(new_body()).status_code == 403
    assert strict.subscribe(new_body(), headers={"X-CSRFToken": "d" * 32}).status_code == 403
    assert strict.subscribe(new_body(), headers={"X-CSRFToken": "c" * 32}).status_code == 201
    own = name.removeprefix("HTTP_").replace("_", "-")
    assert strict.subscribe(new_body(), headers={own: "c" * 32}).status_code == 201

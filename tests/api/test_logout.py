"""Logging out, or in as someone else, at a shared computer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.contrib.auth.views import LogoutView
from django.core import signing
from django.urls import include, path

from django_webpush_kit import services
from django_webpush_kit.api.logout import COOKIE, COOKIE_SALT
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.tokens import sign_subscription
from tests.api.conftest import ApiClient, new_body
from tests.factories import make_notification

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

urlpatterns = [
    path("api/v1/push/", include("django_webpush_kit.urls")),
    path("logout/", LogoutView.as_view(next_page="/")),
]


@pytest.fixture
def browser(push_settings: Callable[..., None], login: Any, user: Any) -> ApiClient:
    """A signed-in browser that has subscribed."""
    push_settings(DETACH_ON_LOGOUT=True)
    client: ApiClient = login(user)
    client.subscribe(new_body())
    return client


def the_row() -> Any:
    return get_subscription_model().objects.get()


def test_logging_out_ends_the_subscription_of_this_browser(browser: ApiClient) -> None:
    waiting = make_notification(the_row(), "pending")
    browser.post("/logout/")
    assert deliver_due().outcomes == {"suppressed": 1}
    waiting.refresh_from_db()
    assert (the_row().is_active, the_row().deactivation_reason) == (False, "logged out")
    assert waiting.status == "suppressed"


def test_logging_out_voids_the_subscription_token(browser: ApiClient, api: ApiClient) -> None:
    row = the_row()
    token = sign_subscription(row)
    assert api.on("GET preferences", row.endpoint, token=token).status_code == 200
    browser.post("/logout/")
    assert api.on("GET preferences", row.endpoint, token=token).status_code == 401
    assert api.subscribe(new_body(), token=token).status_code == 401


def test_other_browsers_of_the_user_stay(browser: ApiClient, login: Any, user: Any) -> None:
    elsewhere = login(user)
    kept = elsewhere.subscribe(new_body()).json()["subscription_id"]
    browser.post("/logout/")
    assert get_subscription_model().objects.active().get().pk == kept


def test_the_cookie_outlives_the_login(browser: ApiClient, user: Any) -> None:
    cookie = browser.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    row = the_row()
    browser.post("/logout/")
    browser.cookies[COOKIE] = cookie.value
    get_subscription_model().objects.update(is_active=True)
    browser.force_login(user)
    log_out(browser, user)
    assert row.pk == the_row().pk
    assert not the_row().is_active


def test_logging_in_as_another_user_detaches_the_browser(browser: ApiClient, make_user: Any) -> None:
    log_in(browser, make_user())
    assert (the_row().is_active, the_row().deactivation_reason) == (False, "another user logged in")


def test_the_same_user_logging_in_again_changes_nothing(browser: ApiClient, user: Any) -> None:
    log_in(browser, user)
    assert the_row().is_active


def test_a_repair_contact_hands_out_the_cookie_too(
    push_settings: Any, login: Any, user: Any, subscription: Any
) -> None:
    push_settings(DETACH_ON_LOGOUT=True)
    client = login(user)
    assert client.on("GET preferences", subscription.endpoint).cookies[COOKIE].value
    assert not client.on("GET preferences", subscription.endpoint).cookies, "once is enough"


def test_the_bearer_of_a_token_gets_no_cookie(push_settings: Any, login: Any, user: Any, make_user: Any) -> None:
    push_settings(DETACH_ON_LOGOUT=True)
    body = new_body()
    token = login(user).subscribe(body).json()["subscription_token"]
    answer = login(make_user()).on("GET preferences", body["subscription"]["endpoint"], token=token)
    assert (answer.status_code, answer.json()["code"], dict(answer.cookies)) == (404, "owner_changed", {})


def test_a_forged_cookie_detaches_nothing(browser: ApiClient, user: Any) -> None:
    browser.cookies[COOKIE] = f"{the_row().pk}:forged"
    log_out(browser, user)
    assert the_row().is_active


def test_without_the_setting_no_cookie_is_set_and_nothing_is_detached(login: Any, user: Any) -> None:
    client = login(user)
    client.subscribe(new_body())
    assert COOKIE not in client.cookies
    log_out(client, user)
    assert the_row().is_active


def test_logging_out_nobody_or_without_a_request_is_fine(browser: ApiClient) -> None:
    user_logged_out.send(sender=object, request=None, user=None)
    log_out(browser, None)
    assert the_row().is_active


@pytest.mark.parametrize("signal", [user_logged_in, user_logged_out])
@pytest.mark.parametrize("is_on", [True, False])
def test_signals_of_other_senders_do_nothing(
    browser: ApiClient, user: Any, push_settings: Any, signal: Any, is_on: bool
) -> None:
    push_settings(DETACH_ON_LOGOUT=is_on)
    signal.send(sender=type(user), user=user)
    signal.send(sender=type(user), request=object(), user=user)
    user_logged_out.send(sender=type(user))
    user_logged_out.send(sender=type(user), request=request_of(browser))
    assert the_row().is_active


@pytest.mark.parametrize("key", ["7b1d1f5e-7b0e-4c4c-9d0b-6c1a3f7a9c11", "no key", "9" * 40, "-1"])
def test_a_cookie_from_before_a_change_of_the_primary_key_is_ignored(
    browser: ApiClient, user: Any, make_user: Any, key: str
) -> None:
    browser.cookies[COOKIE] = signing.get_cookie_signer(salt=COOKIE + COOKIE_SALT).sign(key)
    log_in(browser, make_user())
    log_out(browser, user)
    assert the_row().is_active


def test_a_browser_that_has_moved_to_another_user_is_not_detached(
    browser: ApiClient, user: Any, make_user: Any
) -> None:
    row, other = the_row(), make_user()
    get_subscription_model().objects.update(user=other)
    services.unsubscribe(row, reason="of the former owner")
    assert the_row().is_active


def request_of(browser: ApiClient) -> Any:
    return browser.call("GET", "config").wsgi_request


def log_out(browser: ApiClient, user: Any) -> None:
    user_logged_out.send(sender=object, request=request_of(browser), user=user)


def log_in(browser: ApiClient, user: Any) -> None:
    user_logged_in.send(sender=object, request=request_of(browser), user=user)

"""Detach a browser's subscription from its user on logout, for shared computers (setting `DETACH_ON_LOGOUT`).

`subscribe` stores the subscription's primary key in a signed cookie, so that the server knows which browser logs out.
Unlike the session, the cookie survives a login.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.http import HttpRequest, HttpResponse

from django_webpush_kit import services
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import rows_of
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.tokens import primary_key

COOKIE = "webpush_kit_browser"
COOKIE_SALT = "django_webpush_kit.browser"
COOKIE_SECONDS = 400 * 86_400

LOGGED_OUT = "logged out"
OTHER_USER = "another user logged in"


def remember_browser(request: HttpRequest, response: HttpResponse, subscription: Any) -> None:
    """Set the cookie with the primary key of the browser's subscription, if `DETACH_ON_LOGOUT` is on."""
    key = str(subscription.pk)
    if kit_settings.DETACH_ON_LOGOUT and _carried_key(request) != key:
        response.set_signed_cookie(
            COOKIE,
            key,
            salt=COOKIE_SALT,
            max_age=COOKIE_SECONDS,
            path=settings.SESSION_COOKIE_PATH,
            domain=settings.SESSION_COOKIE_DOMAIN,
            secure=settings.SESSION_COOKIE_SECURE or request.is_secure(),
            httponly=True,
            samesite="Lax",
        )


def _detach_user(request: Any = None, user: Any = None, **_arguments: Any) -> None:
    """Detach the browser of the user who logs out."""
    subscription = _carried_subscription(request)
    if subscription is not None and user is not None and subscription.user_id == user.pk:
        services.unsubscribe(subscription, reason=LOGGED_OUT)


def _detach_others(request: Any = None, user: Any = None, **_arguments: Any) -> None:
    """On login, detach the browser from a previous user who did not log out."""
    subscription = _carried_subscription(request)
    if subscription is not None and user is not None and subscription.user_id not in (None, user.pk):
        services.unsubscribe(subscription, reason=OTHER_USER)


def _carried_subscription(request: Any) -> Any:
    """Return the active subscription that the cookie identifies, or None.

    Django's signals may have no request, or a request of another framework: then there is no cookie.
    """
    if not kit_settings.DETACH_ON_LOGOUT or not hasattr(request, "get_signed_cookie"):
        return None
    model = get_subscription_model()
    key = primary_key(model, _carried_key(request) or None)
    return None if key is None else rows_of(model).filter(pk=key, is_active=True).first()


def _carried_key(request: HttpRequest) -> str:
    return request.get_signed_cookie(COOKIE, default="", salt=COOKIE_SALT) or ""


user_logged_out.connect(_detach_user, dispatch_uid="webpush_kit_detach_user")
user_logged_in.connect(_detach_others, dispatch_uid="webpush_kit_detach_others")

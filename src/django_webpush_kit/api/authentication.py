"""Who asks: authenticators, `request -> user | None`, named in the setting `AUTHENTICATORS`.

One that finds credentials it has to refuse raises `AuthenticationFailed`; that is the answer unless another
authenticator knows the user.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from django_webpush_kit.api.errors import CHALLENGE, ApiError
from django_webpush_kit.conf import kit_settings


class AuthenticationFailed(ApiError):
    """Credentials came along and are not good: 401 with a challenge, or 403."""

    def __init__(
        self, message: str, *, status: int = 401, code: str = "authentication_failed", challenge: str = CHALLENGE
    ) -> None:
        super().__init__(status, code, message, headers={"WWW-Authenticate": challenge} if status == 401 else {})


def authenticate(request: HttpRequest) -> Any:
    """The user that the first of the `AUTHENTICATORS` knows; None when nobody is signed in."""
    failure: AuthenticationFailed | None = None
    for path in kit_settings.AUTHENTICATORS:
        try:
            user = import_string(path)(request)
        except AuthenticationFailed as error:
            failure = failure or error
        else:
            if user is not None:
                return user
    if failure is not None:
        raise failure
    return None


def session(request: HttpRequest) -> Any:
    """The user of Django's session; enforces CSRF, since browsers send session cookies along unasked."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    middleware = CsrfViewMiddleware(_unreachable)
    middleware.process_request(request)
    if middleware.process_view(request, _unreachable, (), {}) is not None:
        raise AuthenticationFailed(_("The CSRF token is missing or not valid."), status=403, code="csrf_failed")
    return user


def _unreachable(request: HttpRequest) -> HttpResponse:
    raise AssertionError("the CSRF middleware is only asked, it calls nothing")  # pragma: no cover  # as it says

"""Who asks: authenticators, `request -> user | None`, named in the setting `AUTHENTICATORS`.

One that finds credentials it has to refuse raises `AuthenticationFailed`; that is the answer unless another
authenticator knows the user. Whatever else it raises is logged and refuses the credentials of that one request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from django_webpush_kit.api.errors import CHALLENGE, ApiError, ErrorCode
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.error_reports import log_error
from django_webpush_kit.tokens import primary_key

MODULE_CSRF_HEADER = "HTTP_X_CSRFTOKEN"
"""The header in which the browser module sends the CSRF token, as in `request.META`."""

_logger = logging.getLogger(__name__)

Authenticator = Callable[[HttpRequest], Any]


class AuthenticationFailed(ApiError):
    """Credentials came along and are not good: 401 with a challenge, or 403."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 401,
        code: str = ErrorCode.AUTHENTICATION_FAILED,
        challenge: str = CHALLENGE,
    ) -> None:
        headers = {"WWW-Authenticate": challenge} if status == 401 else {}
        super().__init__(code, message, status=status, headers=headers)


def authenticate(request: HttpRequest) -> Any:
    """The user that the first of the `AUTHENTICATORS` knows; None when nobody is signed in."""
    _accept_module_csrf_header(request)
    failure: AuthenticationFailed | None = None
    for path in kit_settings.AUTHENTICATORS:
        authenticator = import_string(path) if isinstance(path, str) else path
        try:
            user = _ask(authenticator, request)
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
        raise AuthenticationFailed(_("The CSRF token is missing or not valid."), status=403, code=ErrorCode.CSRF_FAILED)
    return user


def _ask(authenticator: Authenticator, request: HttpRequest) -> Any:
    """The stored user that an authenticator knows; an error of its own refuses the credentials."""
    try:
        return _stored(authenticator(request))
    except AuthenticationFailed:
        raise
    except Exception as error:  # noqa: BLE001 - contained
        log_error(_logger, "The authenticator %r raised; its credentials are refused", authenticator, error=error)
        raise AuthenticationFailed(_("The credentials could not be checked.")) from None


def _stored(user: Any) -> Any:
    """The row of a user: some authenticators only say what a token holds (stateless users of simplejwt)."""
    if user is None or not user.is_authenticated:
        return None
    model = get_user_model()
    if isinstance(user, model):
        return user
    key = primary_key(model, user.pk)
    found = None if key is None else model._base_manager.filter(pk=key).first()
    if found is None:
        raise AuthenticationFailed(_("The credentials are those of a user that this site does not have."))
    return found


def _accept_module_csrf_header(request: HttpRequest) -> None:
    """Take the token from the module's header where `CSRF_HEADER_NAME` names another one."""
    if (token := request.META.get(MODULE_CSRF_HEADER)) is not None:
        request.META.setdefault(settings.CSRF_HEADER_NAME, token)


def _unreachable(request: HttpRequest) -> HttpResponse:
    raise AssertionError("the CSRF middleware is only asked, it calls nothing")  # pragma: no cover  # as it says

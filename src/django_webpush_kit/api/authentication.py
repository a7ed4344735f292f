"""Authentication: run the functions `request -> user | None` listed in the setting `AUTHENTICATORS`.

An authenticator raises `AuthenticationFailed` to refuse invalid credentials. The request is refused unless another
authenticator returns a user. If the database or another service does not answer, nothing is known about the
credentials: the request gets 503, so that the client keeps them and tries again. Any other exception is logged, and the
credentials of that request are refused.
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
from django_webpush_kit.database import is_refusal, is_unavailable
from django_webpush_kit.error_reports import log_error
from django_webpush_kit.tokens import primary_key

MODULE_CSRF_HEADER = "HTTP_X_CSRFTOKEN"
"""The `request.META` key of the header in which webpush-kit.js sends the CSRF token."""

_logger = logging.getLogger(__name__)

Authenticator = Callable[[HttpRequest], Any]


class AuthenticationFailed(ApiError):
    """The request has invalid credentials: 401 with a challenge, or 403."""

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


class AuthenticationUnavailable(ApiError):
    """The credentials cannot be checked now, because a service that knows them does not answer: 503."""

    def __init__(self, message: str = "") -> None:
        super().__init__(ErrorCode.UNAVAILABLE, message or _("The credentials could not be checked."))


def authenticate(request: HttpRequest) -> Any:
    """Return the user of the first authenticator that finds one, or None if nobody is signed in."""
    _accept_module_csrf_header(request)
    failure: AuthenticationFailed | AuthenticationUnavailable | None = None
    for path in kit_settings.AUTHENTICATORS:
        authenticator = import_string(path) if isinstance(path, str) else path
        try:
            user = _ask(authenticator, request)
        except AuthenticationFailed as error:
            failure = failure or error
        except AuthenticationUnavailable as error:
            failure = error
        else:
            if user is not None:
                return user
    if failure is not None:
        raise failure
    return None


def session(request: HttpRequest) -> Any:
    """Return the user of Django's session, or None.

    Enforces CSRF protection, because browsers attach session cookies to requests from other sites.
    """
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    middleware = CsrfViewMiddleware(_unreachable)
    middleware.process_request(request)
    if middleware.process_view(request, _unreachable, (), {}) is not None:
        raise AuthenticationFailed(_("The CSRF token is missing or invalid."), status=403, code=ErrorCode.CSRF_FAILED)
    return user


def _ask(authenticator: Authenticator, request: HttpRequest) -> Any:
    """Return the stored user that an authenticator finds. Its unexpected errors refuse the credentials."""
    try:
        return _stored(authenticator(request))
    except (AuthenticationFailed, AuthenticationUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - contained
        if is_unavailable(error):
            log_error(_logger, "The authenticator %r could not reach the database", authenticator, error=error)
            raise (_refused() if is_refusal(error) else AuthenticationUnavailable()) from None
        log_error(_logger, "The authenticator %r failed; the credentials are refused", authenticator, error=error)
        raise _refused() from None


def _refused() -> AuthenticationFailed:
    return AuthenticationFailed(_("The credentials could not be checked."))


def _stored(user: Any) -> Any:
    """Return the row of a user. Some authenticators return only the claims of a token (simplejwt's `TokenUser`)."""
    if user is None or not user.is_authenticated:
        return None
    model = get_user_model()
    if isinstance(user, model):
        return user
    key = primary_key(model, user.pk)
    found = None if key is None else model._base_manager.filter(pk=key).first()
    if found is None:
        raise AuthenticationFailed(_("The credentials belong to a user that does not exist on this site."))
    return found


def _accept_module_csrf_header(request: HttpRequest) -> None:
    """Accept the CSRF token in the header that webpush-kit.js sends, even if `CSRF_HEADER_NAME` names another one."""
    if (token := request.META.get(MODULE_CSRF_HEADER)) is not None:
        request.META.setdefault(settings.CSRF_HEADER_NAME, token)


def _unreachable(request: HttpRequest) -> HttpResponse:
    raise AssertionError("CsrfViewMiddleware does not call the view")  # pragma: no cover  # as it says

"""The one shape of an error: `{"success": false, "message", "code", "errors": {field: [...]}}` with its 4xx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from django.http import JsonResponse
from django.utils.translation import gettext as _


class ErrorCode(str, Enum):
    """Every `code` of an error answer. Programs rely on them: they do not change."""

    MALFORMED = "malformed"
    INVALID = "invalid"
    NOT_AUTHENTICATED = "not_authenticated"
    INVALID_TOKEN = "invalid_token"  # noqa: S105  # no secret
    AUTHENTICATION_FAILED = "authentication_failed"
    CSRF_FAILED = "csrf_failed"
    FORBIDDEN = "forbidden"
    TOO_MANY_SUBSCRIPTIONS = "too_many_subscriptions"
    NOT_FOUND = "not_found"
    OWNER_CHANGED = "owner_changed"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    KEY_MISMATCH = "key_mismatch"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    THROTTLED = "throttled"


STATUSES: Mapping[str, int] = {
    ErrorCode.MALFORMED: 400,
    ErrorCode.INVALID: 400,
    ErrorCode.NOT_AUTHENTICATED: 401,
    ErrorCode.INVALID_TOKEN: 401,
    ErrorCode.AUTHENTICATION_FAILED: 401,
    ErrorCode.CSRF_FAILED: 403,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.TOO_MANY_SUBSCRIPTIONS: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.OWNER_CHANGED: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.KEY_MISMATCH: 409,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.THROTTLED: 429,
}
"""The HTTP status of each code. Authenticators may refuse credentials with 403 instead."""


class ApiError(Exception):
    """A request that is answered with an error; `code` is an `ErrorCode`, or an authenticator's own with a `status`."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        errors: Mapping[str, Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = STATUSES[code] if status is None else status
        self.message = message
        self.errors = {field: list(problems) for field, problems in (errors or {}).items()}
        self.headers = dict(headers or {})

    def response(self) -> JsonResponse:
        """The answer as it goes out."""
        body = {"success": False, "message": self.message, "code": self.code, "errors": self.errors}
        return JsonResponse(body, status=self.status, headers=self.headers)


def invalid(errors: Mapping[str, Sequence[str]]) -> ApiError:
    """400: some fields have values that are not accepted."""
    return ApiError(ErrorCode.INVALID, _("Some fields are not valid."), errors=errors)


def not_authenticated() -> ApiError:
    """401: nobody is signed in, and no subscription token came along."""
    message = _("Sign in, or send the subscription token of this browser.")
    return ApiError(ErrorCode.NOT_AUTHENTICATED, message, headers={"WWW-Authenticate": CHALLENGE})


def invalid_token() -> ApiError:
    """401: the subscription token is forged, or a newer one has replaced it."""
    message = _("The subscription token is not valid any more.")
    return ApiError(ErrorCode.INVALID_TOKEN, message, headers={"WWW-Authenticate": CHALLENGE})


def not_found(message: str = "") -> ApiError:
    """404: the same for an endpoint that nobody has and for one that is someone else's."""
    return ApiError(ErrorCode.NOT_FOUND, message or _("There is no such subscription."))


def owner_changed() -> ApiError:
    """404: the token shows that this browser's subscription belongs to another user than the one signed in."""
    message = _("The subscription of this browser belongs to another user. Subscribe to take it over.")
    return ApiError(ErrorCode.OWNER_CHANGED, message)


CHALLENGE = 'Session realm="web push"'

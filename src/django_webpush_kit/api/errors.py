"""Error responses: `{"success": false, "message", "code", "errors": {field: [...]}}` with a status 4xx, or 503."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from django.http import JsonResponse
from django.utils.translation import gettext as _


class ErrorCode(str, Enum):
    """Every `code` of an error response. Clients rely on these values, so they never change."""

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
    UNAVAILABLE = "unavailable"


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
    ErrorCode.UNAVAILABLE: 503,
}
"""The HTTP status of each code. Authenticators may refuse credentials with 403 instead."""


class ApiError(Exception):
    """Refuses a request with an error response.

    `code` is an `ErrorCode`. An authenticator may use a code of its own and give the `status`.
    """

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
        """Return the HTTP response."""
        body = {"success": False, "message": self.message, "code": self.code, "errors": self.errors}
        return JsonResponse(body, status=self.status, headers=self.headers)


def invalid(errors: Mapping[str, Sequence[str]]) -> ApiError:
    """400: some fields have invalid values. `errors` maps paths such as "subscription.keys.auth" to messages."""
    return ApiError(ErrorCode.INVALID, _("Some fields are invalid."), errors=errors)


def not_authenticated() -> ApiError:
    """401: nobody is signed in, and the request has no subscription token."""
    message = _("Sign in, or send the subscription token of this browser.")
    return ApiError(ErrorCode.NOT_AUTHENTICATED, message, headers={"WWW-Authenticate": CHALLENGE})


def invalid_token() -> ApiError:
    """401: the subscription token is forged, or was replaced by a newer one."""
    message = _("The subscription token is no longer valid.")
    return ApiError(ErrorCode.INVALID_TOKEN, message, headers={"WWW-Authenticate": CHALLENGE})


def not_found(message: str = "") -> ApiError:
    """404: the endpoint is unknown, or belongs to somebody else. Both get the same response."""
    return ApiError(ErrorCode.NOT_FOUND, message or _("Subscription not found."))


def owner_changed() -> ApiError:
    """404: the token proves that this browser's subscription belongs to another user than the signed-in one."""
    message = _("This browser's subscription belongs to another user. Subscribe again to take it over.")
    return ApiError(ErrorCode.OWNER_CHANGED, message)


CHALLENGE = 'Session realm="web push"'

"""The one shape of an error: `{"success": false, "message", "code", "errors": {field: [...]}}` with its 4xx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.http import JsonResponse
from django.utils.translation import gettext as _


class ApiError(Exception):
    """A request that is answered with an error."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        errors: Mapping[str, Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.errors = {field: list(problems) for field, problems in (errors or {}).items()}
        self.headers = dict(headers or {})

    def response(self) -> JsonResponse:
        """The answer as it goes out."""
        body = {"success": False, "message": self.message, "code": self.code, "errors": self.errors}
        return JsonResponse(body, status=self.status, headers=self.headers)


def invalid(errors: Mapping[str, Sequence[str]]) -> ApiError:
    """400: fields that hold what they may not."""
    return ApiError(400, "invalid", _("Some fields are not valid."), errors=errors)


def not_authenticated() -> ApiError:
    """401: nobody is signed in, and no subscription token came along."""
    message = _("Sign in, or send the subscription token of this browser.")
    return ApiError(401, "not_authenticated", message, headers={"WWW-Authenticate": CHALLENGE})


def invalid_token() -> ApiError:
    """401: the subscription token is forged, or void by now."""
    message = _("The subscription token is not valid any more.")
    return ApiError(401, "invalid_token", message, headers={"WWW-Authenticate": CHALLENGE})


def not_found(message: str = "") -> ApiError:
    """404: for an endpoint nobody knows and for one that is someone else's alike."""
    return ApiError(404, "not_found", message or _("There is no such subscription."))


CHALLENGE = 'Session realm="web push"'

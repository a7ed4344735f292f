"""Authenticate API requests with the authentication classes of Django REST framework.

    WEBPUSH_KIT = {"AUTHENTICATORS": ["django_webpush_kit.contrib.rest_framework.authenticate"]}

Runs the classes in `REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"]`. With `djangorestframework-simplejwt`, the API
accepts `Authorization: Bearer ...`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from django_webpush_kit.api.authentication import AuthenticationFailed, AuthenticationUnavailable
from django_webpush_kit.api.errors import CHALLENGE

try:
    from rest_framework.exceptions import APIException
    from rest_framework.parsers import BaseParser
    from rest_framework.request import Request
    from rest_framework.settings import api_settings
except ImportError as error:  # pragma: no cover  # run by the environment without extras
    raise ImportError('Install "django-webpush-kit[drf]" to use Django REST framework here.') from error


class _EmptyBody(BaseParser):  # type: ignore[misc]  # DRF has no types
    """Leave the body unread, so that the view can read it. Authentication needs only headers and cookies.

    Without a parser, DRF refuses a request as soon as a class reads `request.POST`; session authentication and OAuth
    do.
    """

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> dict[str, Any]:
        """Return an empty dict."""
        return {}


def authenticate(request: HttpRequest) -> Any:
    """Return the user of the first DRF class that finds credentials, or None."""
    authenticators = [make() for make in api_settings.DEFAULT_AUTHENTICATION_CLASSES]
    wrapped = Request(request, parsers=[_EmptyBody()], authenticators=authenticators)
    try:
        user = wrapped.user
    except APIException as error:
        if error.status_code >= 500:
            raise AuthenticationUnavailable(_sentence(error.detail)) from None
        challenges = (authenticator.authenticate_header(wrapped) for authenticator in authenticators)
        challenge = next(filter(None, challenges), CHALLENGE)
        status = 403 if error.status_code == 403 else 401
        raise AuthenticationFailed(_sentence(error.detail), status=status, challenge=challenge) from None
    return user if user is not None and user.is_authenticated else None


def _sentence(detail: Any) -> str:
    """Return the message of an error's detail, which may be text, a list, or a dict with codes for programs."""
    if isinstance(detail, Mapping):
        detail = detail.get("detail") or next(iter(detail.values()), "")
    if isinstance(detail, list | tuple):
        return " ".join(map(_sentence, detail))
    return _sentence(detail) if isinstance(detail, Mapping) else str(detail)

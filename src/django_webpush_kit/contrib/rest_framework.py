"""Django REST framework's authentication for our API.

    WEBPUSH_KIT = {"AUTHENTICATORS": ["django_webpush_kit.contrib.rest_framework.authenticate"]}

Runs the classes of `REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"]`: with `djangorestframework-simplejwt` among them
`Authorization: Bearer ...` works.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from django_webpush_kit.api.authentication import AuthenticationFailed
from django_webpush_kit.api.errors import CHALLENGE

try:
    from rest_framework.exceptions import APIException
    from rest_framework.parsers import BaseParser
    from rest_framework.request import Request
    from rest_framework.settings import api_settings
except ImportError as error:  # pragma: no cover  # run by the environment without extras
    raise ImportError('Install "django-webpush-kit[drf]" to use Django REST framework here.') from error


class _EmptyBody(BaseParser):  # type: ignore[misc]  # DRF has no types
    """Leaves the body unread, for the view: authentication goes by headers and cookies.

    Without a parser DRF refuses every request in which a class looks at `request.POST`, as session authentication and
    OAuth do.
    """

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> dict[str, Any]:
        """Return nothing."""
        return {}


def authenticate(request: HttpRequest) -> Any:
    """The user that one of DRF's configured classes knows; None when none of them finds credentials."""
    authenticators = [make() for make in api_settings.DEFAULT_AUTHENTICATION_CLASSES]
    wrapped = Request(request, parsers=[_EmptyBody()], authenticators=authenticators)
    try:
        user = wrapped.user
    except APIException as error:
        challenges = (authenticator.authenticate_header(wrapped) for authenticator in authenticators)
        challenge = next(filter(None, challenges), CHALLENGE)
        status = 403 if error.status_code == 403 else 401
        raise AuthenticationFailed(_sentence(error.detail), status=status, challenge=challenge) from None
    return user if user is not None and user.is_authenticated else None


def _sentence(detail: Any) -> str:
    """The readable part of an error's detail, which may be text, a list, or an object with more for programs."""
    if isinstance(detail, Mapping):
        detail = detail.get("detail") or next(iter(detail.values()), "")
    if isinstance(detail, list | tuple):
        return " ".join(map(_sentence, detail))
    return _sentence(detail) if isinstance(detail, Mapping) else str(detail)

"""Django REST framework's authentication for our API.

    WEBPUSH_KIT = {"AUTHENTICATORS": ["django_webpush_kit.contrib.rest_framework.authenticate"]}

Runs the classes of `REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"]`: with `djangorestframework-simplejwt` among them
`Authorization: Bearer ...` works.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from django_webpush_kit.api.authentication import AuthenticationFailed
from django_webpush_kit.api.errors import CHALLENGE

try:
    from rest_framework.exceptions import APIException
    from rest_framework.request import Request
    from rest_framework.settings import api_settings
except ImportError as error:  # pragma: no cover  # run by the environment without extras
    raise ImportError('Install "django-webpush-kit[drf]" to use Django REST framework here.') from error


def authenticate(request: HttpRequest) -> Any:
    """The user that one of DRF's configured classes knows; None when none of them finds credentials."""
    authenticators = [make() for make in api_settings.DEFAULT_AUTHENTICATION_CLASSES]
    wrapped = Request(request, authenticators=authenticators)
    try:
        user = wrapped.user
    except APIException as error:
        challenges = (authenticator.authenticate_header(wrapped) for authenticator in authenticators)
        challenge = next(filter(None, challenges), CHALLENGE)
        status = 403 if error.status_code == 403 else 401
        raise AuthenticationFailed(str(error.detail), status=status, challenge=challenge) from None
    return user if user is not None and user.is_authenticated else None

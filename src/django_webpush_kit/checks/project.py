"""Check what the project around this app has to provide: URLs, and headers that browsers can send."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.urls import URLResolver, get_resolver
from django.utils.module_loading import import_string

from django_webpush_kit.checks import messages
from django_webpush_kit.checks.messages import CheckTable, Messages

INCLUDE = 'path("api/v1/push/", include("django_webpush_kit.urls"))'

CSRF_HEADER_NAME = "HTTP_X_CSRFTOKEN"
"""Django's default, which the JavaScript client sends."""


def are_urls_included() -> bool:
    """Return whether a URLconf of the project includes our URLs, also below other namespaces or for another host.

    Raises whatever importing the URLconf raises.
    """
    return any(_includes_ours(get_resolver(name).url_patterns) for name in _urlconfs())


def _urlconfs() -> Iterator[str]:
    yield settings.ROOT_URLCONF
    if getattr(settings, "ROOT_HOSTCONF", None) and find_spec("django_hosts"):
        yield from (host.urlconf for host in import_string("django_hosts.resolvers.get_host_patterns")())


def _includes_ours(patterns: Iterable[Any]) -> bool:
    resolvers = [pattern for pattern in patterns if isinstance(pattern, URLResolver)]
    return any(one.app_name == "webpush_kit" or _includes_ours(one.url_patterns) for one in resolvers)


def _urls() -> Messages:
    try:
        is_included = are_urls_included()
    except Exception:  # noqa: BLE001  # a URLconf that cannot be imported has a check of Django's own
        return
    if not is_included:
        yield messages.warning(
            9,
            "django_webpush_kit.urls is not included in the URLconf, so browsers cannot subscribe.",
            f"Add {INCLUDE}.",
        )


def _csrf_header() -> Messages:
    if settings.CSRF_HEADER_NAME != CSRF_HEADER_NAME:
        yield messages.warning(
            10,
            f"CSRF_HEADER_NAME is {settings.CSRF_HEADER_NAME!r}, but webpush-kit.js sends X-CSRFToken: every request "
            "with a session is refused with 403.",
            f"Leave CSRF_HEADER_NAME at its default, {CSRF_HEADER_NAME!r}.",
        )


CHECKS: CheckTable = (
    ((), _urls),
    ((), _csrf_header),
)

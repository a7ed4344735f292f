"""Find the base URL of the HTTP API as browsers see it, for links in payloads, pages and responses.

A worker has no request, so `reverse()` misses a `SCRIPT_NAME`, a language prefix or a prefix with arguments. Therefore
the path of the latest API request from a page is stored in the database. Only the path is stored, because clients can
forge the Host header.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urljoin

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest
from django.urls import NoReverseMatch, Resolver404, get_resolver, get_script_prefix, get_urlconf, resolve, reverse
from django.utils import timezone, translation
from django.utils.encoding import escape_uri_path
from django.utils.translation import get_supported_language_variant

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import outbox_database
from django_webpush_kit.error_reports import log_warning
from django_webpush_kit.models import ApiLocation
from django_webpush_kit.protocol.endpoints import check_click_url

APP_NAME = "webpush_kit"

_logger = logging.getLogger(__name__)


def api_base() -> str:
    """Return the base of the API's URLs with a slash at the end, or "" if the URLconf does not include them.

    The first of these that is known: `API_PATH` (absolute with `BASE_URL`), the path of the latest API request from a
    page, the result of `reverse()`.
    """
    return configured_base() or _stored_path() or _reversed_in_worker()


def configured_base() -> str:
    """Return the base from `API_PATH` and `BASE_URL`, or "" without `API_PATH`."""
    path = kit_settings.API_PATH
    return urljoin(kit_settings.BASE_URL, f"{path.rstrip('/')}/") if path else ""


def base_for_request(request: HttpRequest) -> str:
    """Return the base of the API for a request to a view of the API."""
    return configured_base() or _path_of(request) or reversed_base()


def base_for_page(request: HttpRequest | None) -> str:
    """Return the base of the API for a page. Raises NoReverseMatch if it is unknown.

    Arguments in the prefix of the API, such as a tenant's name, are taken from the page's URL.
    """
    match = getattr(request, "resolver_match", None)
    base = configured_base() or reversed_base(match.kwargs if match else {}) or _stored_path()
    if not base:
        raise NoReverseMatch(
            "The URLs of django-webpush-kit were not found. Include django_webpush_kit.urls in your URLconf, or set "
            'WEBPUSH_KIT["API_PATH"].'
        )
    return base


def remember_base(request: HttpRequest) -> None:
    """Store the API path of a request from a page, unless the stored path still works.

    If the database cannot be written, the error is logged, because the request does not need the path.
    """
    path = _path_of(request)
    if not path or len(path) > MAX_LENGTH or configured_base():
        return
    try:
        kept = _stored_path()
        if path != kept and not (kept and _leads_here(kept, request)):
            ApiLocation.objects.using(outbox_database()).update_or_create(
                pk=1, defaults={"path": path, "changed_at": timezone.now()}
            )
    except DatabaseError as error:
        log_warning(_logger, "The path of the API could not be stored", error=error)


MAX_LENGTH = 200
"""Characters. A longer path would use too much of a payload."""


def reversed_base(arguments: Mapping[str, Any] | None = None) -> str:
    """Return the base from `reverse()` in any namespace, or "" if the URLs are not included."""
    for namespace in _namespaces(get_resolver(get_urlconf())):
        for given in ({}, dict(arguments or {})):
            try:
                return reverse(f"{namespace}:subscribe", kwargs=given).removesuffix("subscribe")
            except NoReverseMatch:
                continue
    return ""


def _reversed_in_worker() -> str:
    """Return the base from `reverse()` in the site's default language and below `FORCE_SCRIPT_NAME`.

    Django sets the script name per thread. The active language may have no prefix: "en-us" if the site has "en".
    """
    try:
        language = get_supported_language_variant(settings.LANGUAGE_CODE)
    except LookupError:
        language = settings.LANGUAGE_CODE
    with translation.override(language):
        base = reversed_base()
    prefix = (settings.FORCE_SCRIPT_NAME or "").rstrip("/")
    return f"{prefix}{base}" if base and prefix and get_script_prefix() == "/" else base


def _path_of(request: HttpRequest) -> str:
    """Return the requested path without the view's name, or "" if it cannot be used in links."""
    match = request.resolver_match
    if match is None or APP_NAME not in match.app_names:
        return ""
    name = match.route.rpartition("/")[2]
    path = escape_uri_path(request.path)
    if not name or not path.endswith(f"/{name}"):
        return ""
    try:
        return check_click_url(path.removesuffix(name))
    except ValueError:
        return ""


def _leads_here(path: str, request: HttpRequest) -> bool:
    """Return whether the API answers under a path, below the script name of this request and in any language."""
    script_name = escape_uri_path(request.path.removesuffix(request.path_info))
    if not path.startswith(f"{script_name}/"):
        return False
    inner = unquote(f"{path.removeprefix(script_name)}events")
    try:
        with translation.override(translation.get_language_from_path(inner) or translation.get_language()):
            return APP_NAME in resolve(inner).app_names
    except Resolver404:
        return False


def _stored_path() -> str:
    return ApiLocation.objects.using(outbox_database()).filter(pk=1).values_list("path", flat=True).first() or ""


def _namespaces(resolver: Any, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the namespaces that include the URLs, outermost first: "webpush_kit", "push:webpush_kit"."""
    inner = resolver.namespace_dict
    found = [name for name, (_prefix, below) in inner.items() if below.app_name == APP_NAME]
    yield from (":".join((*above, name)) for name in sorted(found, key=lambda name: name != APP_NAME))
    for name, (_prefix, below) in inner.items():
        if name not in found:
            yield from _namespaces(below, (*above, name))

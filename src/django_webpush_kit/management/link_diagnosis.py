"""Check of `push_doctor`: fetch a link to the API and the service worker as a browser does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit
from urllib.request import urlopen

from django.db import DatabaseError

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.management.findings import Finding
from django_webpush_kit.outbox.links import api_base, reversed_base

FETCH_SECONDS = 10

OTHER_PATH = 'Set WEBPUSH_KIT["API_PATH"] to the path of the API as browsers see it, and BASE_URL to the origin.'

UNREACHABLE = "Start the web server, or correct BASE_URL. This machine must reach it, and trust its certificate."

FIXES = {
    400: "Add the host of BASE_URL to ALLOWED_HOSTS.",
    401: "Let requests to this path pass without a login or password.",
    403: "Let requests to this path pass without a login or password.",
    404: OTHER_PATH,
}
"""What to do about the status of a response. Others are in `_fix`."""

REDIRECTED = (
    "The site redirects to itself. Behind a proxy that ends https, set SECURE_PROXY_SSL_HEADER, and let the proxy send "
    "that header."
)


def examine_links() -> Iterator[Finding]:
    """Check that the API answers under `BASE_URL`, and that browsers get the service worker there."""
    base = known_base()
    if base and kit_settings.BASE_URL:
        yield from _fetched(urljoin(kit_settings.BASE_URL, f"{base}config"))


def known_base() -> str:
    """Return the API path used in links, or "" if it is unknown."""
    try:
        return api_base()
    except DatabaseError:  # reported with the database
        return reversed_base()


def _fetched(url: str) -> Iterator[Finding]:
    """Request a link from outside: a proxy or another URLconf may serve the API under a different path."""
    try:
        with urlopen(url, timeout=FETCH_SECONDS) as response:  # noqa: S310  # the scheme is checked with BASE_URL
            answer = json.load(response)
    except HTTPError as error:
        error.close()
        yield Finding("error", "urls", f"Links in messages are broken: {url} answers {error.code}.", _fix(error.code))
    except OSError as error:
        yield Finding("warning", "urls", f"Links in messages could not be checked: {url}: {error}", UNREACHABLE)
    except ValueError as error:
        yield Finding("warning", "urls", f"Links in messages could not be checked: {url}: {error}", OTHER_PATH)
    else:
        if isinstance(answer, dict) and "public_key" in answer:
            yield from _service_worker(urljoin(url, "service-worker.js"))
        else:
            yield Finding("error", "urls", f"Links in messages are wrong: {url} is not the push API.", OTHER_PATH)


def _fix(status: int) -> str:
    """Return what to do about a response with this status."""
    if 300 <= status < 400:  # other redirects were followed
        return REDIRECTED
    if status >= 500:
        return "Start the web server behind the proxy, or read its log."
    return FIXES.get(status, OTHER_PATH)


def _service_worker(url: str) -> Iterator[Finding]:
    """Request the service worker: a proxy may look for a static file instead, or drop its header."""
    fix = "Let the proxy pass this path to Django, with all headers: the service worker is not a static file."
    try:
        with urlopen(url, timeout=FETCH_SECONDS) as response:  # noqa: S310  # the scheme is checked with BASE_URL
            kind, allowed = response.headers.get_content_type(), response.headers.get("Service-Worker-Allowed", "")
    except HTTPError as error:
        error.close()
        yield Finding("error", "urls", f"Browsers cannot subscribe: {url} answers {error.code}.", fix)
        return
    except OSError as error:
        yield Finding("warning", "urls", f"The service worker could not be fetched: {url}: {error}", fix)
        return
    if not kind.endswith("javascript"):
        yield Finding("error", "urls", f"Browsers cannot subscribe: {url} is {kind}, not JavaScript.", fix)
        return
    scope, reach = kit_settings.SERVICE_WORKER_SCOPE, allowed or urlsplit(url).path.rpartition("/")[0] + "/"
    if not scope.startswith(reach):
        text = f"Browsers refuse the scope {scope} of the service worker: {url} allows {reach}"
        cause = "" if allowed else ", because its header Service-Worker-Allowed is missing"
        yield Finding("error", "urls", f"{text}{cause}.", fix)

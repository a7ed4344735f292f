"""API requests: the decorator of all views, which checks each request and parses its JSON body."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from inspect import signature
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.http.request import RawPostDataException
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from django_webpush_kit.api.authentication import authenticate
from django_webpush_kit.api.errors import ApiError, ErrorCode, invalid
from django_webpush_kit.api.throttling import check_rate
from django_webpush_kit.exceptions import InvalidSubscription

MAX_BODY = 65_536
"""Maximum size of a request body in bytes. 50 events, or a subscription with many preferences, need less than half."""

MAX_DEPTH = 16

BODY_METHODS = frozenset({"POST", "PUT"})

View = Callable[..., HttpResponse]


@dataclass(slots=True)
class ApiRequest:
    """One API request: the user (None if nobody is signed in) and the JSON body."""

    http: HttpRequest
    user: Any = None
    body: dict[str, Any] = field(default_factory=dict)


def api_view(action: str, *methods: str, signs_in: bool = False, is_limited: bool = True) -> Callable[[View], View]:
    """Turn `function(request: ApiRequest, **kwargs)` into a view for these methods; GET includes HEAD.

    `action` is the key in `RATE_LIMITS`. With `is_limited=False` the function calls `check_rate` itself. With
    `signs_in` the authenticators run; otherwise cookies and `Authorization` are ignored. The view is exempt from
    ATOMIC_REQUESTS and from LoginRequiredMiddleware.
    """
    allowed = [*methods, "HEAD"] if "GET" in methods else [*methods]

    def decorate(function: View) -> View:
        arguments = set(signature(function).parameters)

        @wraps(function)
        def view(request: HttpRequest, *_prefix: Any, **kwargs: Any) -> HttpResponse:
            own = {name: value for name, value in kwargs.items() if name in arguments}  # the prefix may have others
            try:
                if request.method not in allowed:
                    raise _method_not_allowed(allowed)
                limited = action if is_limited else ""
                response = function(_prepared(request, limited, signs_in=signs_in), **own)
            except InvalidSubscription as error:
                response = invalid({error.field or "subscription": [str(error)]}).response()
            except ApiError as error:
                response = error.response()
            response.headers.setdefault("Cache-Control", "no-store")
            response.headers.setdefault("X-Content-Type-Options", "nosniff")
            return response

        return csrf_exempt(login_not_required(_outside_transactions(view)))

    return decorate


def _prepared(request: HttpRequest, action: str, *, signs_in: bool) -> ApiRequest:
    """Check method, headers, rate limit and user, and only then read the body."""
    takes_body = request.method in BODY_METHODS
    if takes_body:
        _check_envelope(request)
    try:
        user = authenticate(request) if signs_in else None
    except ApiError:
        check_rate(request, action)
        raise
    check_rate(request, action, user)
    return ApiRequest(request, user, _read_json(request) if takes_body else {})


def _check_envelope(request: HttpRequest) -> None:
    if request.content_type != "application/json":
        raise ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, _("The body must be application/json."))
    length = request.META.get("CONTENT_LENGTH") or "0"
    if length.isdecimal() and int(length[:20]) > MAX_BODY:
        raise _too_large()


def _read_json(request: HttpRequest) -> dict[str, Any]:
    """Return the body's JSON object. Refuses NUL characters and lone surrogates, which databases cannot store."""
    try:
        raw = request.read(MAX_BODY + 1)
    except (UnreadablePostError, RawPostDataException):
        raise _malformed(_("The body could not be read.")) from None
    if len(raw) > MAX_BODY:
        raise _too_large()
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
        for text in _texts(value, MAX_DEPTH):
            text.encode("utf-8")
    except (ValueError, RecursionError):
        raise _malformed(_("The body is not valid JSON.")) from None
    if not isinstance(value, dict):
        raise _malformed(_("The body must be a JSON object."))
    return value


def _texts(value: Any, depth: int) -> Iterator[str]:
    """Yield every string in a JSON value. Raises ValueError for NUL characters and too deep nesting."""
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("text with NUL")
        yield value
    elif isinstance(value, dict | list):
        if not depth:
            raise ValueError("nested too deeply")
        for item in value:
            yield from _texts(item, depth - 1)
        if isinstance(value, dict):
            yield from _texts(list(value.values()), depth - 1)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _method_not_allowed(allowed: list[str]) -> ApiError:
    names = ", ".join(allowed)
    message = _("Allowed methods: %(methods)s.") % {"methods": names}
    return ApiError(ErrorCode.METHOD_NOT_ALLOWED, message, headers={"Allow": names})


def _too_large() -> ApiError:
    return ApiError(ErrorCode.TOO_LARGE, _("The body is larger than %(bytes)d bytes.") % {"bytes": MAX_BODY})


def _malformed(message: str) -> ApiError:
    return ApiError(ErrorCode.MALFORMED, message)


def _outside_transactions(view: View) -> View:
    """Exempt a view from ATOMIC_REQUESTS: only a whole transaction can be retried after a deadlock."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view

"""The views of the HTTP API. Paths have no trailing slash. Responses are JSON, except the redirect and the script."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.translation import gettext as _

from django_webpush_kit import services
from django_webpush_kit.api import events as reports
from django_webpush_kit.api.authentication import authenticate
from django_webpush_kit.api.browsers import active_browsers, describe_browser, remove_browser
from django_webpush_kit.api.clients import client_info
from django_webpush_kit.api.errors import ApiError, ErrorCode, invalid, invalid_token, not_authenticated, not_found
from django_webpush_kit.api.forms import (
    EndpointForm,
    EventsForm,
    PreferencesForm,
    RemovalForm,
    SubscribeForm,
    SubscriptionsForm,
    validated,
)
from django_webpush_kit.api.logout import remember_browser
from django_webpush_kit.api.ownership import (
    active_subscription,
    given_token,
    has_endpoint,
    latest_claim,
    own_subscription,
)
from django_webpush_kit.api.requests import ApiRequest, api_view
from django_webpush_kit.api.test_notification import send_test
from django_webpush_kit.api.throttling import check_rate
from django_webpush_kit.conf import declarative_base_url, kit_settings, public_key
from django_webpush_kit.database import outbox_database
from django_webpush_kit.error_reports import log_error
from django_webpush_kit.exceptions import InvalidSubscription, KeyMismatch, TokenVoid, TooManySubscriptions
from django_webpush_kit.health import get_health, http_status
from django_webpush_kit.outbox.links import base_for_request, remember_base
from django_webpush_kit.states import ActionType
from django_webpush_kit.subscriptions.browsers import BrowserSubscription
from django_webpush_kit.subscriptions.languages import language_tag
from django_webpush_kit.subscriptions.preferences import find_zone, store_preferences
from django_webpush_kit.subscriptions.registrants import ByAnyone, ByToken, ByUser, Registrant
from django_webpush_kit.subscriptions.registration import register
from django_webpush_kit.tokens import sign_subscription, user_mark

_logger = logging.getLogger(__name__)

PACKAGE = Path(__file__).resolve().parent.parent
WORKER = PACKAGE / "static" / "django_webpush_kit" / "service-worker.js"
OPENAPI = Path(__file__).resolve().parent / "openapi.json"


@api_view("subscribe", "POST", signs_in=True)
def subscribe(request: ApiRequest) -> HttpResponse:
    """Create (201) or update (200) a subscription. The response contains the browser's new subscription token."""
    cleaned = validated(SubscribeForm, request.body)
    remember_base(request.http)
    try:
        registration = register(_browser(request, cleaned), _registrant(request, cleaned["old_endpoint"]))
    except KeyMismatch as error:
        raise ApiError(ErrorCode.KEY_MISMATCH, str(error), errors={"subscription.keys": [str(error)]}) from None
    except TooManySubscriptions as error:
        raise ApiError(ErrorCode.TOO_MANY_SUBSCRIPTIONS, str(error)) from None
    except TokenVoid:
        raise invalid_token() from None
    subscription = registration.subscription
    response = JsonResponse(
        {
            "success": True,
            "subscription_id": subscription.pk,
            "subscription_token": sign_subscription(subscription),
            "user": user_mark(subscription.user_id),
        },
        status=201 if registration.is_new else 200,
    )
    if request.user is not None:
        remember_browser(request.http, response, subscription)
    return response


@api_view("unsubscribe", "POST", signs_in=True)
def unsubscribe(request: ApiRequest) -> HttpResponse:
    """Deactivate a subscription of the caller. Repeating the request is not an error."""
    services.unsubscribe(own_subscription(request, validated(EndpointForm, request.body)["endpoint"]))
    return JsonResponse({"success": True, "message": _("Unsubscribed.")})


@api_view("preferences", "GET", "PUT", signs_in=True)
def preferences(request: ApiRequest) -> HttpResponse:
    """Show or replace the preferences of a subscription of the caller."""
    if request.http.method == "PUT":
        return _replace_preferences(request)
    subscription = active_subscription(request, validated(EndpointForm, request.http.GET.dict())["endpoint"])
    response = JsonResponse({"success": True, **_preferences(subscription)})
    if request.user is not None:
        remember_browser(request.http, response, subscription)
    return response


@api_view("subscriptions", "GET", "DELETE", signs_in=True)
def subscriptions(request: ApiRequest) -> HttpResponse:
    """List the browsers of the signed-in user, or end the subscription of one of them."""
    if request.user is None:
        raise not_authenticated()
    query = request.http.GET.dict()
    if request.http.method == "DELETE":
        if not remove_browser(request.user, validated(RemovalForm, query)["id"]):
            raise not_found()
        return JsonResponse({"success": True, "message": _("Unsubscribed.")})
    here = validated(SubscriptionsForm, query)["endpoint"]
    browsers = [
        {**describe_browser(subscription), "is_current": has_endpoint(subscription, here)}
        for subscription in active_browsers(request.user)
    ]
    return JsonResponse({"success": True, "subscriptions": browsers})


@api_view("test", "POST", signs_in=True)
def test(request: ApiRequest) -> HttpResponse:
    """Send a test notification to a subscription of the caller. Preferences and quiet hours are bypassed."""
    subscription = active_subscription(request, validated(EndpointForm, request.body)["endpoint"])
    result = send_test(subscription)
    key = result.notifications.using(outbox_database()).values_list("pk", flat=True).first()
    if key is None:
        raise not_found()  # it was deactivated in the meantime
    message = _("A test notification is on its way.")
    return JsonResponse({"success": True, "message": message, "notification_id": key})


@api_view("health", "GET", signs_in=True)
def health(request: ApiRequest) -> HttpResponse:
    """Report the health of delivery; staff see details.

    The status is 200, or 503 if delivery is unhealthy and `?strict=1` or `HEALTH_STRICT` is set.
    """
    is_staff = request.user is not None and getattr(request.user, "is_staff", False)
    if not is_staff and not kit_settings.HEALTH_PUBLIC:
        if request.user is None:
            raise not_authenticated()
        raise ApiError(ErrorCode.FORBIDDEN, _("Only staff may see this."))
    state = get_health(details=is_staff)
    is_strict = kit_settings.HEALTH_STRICT or request.http.GET.get("strict") == "1"
    return JsonResponse(state, status=http_status(state, strict=is_strict))


def _described(name: str, kind: Mapping[str, Any]) -> dict[str, Any]:
    """Return label, description and default of a notification type, in the request's language."""
    shown = {"label": str(kind.get("label", name)), "default": bool(kind.get("default", True))}
    return {**shown, "description": str(kind["description"])} if kind.get("description") else shown


@api_view("config", "GET")
def config(request: ApiRequest) -> HttpResponse:
    """Return what a page needs to subscribe: public key, notification types, URLs, and a mark of the signed-in user."""
    remember_base(request.http)
    names = ("subscribe", "unsubscribe", "preferences", "test", "events")
    response = JsonResponse(
        {
            "success": True,
            "public_key": public_key(),
            "types": {name: _described(name, kind) for name, kind in kit_settings.NOTIFICATION_TYPES.items()},
            "urls": {
                **{name: _url(request.http, name) for name in names},
                "service_worker": _url(request.http, "service-worker.js"),
            },
            "service_worker_scope": kit_settings.SERVICE_WORKER_SCOPE,
            "declarative": bool(declarative_base_url()),
            "user": _visitor_mark(request.http),
        }
    )
    patch_vary_headers(response, ["Accept-Language", "Authorization", "Cookie"])
    answer = _revalidated(request.http, response)
    answer.headers["Cache-Control"] = "private, no-cache"
    return answer


@api_view("events", "POST")
def events(request: ApiRequest) -> HttpResponse:
    """Record reported events. `recorded` is the number of new ones. Events with an invalid token are skipped."""
    given = validated(EventsForm, request.body)["events"]
    signed = [
        reports.Event(*named, event["action"], _button(event), event["timestamp"])
        for event in given
        if (named := reports.notification_of(event["token"])) is not None
    ]
    if not signed:
        raise invalid({"events": [_("None of the events has a valid token.")]})
    return JsonResponse({"success": True, "recorded": reports.record(signed)})


@api_view("open", "GET", is_limited=False)
def open_notification(request: ApiRequest, token: str) -> HttpResponse:
    """Record a click and redirect to the URL stored with the notification, or with its button `?action=`.

    Above the rate limit, and if recording fails, the redirect still works, but the click is not recorded.
    """
    excess = _rate_excess(request, "open")
    notification = reports.find_notification(token)
    if notification is None:
        raise excess or not_found(_("Notification not found."))
    action = request.http.GET.get("action", "")
    if not reports.has_button(notification, action):
        action = ""
    if excess is None and request.http.method == "GET":  # link scanners send HEAD
        _record_click(notification, action)
    # HttpResponseRedirect refuses URLs longer than 2,048 characters
    response = HttpResponse(status=302, headers={"Location": reports.click_target(notification, action) or "/"})
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@api_view("openapi", "GET")
def openapi(request: ApiRequest) -> HttpResponse:
    """Serve the OpenAPI 3.1 document, with the URL prefix of the API in this project."""
    document = json.loads(_text(OPENAPI))
    document["servers"] = [{"url": _base(request.http).rstrip("/")}]
    return _revalidated(request.http, JsonResponse(document))


@api_view("service-worker", "GET")
def service_worker(request: ApiRequest) -> HttpResponse:
    """Serve the service worker with the URL of the API. It may control the whole site (`Service-Worker-Allowed`)."""
    known = {"baseUrl": _base(request.http)}
    if key := public_key():
        known["publicKey"] = key
    # Values set by the project's own worker before it imports this script take precedence.
    first_line = f"self.WEBPUSH_KIT = {{ ...{json.dumps(known)}, ...self.WEBPUSH_KIT }};\n"
    response = HttpResponse(first_line + _text(WORKER), content_type="text/javascript; charset=utf-8")
    response.headers["Service-Worker-Allowed"] = kit_settings.SERVICE_WORKER_SCOPE
    return _revalidated(request.http, response)


def _browser(request: ApiRequest, cleaned: dict[str, Any]) -> BrowserSubscription:
    subscription = cleaned["subscription"]
    try:
        return BrowserSubscription.check(
            endpoint=subscription["endpoint"],
            p256dh=subscription["keys"]["p256dh"],
            auth=subscription["keys"]["auth"],
            expiration_time=subscription["expirationTime"],
            # webpush-kit.js sends {} if the page sets no preferences.
            preferences=None if cleaned["preferences"] == {} else cleaned["preferences"],
            # An unknown language or time zone must not prevent a subscription.
            language=language_tag(cleaned["language"]),
            timezone=cleaned["timezone"] if find_zone(cleaned["timezone"]) else "",
            **client_info(request.http),
        )
    except InvalidSubscription as error:
        raise invalid({PATHS.get(error.field, error.field): [str(error)]}) from None


PATHS = {
    "endpoint": "subscription.endpoint",
    "p256dh": "subscription.keys.p256dh",
    "auth": "subscription.keys.auth",
    "expiration_time": "subscription.expirationTime",
}


def _registrant(request: ApiRequest, old_endpoint: str) -> Registrant:
    """Return who registers: the signed-in user, the bearer of the browser's token, or an allowed anonymous visitor."""
    if request.user is not None:
        return ByUser(request.user, old_endpoint, limit=kit_settings.MAX_SUBSCRIPTIONS_PER_USER)
    token = given_token(request)
    if (claim := latest_claim(token)) is not None:
        return ByToken(claim)
    if kit_settings.ALLOW_ANONYMOUS and not old_endpoint:
        return ByAnyone()
    raise invalid_token() if token else not_authenticated()


def _replace_preferences(request: ApiRequest) -> HttpResponse:
    cleaned = validated(PreferencesForm, request.body)
    subscription = active_subscription(request, cleaned["endpoint"])
    if not store_preferences(subscription, cleaned["preferences"]):
        raise not_found()  # it was deleted or moved to another user in the meantime
    return JsonResponse({"success": True, "message": _("Preferences saved."), **_preferences(subscription)})


def _preferences(subscription: Any) -> dict[str, Any]:
    return {"preferences": subscription.preferences, "user": user_mark(subscription.user_id)}


def _visitor_mark(request: HttpRequest) -> str:
    """Return the mark of the signed-in user, or "" for anonymous visitors and invalid credentials."""
    with suppress(ApiError):
        user = authenticate(request)
        return user_mark(None if user is None else user.pk)
    return ""


def _rate_excess(request: ApiRequest, action: str) -> ApiError | None:
    """Return the error of a request above the rate limit, or None."""
    try:
        check_rate(request.http, action)
    except ApiError as error:
        return error
    return None


def _record_click(notification: Any, action: str) -> None:
    try:
        reports.record_click(notification, action)
    except Exception as error:  # noqa: BLE001 - contained
        log_error(_logger, "A click could not be recorded", error=error)


def _button(event: dict[str, Any]) -> str:
    """Return the button's id. Other events have none."""
    return event["action_id"] if event["action"] == ActionType.ACTION_CLICKED else ""


def _url(request: HttpRequest, name: str) -> str:
    return f"{_base(request)}{name}"


def _base(request: HttpRequest) -> str:
    return base_for_request(request)


def _revalidated(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Let the browser cache the response, but revalidate it before each use (ETag)."""
    etag = f'"{sha256(response.content).hexdigest()[:32]}"'
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = "no-cache"
    return get_conditional_response(request, etag=etag, response=response) or response


@lru_cache(maxsize=4)
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")

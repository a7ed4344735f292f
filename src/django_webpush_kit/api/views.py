"""The views of the HTTP API. Paths have no trailing slash; every answer but a redirect and a script is JSON."""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.translation import gettext as _

from django_webpush_kit import services
from django_webpush_kit.api import events as reports
from django_webpush_kit.api.calls import Call, api_view
from django_webpush_kit.api.clients import client_info
from django_webpush_kit.api.errors import ApiError, invalid, invalid_token, not_authenticated, not_found
from django_webpush_kit.api.forms import EndpointForm, EventsForm, PreferencesForm, SubscribeForm, validated
from django_webpush_kit.api.logout import remember_browser
from django_webpush_kit.api.ownership import given_token, is_latest, own_subscription
from django_webpush_kit.conf import kit_settings, vapid_keyring
from django_webpush_kit.database import retry_on_conflict
from django_webpush_kit.exceptions import InvalidSubscription, KeyMismatch, TokenVoid, TooManySubscriptions
from django_webpush_kit.health import get_health, http_status
from django_webpush_kit.states import ActionType
from django_webpush_kit.subscriptions.registration import BrowserSubscription, Registration, register, repair
from django_webpush_kit.tokens import read_subscription_token, sign_subscription

PACKAGE = Path(__file__).resolve().parent.parent
WORKER = PACKAGE / "static" / "django_webpush_kit" / "service-worker.js"
OPENAPI = Path(__file__).resolve().parent / "openapi.json"


@api_view("subscribe", "POST", signs_in=True)
def subscribe(call: Call) -> HttpResponse:
    """Create (201) or update (200) a subscription; the answer carries the browser's new subscription token."""
    cleaned = validated(SubscribeForm, call.body)
    browser = _browser(call, cleaned)
    try:
        registration = retry_on_conflict(lambda: _registered(call, browser, cleaned["old_endpoint"]))
    except KeyMismatch as error:
        raise ApiError(409, "key_mismatch", str(error), errors={"subscription.keys": [str(error)]}) from None
    except TooManySubscriptions as error:
        raise ApiError(403, "too_many_subscriptions", str(error)) from None
    except TokenVoid:
        raise invalid_token() from None
    subscription = registration.subscription
    response = JsonResponse(
        {
            "success": True,
            "subscription_id": subscription.pk,
            "subscription_token": sign_subscription(subscription),
        },
        status=201 if registration.is_new else 200,
    )
    if call.user is not None:
        remember_browser(call.request, response, subscription)
    return response


@api_view("unsubscribe", "POST", signs_in=True)
def unsubscribe(call: Call) -> HttpResponse:
    """End a subscription of the caller; doing so again is no error."""
    subscription = own_subscription(call, validated(EndpointForm, call.body)["endpoint"])
    retry_on_conflict(lambda: services.unsubscribe(subscription))
    return JsonResponse({"success": True, "message": _("Unsubscribed.")})


@api_view("preferences", "GET", "PUT", signs_in=True)
def preferences(call: Call) -> HttpResponse:
    """Show or replace the preferences of a subscription of the caller."""
    if call.request.method != "PUT":
        subscription = _active(call, validated(EndpointForm, call.request.GET.dict())["endpoint"])
        response = JsonResponse({"success": True, "preferences": subscription.preferences})
        if call.user is not None and subscription.user_id == call.user.pk:
            remember_browser(call.request, response, subscription)
        return response
    cleaned = validated(PreferencesForm, call.body)
    subscription = _active(call, cleaned["endpoint"])
    retry_on_conflict(lambda: services.update_preferences(subscription, cleaned["preferences"]))
    message = _("Preferences saved.")
    return JsonResponse({"success": True, "message": message, "preferences": subscription.preferences})


@api_view("test", "POST", signs_in=True)
def test(call: Call) -> HttpResponse:
    """Send a test notification to a subscription of the caller; preferences do not hold it back."""
    subscription = _active(call, validated(EndpointForm, call.body)["endpoint"])
    result = services.send(
        subscription,
        _("Test notification"),
        _("Push notifications reach this browser."),
        critical=True,
        ttl=300,
        urgency="high",
        tag="webpush-kit-test",
    )
    key = result.notifications.values_list("pk", flat=True).first()
    if key is None:
        raise not_found()  # it was deactivated this very moment
    message = _("A test notification is on its way.")
    return JsonResponse({"success": True, "message": message, "notification_id": key})


@api_view("health", "GET", signs_in=True)
def health(call: Call) -> HttpResponse:
    """How delivery is doing: 200 when healthy or degraded, 503 when unhealthy. Staff get details."""
    is_staff = call.user is not None and getattr(call.user, "is_staff", False)
    if not is_staff and not kit_settings.HEALTH_PUBLIC:
        raise not_authenticated() if call.user is None else ApiError(403, "forbidden", _("Only staff may see this."))
    state = get_health(details=is_staff)
    return JsonResponse(state, status=http_status(state))


@api_view("config", "GET")
def config(call: Call) -> HttpResponse:
    """What a page needs to subscribe: public key, notification types, URLs."""
    names = ("subscribe", "unsubscribe", "preferences", "test", "events")
    response = JsonResponse(
        {
            "success": True,
            "public_key": _public_key(),
            "types": {
                name: {"label": str(kind.get("label", name)), "default": bool(kind.get("default", True))}
                for name, kind in kit_settings.NOTIFICATION_TYPES.items()
            },
            "urls": {
                **{name: _url(call.request, name) for name in names},
                "service_worker": _url(call.request, "service-worker"),
            },
            "service_worker_scope": kit_settings.SERVICE_WORKER_SCOPE,
        }
    )
    patch_vary_headers(response, ["Accept-Language"])
    return _revalidated(call.request, response)


@api_view("events", "POST")
def events(call: Call) -> HttpResponse:
    """Record what browsers report; `recorded` counts what was new. Events with a bad token are left out."""
    given = validated(EventsForm, call.body)["events"]
    signed = [
        reports.Event(*named, event["action"], _button(event), event["timestamp"])
        for event in given
        if (named := reports.notification_of(event["token"])) is not None
    ]
    if not signed:
        raise invalid({"events": [_("No event has a valid token.")]})
    return JsonResponse({"success": True, "recorded": reports.record(signed)})


@api_view("open", "GET")
def open_notification(call: Call, token: str) -> HttpResponse:
    """Record a click and redirect to the URL stored with the notification, or with its button `?action=`."""
    notification = reports.find_notification(token)
    if notification is None:
        raise not_found(_("There is no such notification."))
    action = call.request.GET.get("action", "")
    if action and not reports.has_button(notification, action):
        action = ""
    if call.request.method == "GET":  # HEAD is how mail scanners look at links
        reports.record_click(notification, action)
    response = HttpResponseRedirect(reports.click_target(notification, action) or "/")
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@api_view("openapi", "GET")
def openapi(call: Call) -> HttpResponse:
    """Serve the OpenAPI 3.1 document, with the prefix under which this host serves the API."""
    document = json.loads(_text(OPENAPI))
    document["servers"] = [{"url": _base(call.request).rstrip("/")}]
    return _revalidated(call.request, JsonResponse(document))


@api_view("service-worker", "GET")
def service_worker(call: Call) -> HttpResponse:
    """Serve the service worker, allowed to control the whole site, told where the API is."""
    known = {"baseUrl": _base(call.request)}
    if key := _public_key():
        known["publicKey"] = key
    # What the host's own worker has set before importing this one wins.
    first_line = f"self.WEBPUSH_KIT = {{ ...{json.dumps(known)}, ...self.WEBPUSH_KIT }};\n"
    response = HttpResponse(first_line + _text(WORKER), content_type="text/javascript; charset=utf-8")
    response.headers["Service-Worker-Allowed"] = kit_settings.SERVICE_WORKER_SCOPE
    return _revalidated(call.request, response)


def _browser(call: Call, cleaned: dict[str, Any]) -> BrowserSubscription:
    subscription = cleaned["subscription"]
    try:
        return BrowserSubscription.check(
            endpoint=subscription["endpoint"],
            p256dh=subscription["keys"]["p256dh"],
            auth=subscription["keys"]["auth"],
            expiration_time=subscription["expirationTime"],
            # The module sends {} when the page says nothing about preferences.
            preferences=None if cleaned["preferences"] == {} else cleaned["preferences"],
            language=cleaned["language"],
            timezone=cleaned["timezone"],
            **client_info(call.request),
        )
    except InvalidSubscription as error:
        raise invalid({PATHS.get(error.field, error.field): [str(error)]}) from None


PATHS = {
    "endpoint": "subscription.endpoint",
    "p256dh": "subscription.keys.p256dh",
    "auth": "subscription.keys.auth",
    "expirationTime": "subscription.expirationTime",
}


def _registered(call: Call, browser: BrowserSubscription, old_endpoint: str) -> Registration:
    """For the signed-in user; else for the owner of the browser's token; else for nobody, where that is allowed."""
    if call.user is not None:
        limit = kit_settings.MAX_SUBSCRIPTIONS_PER_USER
        return register(browser, user=call.user, old_endpoint=old_endpoint, limit=limit)
    claim = read_subscription_token(given_token(call))
    if claim is not None and is_latest(claim):
        return repair(browser, claim)
    if kit_settings.ALLOW_ANONYMOUS and not old_endpoint:
        return register(browser, keeps_owner=True)
    raise TokenVoid if given_token(call) else not_authenticated()


def _active(call: Call, endpoint: str) -> Any:
    subscription = own_subscription(call, endpoint)
    if not type(subscription).objects.active().filter(pk=subscription.pk).exists():
        raise not_found()
    return subscription


def _public_key() -> str:
    try:
        return vapid_keyring().current.public_key
    except ImproperlyConfigured:
        return ""  # the module then tells the page that the server has no key


def _button(event: dict[str, Any]) -> str:
    """Only a click on a button has one."""
    return event["action_id"] if event["action"] == ActionType.ACTION_CLICKED else ""


def _url(request: HttpRequest, name: str) -> str:
    match = request.resolver_match
    return reverse(f"{match.namespace if match else 'webpush_kit'}:{name}")


def _base(request: HttpRequest) -> str:
    return _url(request, "subscribe").removesuffix("subscribe")


def _revalidated(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Let the browser keep a copy, and ask each time whether it is still the latest."""
    etag = f'"{sha256(response.content).hexdigest()[:32]}"'
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = "no-cache"
    return get_conditional_response(request, etag=etag, response=response) or response


@lru_cache(maxsize=4)
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")

"""Which subscription a caller may act on: a user's own, or the one whose token the caller bears.

No answer tells a stranger whether an endpoint is known: one that nobody has and one that is someone else's get the
same 404.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django_webpush_kit.api.errors import invalid_token, not_authenticated, not_found, owner_changed
from django_webpush_kit.api.requests import ApiRequest
from django_webpush_kit.database import rows_of
from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.protocol.endpoints import Endpoint, endpoint_hash
from django_webpush_kit.tokens import SubscriptionClaim, primary_key, read_subscription_token


def own_subscription(request: ApiRequest, endpoint: str) -> Any:
    """The subscription with this endpoint, active or not, if the caller may act on it; 401 or 404 otherwise."""
    claim = _claim_of(request)
    for subscription in rows_of(get_subscription_model()).filter(endpoint_hash__in=_hashes(endpoint)):
        is_owner = request.user is not None and subscription.user_id == request.user.pk
        if is_owner or (claim is not None and claim.matches(subscription)):
            return subscription
    raise not_found()


def active_subscription(request: ApiRequest, endpoint: str) -> Any:
    """The same, if it is active, and not another user's than the one who is signed in."""
    subscription = own_subscription(request, endpoint)
    if not rows_of(type(subscription)).active().filter(pk=subscription.pk).exists():
        raise not_found()
    if request.user is not None and subscription.user_id not in (None, request.user.pk):
        raise owner_changed()
    return subscription


def given_token(request: ApiRequest) -> str:
    """The subscription token of the header, or of the body; "" without one."""
    token = request.http.headers.get("X-Subscription-Token") or request.body.get("subscription_token")
    return token if isinstance(token, str) else ""


def latest_claim(token: str) -> SubscriptionClaim | None:
    """What a subscription token says, if all of it is still true of its subscription."""
    claim = read_subscription_token(token)
    key = None if claim is None else primary_key(get_subscription_model(), claim.subscription_id)
    if claim is None or key is None:
        return None
    subscription = rows_of(get_subscription_model()).filter(pk=key).first()
    return claim if subscription is not None and claim.matches(subscription) else None


def _claim_of(request: ApiRequest) -> SubscriptionClaim | None:
    """What the caller's token proves; 401 for a caller who is not signed in and has no valid token."""
    token = given_token(request)
    if request.user is None and not token:
        raise not_authenticated()
    claim = latest_claim(token)
    if request.user is None and claim is None:
        raise invalid_token()
    return claim


def _hashes(endpoint: str) -> set[str]:
    """Return the hashes of the endpoint as it came and as `subscribe` stores it."""
    hashes = {endpoint_hash(endpoint)}
    with suppress(InvalidSubscription):
        hashes.add(Endpoint.parse(endpoint).hash)
    return hashes

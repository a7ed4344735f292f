"""Authorization: which subscription the caller may act on.

A signed-in user may act on their own subscriptions, a browser on the one that its subscription token identifies. An
unknown endpoint and one that belongs to somebody else get the same 404, so nobody can find out which endpoints exist.
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
    """Return the caller's subscription with this endpoint, active or not. Raises the 401 or 404 error otherwise."""
    claim = _claim_of(request)
    for subscription in rows_of(get_subscription_model()).filter(endpoint_hash__in=_hashes(endpoint)):
        is_owner = request.user is not None and subscription.user_id == request.user.pk
        if is_owner or (claim is not None and claim.matches(subscription)):
            return subscription
    raise not_found()


def active_subscription(request: ApiRequest, endpoint: str) -> Any:
    """Return the subscription if it is also active and does not belong to another user than the signed-in one."""
    subscription = own_subscription(request, endpoint)
    if not rows_of(type(subscription)).active().filter(pk=subscription.pk).exists():
        raise not_found()
    if request.user is not None and subscription.user_id not in (None, request.user.pk):
        raise owner_changed()
    return subscription


def has_endpoint(subscription: Any, endpoint: str) -> bool:
    """Return whether this is the subscription with that endpoint."""
    return subscription.endpoint_hash in _hashes(endpoint)


def given_token(request: ApiRequest) -> str:
    """Return the subscription token from the header or the body, or ""."""
    token = request.http.headers.get("X-Subscription-Token") or request.body.get("subscription_token")
    return token if isinstance(token, str) else ""


def latest_claim(token: str) -> SubscriptionClaim | None:
    """Return the claim of a subscription token, or None if the token is invalid or no longer the latest one."""
    claim = read_subscription_token(token)
    key = None if claim is None else primary_key(get_subscription_model(), claim.subscription_id)
    if claim is None or key is None:
        return None
    subscription = rows_of(get_subscription_model()).filter(pk=key).first()
    return claim if subscription is not None and claim.matches(subscription) else None


def _claim_of(request: ApiRequest) -> SubscriptionClaim | None:
    """Return the claim of the caller's token. Raises the 401 error if there is neither a user nor a valid token."""
    token = given_token(request)
    if request.user is None and not token:
        raise not_authenticated()
    claim = latest_claim(token)
    if request.user is None and claim is None:
        raise invalid_token()
    return claim


def _hashes(endpoint: str) -> set[str]:
    """Return the hashes of the endpoint as received and as `subscribe` stores it (normalized)."""
    hashes = {endpoint_hash(endpoint)}
    with suppress(InvalidSubscription):
        hashes.add(Endpoint.parse(endpoint).hash)
    return hashes

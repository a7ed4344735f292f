"""Whose subscription it is: a user's own, or the one that the bearer of its token comes from.

No answer here tells a stranger whether an endpoint is known: one that nobody has and one that is someone else's are
the same 404.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django_webpush_kit.api.calls import Call
from django_webpush_kit.api.errors import invalid_token, not_authenticated, not_found
from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.protocol.endpoints import Endpoint, endpoint_hash
from django_webpush_kit.tokens import SubscriptionClaim, read_subscription_token


def own_subscription(call: Call, endpoint: str) -> Any:
    """The subscription with this endpoint, if the caller may act on it; 401 or 404 otherwise."""
    token = given_token(call)
    if call.user is None and not token:
        raise not_authenticated()
    model = get_subscription_model()
    claim = read_subscription_token(token)
    if call.user is None and (claim is None or not is_latest(claim)):
        raise invalid_token()
    for subscription in model.objects.filter(endpoint_hash__in=_hashes(endpoint)):
        is_owner = call.user is not None and subscription.user_id == call.user.pk
        if is_owner or (claim is not None and claim.matches(subscription)):
            return subscription
    raise not_found()


def given_token(call: Call) -> str:
    """The subscription token of the header, or of the body; "" without one."""
    token = call.request.headers.get("X-Subscription-Token") or call.body.get("subscription_token")
    return token if isinstance(token, str) else ""


def is_latest(claim: SubscriptionClaim) -> bool:
    """Whether everything the token says is still true."""
    subscription = get_subscription_model().objects.filter(pk=claim.subscription_id).first()
    return subscription is not None and claim.matches(subscription)


def _hashes(endpoint: str) -> set[str]:
    """Return the hashes of the endpoint as it came and as `subscribe` stores it."""
    hashes = {endpoint_hash(endpoint)}
    with suppress(InvalidSubscription):
        hashes.add(Endpoint.parse(endpoint).hash)
    return hashes

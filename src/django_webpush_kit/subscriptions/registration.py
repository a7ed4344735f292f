"""Storing browsers' subscriptions: whose they become, what a new endpoint replaces, and what a race may not break.

Every change starts with an UPDATE of the row of that endpoint: that locks it on every database, and on SQLite takes
the write lock before anything is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connections, transaction
from django.utils import timezone as django_timezone

from django_webpush_kit import conf
from django_webpush_kit.database import outbox_database
from django_webpush_kit.exceptions import InvalidSubscription, KeyMismatch, TokenVoid, TooManySubscriptions
from django_webpush_kit.models import get_notification_model, get_subscription_model
from django_webpush_kit.option_checks import storable
from django_webpush_kit.protocol.encryption import parse_keys
from django_webpush_kit.protocol.endpoints import Endpoint, endpoint_hash
from django_webpush_kit.signals import NEW, NEW_OWNER, REACTIVATED, emit, subscription_created
from django_webpush_kit.states import NotificationStatus
from django_webpush_kit.subscriptions.deactivation import OWNER_CHANGED, deactivate_subscriptions
from django_webpush_kit.subscriptions.preferences import check_preferences, find_zone
from django_webpush_kit.tokens import SubscriptionClaim

REPLACED = "replaced by another subscription of the same browser"

RACES = 3
"""How often the same insert may be lost to another request before the error is raised."""


@dataclass(frozen=True, slots=True)
class Registration:
    """The stored subscription; `joined` says why its user has one browser more than before, "" when not."""

    subscription: Any
    joined: str

    @property
    def is_new(self) -> bool:
        """Whether the row is new."""
        return self.joined == NEW


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserSubscription:
    """What a browser says about itself; make it with `check`."""

    endpoint: Endpoint
    p256dh: str
    auth: str
    expiration_time: datetime | None = None
    preferences: Mapping[str, Any] | None = None
    language: str = ""
    timezone: str = ""
    user_agent: str = ""
    ip_address: str | None = None

    @classmethod
    def check(
        cls,
        *,
        endpoint: str,
        p256dh: str,
        auth: str,
        expiration_time: datetime | None = None,
        preferences: Mapping[str, Any] | None = None,
        language: str = "",
        timezone: str = "",
        user_agent: str = "",
        ip_address: str | None = None,
    ) -> BrowserSubscription:
        """Return the values as they will be stored; raise `InvalidSubscription` naming the field that cannot be."""
        checked_endpoint = conf.endpoint_policy().check(endpoint)
        parse_keys(p256dh, auth)
        if expiration_time is not None and expiration_time <= django_timezone.now():
            raise InvalidSubscription("The subscription's expirationTime has passed.", field="expirationTime")
        return cls(
            endpoint=checked_endpoint,
            p256dh=p256dh,
            auth=auth,
            expiration_time=expiration_time,
            preferences=None if preferences is None else check_preferences(preferences),
            language=_language(language),
            timezone=timezone if find_zone(timezone) else "",
            user_agent=storable(user_agent),
            ip_address=ip_address,
        )


def register(
    browser: BrowserSubscription,
    *,
    user: Any = None,
    old_endpoint: str = "",
    limit: int | None = None,
    keeps_owner: bool = False,
) -> Registration:
    """Store a browser's subscription for `user` (None: anonymous).

    The same endpoint with the same keys is the same browser: it moves to `user`, and what was pending for the owner
    before is cancelled; with `keeps_owner` an active one stays its owner's instead. `old_endpoint` is one of the
    user's own that this one replaces. Raises `KeyMismatch`, and `TooManySubscriptions` above `limit` active ones.
    """
    return _in_transaction(lambda: _register(browser, user, old_endpoint, limit, keeps_owner))


def repair(browser: BrowserSubscription, claim: SubscriptionClaim) -> Registration:
    """Replace the subscription of a token by what the same browser has now, for the same owner.

    Raises `TokenVoid` when the token is not the latest, and `KeyMismatch` when the endpoint is someone else's.
    """
    return _in_transaction(lambda: _repair(browser, claim))


def new_subscription(browser: BrowserSubscription, owner: Any, *, vapid_key_id: str = "") -> Any:
    """A subscription for the user with the primary key `owner`, not saved; made with the current VAPID key or this."""
    subscription = get_subscription_model()(user_id=owner, endpoint=browser.endpoint.url, vapid_key_id=vapid_key_id)
    _copy(browser, subscription)
    return subscription


def _in_transaction(change: Callable[[], Registration]) -> Registration:
    registration = _committed(change)
    if registration.joined:
        subscription = registration.subscription
        emit(subscription_created, type(subscription), subscription=subscription, reason=registration.joined)
    return registration


def _committed(change: Callable[[], Registration]) -> Registration:
    for _attempt in range(RACES - 1):
        # Another request may insert this endpoint after we have looked: the next look finds its row.
        with suppress(IntegrityError), transaction.atomic(using=outbox_database()):
            return change()
    with transaction.atomic(using=outbox_database()):
        return change()


def _register(
    browser: BrowserSubscription, user: Any, old_endpoint: str, limit: int | None, keeps_owner: bool
) -> Registration:
    owner = None if user is None else user.pk
    row = _locked(endpoint_hash=browser.endpoint.hash)
    old = None
    if old_endpoint and owner is not None:
        old = _locked(endpoint_hash=endpoint_hash(old_endpoint), user=owner)
    if row is not None:
        _check_keys(row, browser)
        if keeps_owner and row.is_active:
            owner = row.user_id if owner is None else owner
    kept = row or old
    counts_already = kept is not None and kept.is_active and kept.user_id == owner
    if limit is not None and owner is not None and not counts_already:
        _check_limit(user, limit)
    if kept is None:
        return Registration(_insert(browser, owner), NEW)
    joined = _refresh(kept, browser, owner)
    if old is not None and old.pk != kept.pk:
        _absorb(old, kept)
    return Registration(kept, joined)


def _repair(browser: BrowserSubscription, claim: SubscriptionClaim) -> Registration:
    row = _locked(endpoint_hash=browser.endpoint.hash)
    claimed = _locked(pk=claim.subscription_id)
    if claimed is None or not claim.matches(claimed):
        raise TokenVoid
    if row is None:
        row = claimed
    else:
        _check_keys(row, browser)
        if row.user_id != claimed.user_id:
            raise KeyMismatch
    joined = _refresh(row, browser, claimed.user_id)
    if row.pk != claimed.pk:
        _absorb(claimed, row)
    return Registration(row, joined)


def _locked(**lookup: Any) -> Any:
    """The subscription, locked until the transaction ends; None when there is none."""
    rows = get_subscription_model().objects.filter(**lookup)
    if not rows.update(updated_at=django_timezone.now()):
        return None
    return rows.select_for_update().get()


def _insert(browser: BrowserSubscription, owner: Any) -> Any:
    subscription = new_subscription(browser, owner)
    subscription.save(force_insert=True)
    return subscription


def _refresh(subscription: Any, browser: BrowserSubscription, owner: Any) -> str:
    """Write what the browser says, and void the token it had; returns why it has joined its user's, "" when not."""
    joined = _joined(subscription, owner)
    if subscription.user_id != owner:
        get_notification_model().objects.filter(subscription=subscription.pk).cancel(OWNER_CHANGED)
        if subscription.user_id is not None:
            subscription.preferences = {}
    _copy(browser, subscription)
    subscription.user_id = owner
    subscription.token_version += 1
    subscription.is_active = True
    subscription.deactivated_at = None
    subscription.deactivation_reason = ""
    subscription.save(force_update=True)
    return joined


def _joined(subscription: Any, owner: Any) -> str:
    """Why the owner's messages did not reach this browser until now; "" when they did."""
    if subscription.user_id != owner:
        return NEW_OWNER
    has_expired = subscription.expiration_time is not None and subscription.expiration_time <= django_timezone.now()
    return REACTIVATED if has_expired or not subscription.is_active else ""


def _copy(browser: BrowserSubscription, subscription: Any) -> None:
    is_same = endpoint_hash(subscription.endpoint) == browser.endpoint.hash
    subscription.endpoint = browser.endpoint.url
    subscription.endpoint_hash = browser.endpoint.hash
    subscription.p256dh_key = browser.p256dh
    subscription.auth_key = browser.auth
    subscription.expiration_time = browser.expiration_time
    subscription.push_service = browser.endpoint.push_service
    if not (is_same and subscription.vapid_key_id):
        # An endpoint stays with the key it was made with, also after a rotation.
        subscription.vapid_key_id = _current_key_id()
    subscription.user_agent = browser.user_agent
    subscription.ip_address = browser.ip_address
    # What the browser does not say this time stays as it was.
    subscription.language = browser.language or subscription.language
    subscription.timezone = browser.timezone or subscription.timezone
    if browser.preferences is not None:
        subscription.preferences = dict(browser.preferences)


def _absorb(old: Any, new: Any) -> None:
    """End a subscription whose browser has another one by now; what is pending for it goes there."""
    pending = get_notification_model().objects.filter(subscription=old.pk, status=NotificationStatus.PENDING)
    pending.update(subscription=new.pk)
    deactivate_subscriptions(get_subscription_model().objects.filter(pk=old.pk), REPLACED)


def _check_keys(subscription: Any, browser: BrowserSubscription) -> None:
    stored = _canonical_keys(subscription.p256dh_key, subscription.auth_key)
    if not compare_digest(stored, _canonical_keys(browser.p256dh, browser.auth)):
        raise KeyMismatch


def _canonical_keys(p256dh: str, auth: str) -> bytes:
    keys = parse_keys(p256dh, auth)
    return keys.p256dh + keys.auth


def _check_limit(user: Any, limit: int) -> None:
    """Count under a lock on the user's row, so that subscribing in parallel does not pass the limit."""
    features = connections[outbox_database()].features
    users = get_user_model()._base_manager.using(outbox_database())
    list(users.select_for_update(no_key=features.has_select_for_no_key_update).filter(pk=user.pk).values_list("pk"))
    if get_subscription_model().objects.for_user(user).active().count() >= limit:
        raise TooManySubscriptions(f"This user has {limit} active subscriptions; no more are allowed.")


def _current_key_id() -> str:
    try:
        return conf.vapid_keyring().current.key_id
    except ImproperlyConfigured:
        return ""


_LANGUAGE = re.compile(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8})*")


def _language(language: str) -> str:
    """A language tag in lower case; "" for anything else, which no template could match."""
    tag = language.lower().replace("_", "-")
    return tag if len(tag) <= 35 and _LANGUAGE.fullmatch(tag) else ""

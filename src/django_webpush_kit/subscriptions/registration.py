"""Create, renew, merge and move subscriptions, safe under concurrent requests.

`services.subscribe` and the HTTP API both call `register`. Every change starts with an UPDATE, which locks the row on
every database. On SQLite it takes the write lock before the first read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from typing import Any

from django.db import IntegrityError
from django.utils import timezone as django_timezone

from django_webpush_kit import conf
from django_webpush_kit.database import atomic_with_retry, outbox_database, rows_of
from django_webpush_kit.exceptions import InvalidSubscription, KeyMismatch
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model
from django_webpush_kit.protocol.encryption import parse_keys
from django_webpush_kit.protocol.endpoints import endpoint_hash
from django_webpush_kit.signals import NEW, NEW_OWNER, REACTIVATED, emit, subscription_created
from django_webpush_kit.states import UNFINISHED, NotificationStatus
from django_webpush_kit.subscriptions.browsers import BrowserSubscription
from django_webpush_kit.subscriptions.deactivation import (
    announce_deactivation,
    cancel_for_former_owner,
    mark_inactive,
)
from django_webpush_kit.subscriptions.registrants import Registrant, lock_subscription
from django_webpush_kit.tokens import primary_key

REPLACED = "replaced by another subscription of the same browser"

DUPLICATE = "The browser receives this notification through its newer subscription"

INSERT_ATTEMPTS = 3
"""Attempts to insert before an IntegrityError is re-raised."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A stored subscription.

    `joined` is the reason if its user has gained a browser: "new", "new_owner" or "reactivated"; otherwise "".
    """

    subscription: Any
    joined: str

    @property
    def is_new(self) -> bool:
        """Whether the row is new."""
        return self.joined == NEW


def register(browser: BrowserSubscription, registrant: Registrant) -> Registration:
    """Store a browser's subscription and return it.

    A known endpoint with the same keys is the same browser. If its owner changes, pending notifications of the previous
    owner are cancelled. Raises `KeyMismatch` for other keys, and the exceptions of the registrant.
    """
    change = _insert_or_look_again(browser, registrant)
    subscription, model = change.subscription, type(change.subscription)
    if change.ended is not None:
        announce_deactivation([change.ended.pk], REPLACED, change.ended.moment)
    if change.joined:
        emit(subscription_created, model, subscription=subscription, reason=change.joined)
    return Registration(subscription, change.joined)


def new_subscription(browser: BrowserSubscription, owner: Any, *, vapid_key_id: str = "") -> Any:
    """Return an unsaved subscription for the user with primary key `owner`. The default key is the current one."""
    subscription = get_subscription_model()(user_id=owner, endpoint=browser.endpoint.url, vapid_key_id=vapid_key_id)
    _copy(browser, subscription)
    return subscription


@dataclass(frozen=True, slots=True)
class _Ended:
    """A subscription that was deactivated, and the time."""

    pk: Any
    moment: datetime


@dataclass(frozen=True, slots=True)
class _Change:
    """The result of a transaction."""

    subscription: Any
    joined: str
    ended: _Ended | None = None


def _insert_or_look_again(browser: BrowserSubscription, registrant: Registrant) -> _Change:
    """Register. If another request inserts the endpoint at the same time, retry and find its row."""
    for _attempt in range(INSERT_ATTEMPTS - 1):
        try:
            return _register(browser, registrant)
        except IntegrityError:
            continue
    return _register(browser, registrant)


@atomic_with_retry
def _register(browser: BrowserSubscription, registrant: Registrant) -> _Change:
    current = lock_subscription(endpoint_hash=browser.endpoint.hash)
    previous = registrant.lock_previous()
    if current is not None:
        _check_keys(current, browser)
    owner = registrant.owner(current, previous)
    kept = current or previous
    registrant.check_limit(kept)
    if kept is None:
        return _Change(_insert(browser, owner), NEW)
    joined = _renew(kept, browser, owner)
    ended = _merge(previous, kept) if previous is not None and previous.pk != kept.pk else None
    return _Change(kept, joined, ended)


def _insert(browser: BrowserSubscription, owner: Any) -> Any:
    subscription = new_subscription(browser, owner)
    subscription.save(force_insert=True, using=outbox_database())
    return subscription


_RENEWED = (
    "user",
    "endpoint",
    "p256dh_key",
    "auth_key",
    "expiration_time",
    "preferences",
    "is_active",
    "deactivated_at",
    "deactivation_reason",
    "vapid_key_id",
    "language",
    "timezone",
    "token_version",
    "user_agent",
    "ip_address",
)


def _renew(subscription: Any, browser: BrowserSubscription, owner: Any) -> str:
    """Write the browser's values and invalidate its previous token. Returns the value of `Registration.joined`."""
    joined = _joined(subscription, owner)
    if subscription.user_id != owner:
        cancel_for_former_owner(subscription)
        if subscription.user_id is not None:
            subscription.preferences = {}
    _copy(browser, subscription)
    subscription.user_id = owner
    subscription.token_version += 1
    subscription.is_active = True
    subscription.deactivated_at = None
    subscription.deactivation_reason = ""
    subscription.save(update_fields=_RENEWED, using=outbox_database())
    return joined


def _joined(subscription: Any, owner: Any) -> str:
    """Return why this browser is new to the owner: "new_owner", "reactivated" or ""."""
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
        # An endpoint belongs to the key it was created with, even after a key rotation.
        subscription.vapid_key_id = conf.current_key_id()
    subscription.user_agent = browser.user_agent
    subscription.ip_address = browser.ip_address
    # Values that the browser does not send are kept.
    subscription.language = browser.language or subscription.language
    subscription.timezone = browser.timezone or subscription.timezone
    if browser.preferences is not None:
        subscription.preferences = dict(browser.preferences)


def _merge(previous: Any, kept: Any) -> _Ended | None:
    """Deactivate `previous`, replaced by `kept`. Its pending notifications move to `kept`, without duplicates."""
    if previous.preferences and not kept.preferences:
        kept.preferences = previous.preferences
        kept.save(update_fields=["preferences"], using=outbox_database())
    pending = rows_of(get_notification_model()).filter(subscription=previous.pk).pending()
    batches = set(pending.values_list("batch", flat=True))
    pending.filter(batch__in=_batches_that_reach(kept, batches)).cancel(DUPLICATE)
    pending.update(subscription=kept.pk)
    moment = django_timezone.now()
    changed = mark_inactive(rows_of(type(previous)).filter(pk=previous.pk), REPLACED, moment)
    return _Ended(previous.pk, moment) if changed else None


def _batches_that_reach(subscription: Any, batches: set[Any]) -> set[Any]:
    """Return the batches with a row for the subscription, and broadcasts that will still reach it."""
    if not batches:
        return batches
    rows = rows_of(get_notification_model()).filter(subscription=subscription.pk, batch__in=batches)
    reached = rows.filter(status__in=(*UNFINISHED, NotificationStatus.SENT)).values_list("batch", flat=True)
    status = PushBroadcast.Status
    broadcasts = rows_of(PushBroadcast).filter(batch__in=batches, status__in=(status.RUNNING, status.PAUSED))
    coming = (
        batch
        for batch, cursor in broadcasts.values_list("batch", "cursor")
        if cursor and subscription.pk > primary_key(type(subscription), cursor)
    )
    return {*reached, *coming}


def _check_keys(subscription: Any, browser: BrowserSubscription) -> None:
    try:
        stored = _canonical_keys(subscription.p256dh_key, subscription.auth_key)
    except InvalidSubscription:
        raise KeyMismatch from None  # stored without validation
    if not compare_digest(stored, _canonical_keys(browser.p256dh, browser.auth)):
        raise KeyMismatch


def _canonical_keys(p256dh: str, auth: str) -> bytes:
    keys = parse_keys(p256dh, auth)
    return keys.p256dh + keys.auth

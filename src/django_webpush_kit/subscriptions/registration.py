"""Create, renew, merge and move subscriptions, safe under concurrent requests.

`services.subscribe` and the HTTP API both call `register`. Every change starts with an UPDATE, which locks the row on
every database. On SQLite it takes the write lock before the first read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address
from typing import Any, Protocol

from django.contrib.auth import get_user_model
from django.db import IntegrityError, connections
from django.utils import timezone as django_timezone
from django.utils.functional import Promise

from django_webpush_kit import conf
from django_webpush_kit.database import atomic_with_retry, outbox_database, rows_of
from django_webpush_kit.exceptions import InvalidSubscription, KeyMismatch, TokenVoid, TooManySubscriptions
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model
from django_webpush_kit.option_checks import storable
from django_webpush_kit.protocol.encryption import parse_keys
from django_webpush_kit.protocol.endpoints import Endpoint, endpoint_hash
from django_webpush_kit.signals import NEW, NEW_OWNER, REACTIVATED, emit, subscription_created
from django_webpush_kit.states import UNFINISHED, NotificationStatus
from django_webpush_kit.subscriptions.deactivation import (
    announce_deactivation,
    cancel_for_former_owner,
    mark_inactive,
)
from django_webpush_kit.subscriptions.languages import language_tag
from django_webpush_kit.subscriptions.preferences import check_preferences, find_zone
from django_webpush_kit.tokens import SubscriptionClaim, primary_key

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


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserSubscription:
    """Validated values of a browser. Create it with `check`."""

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
        expiration_time: datetime | float | None = None,
        preferences: Mapping[str, Any] | None = None,
        language: str | None = "",
        timezone: str | None = "",
        user_agent: str | None = "",
        ip_address: str | None = None,
    ) -> BrowserSubscription:
        """Return validated values. Raises `InvalidSubscription` that names the invalid field.

        `expiration_time` is an aware datetime, or milliseconds since 1970 as browsers send it.
        """
        checked_endpoint = conf.endpoint_policy().check(endpoint)
        parse_keys(p256dh, auth)
        return cls(
            endpoint=checked_endpoint,
            p256dh=p256dh,
            auth=auth,
            expiration_time=_checked_expiration(expiration_time),
            preferences=None if preferences is None else check_preferences(preferences),
            language=_checked_language(language),
            timezone=_checked_time_zone(timezone),
            user_agent=_checked_text("user_agent", user_agent),
            ip_address=_checked_address(ip_address),
        )


class Registrant(Protocol):
    """Decides who may own a subscription. Its methods are called inside the transaction."""

    def lock_previous(self) -> Any:
        """Lock and return the browser's previous row with another endpoint, or None."""

    def owner(self, current: Any, previous: Any) -> Any:
        """Return the primary key of the new owner, or None for no owner.

        `current` is the existing row with the browser's endpoint, or None.
        """

    def check_limit(self, kept: Any) -> None:
        """Raise `TooManySubscriptions` if the owner has reached the limit. `kept` is the row to renew, or None."""


@dataclass(frozen=True, slots=True)
class ByUser:
    """Moves the browser to `user` (None: no owner) from any previous owner.

    `old_endpoint` is an endpoint of the same user that the new one replaces. `limit` is the maximum number of the
    user's active subscriptions.
    """

    user: Any
    old_endpoint: str = ""
    limit: int | None = None

    def lock_previous(self) -> Any:
        """Return the user's row with the old endpoint."""
        if self.user is None or not self.old_endpoint:
            return None
        return _locked(endpoint_hash=endpoint_hash(self.old_endpoint), user=self.user.pk)

    def owner(self, current: Any, previous: Any) -> Any:
        """Return the user."""
        return None if self.user is None else self.user.pk

    def check_limit(self, kept: Any) -> None:
        """Count under a lock on the user's row, so that concurrent requests cannot exceed the limit."""
        if self.user is None or self.limit is None:
            return
        if kept is not None and kept.is_active and kept.user_id == self.user.pk:
            return  # it is already counted
        features = connections[outbox_database()].features
        users = get_user_model()._base_manager.using(outbox_database()).filter(pk=self.user.pk)
        list(users.select_for_update(no_key=features.has_select_for_no_key_update).values_list("pk"))
        if rows_of(get_subscription_model()).for_user(self.user.pk).active().count() >= self.limit:
            raise TooManySubscriptions(f"This user has reached the limit of {self.limit} active subscriptions.")


@dataclass(frozen=True, slots=True)
class ByToken:
    """Keeps the owner of the row that the browser's subscription token identifies."""

    claim: SubscriptionClaim

    def lock_previous(self) -> Any:
        """Return the row that the token identifies. Raises `TokenVoid` if the token is not the latest one."""
        key = primary_key(get_subscription_model(), self.claim.subscription_id)
        claimed = None if key is None else _locked(pk=key)
        if claimed is None or not self.claim.matches(claimed):
            raise TokenVoid
        return claimed

    def owner(self, current: Any, previous: Any) -> Any:
        """Return the owner of the identified row. Raises `KeyMismatch` if the endpoint belongs to another user."""
        if current is not None and current.user_id != previous.user_id:
            raise KeyMismatch
        return previous.user_id

    def check_limit(self, kept: Any) -> None:
        """Do nothing: the browser is already counted."""


@dataclass(frozen=True, slots=True)
class ByAnyone:
    """For requests without credentials: active subscriptions keep their owner, others get no owner."""

    def lock_previous(self) -> Any:
        """Return None: without credentials no other subscription is replaced."""
        return None

    def owner(self, current: Any, previous: Any) -> Any:
        """Return the owner of the active row, or None."""
        return current.user_id if current is not None and current.is_active else None

    def check_limit(self, kept: Any) -> None:
        """Do nothing: only the rate limit applies to subscriptions without an owner."""


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
    current = _locked(endpoint_hash=browser.endpoint.hash)
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


def _locked(**lookup: Any) -> Any:
    """Return the subscription, locked until the end of the transaction, or None."""
    rows = rows_of(get_subscription_model()).filter(**lookup)
    if not rows.update(updated_at=django_timezone.now()):
        return None
    return rows.select_for_update().get()


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


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def _checked_expiration(value: object) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            value = _EPOCH + timedelta(milliseconds=value)
        except (OverflowError, ValueError):
            raise _invalid("expiration_time", f"is out of range: {value!r}") from None
    if not isinstance(value, datetime) or django_timezone.is_naive(value):
        raise _invalid("expiration_time", "must be an aware datetime, or milliseconds since 1970, or None")
    if value <= django_timezone.now():
        raise _invalid("expiration_time", "has passed")
    return value


def _checked_language(value: object) -> str:
    tag = language_tag(_checked_text("language", value))
    if tag is None:
        raise _invalid("language", f'must be a language tag such as "de" or "pt-br", not {str(value)[:50]!r}')
    return tag


def _checked_time_zone(value: object) -> str:
    name = _checked_text("timezone", value)
    if name and find_zone(name) is None:
        raise _invalid("timezone", f'must be an IANA time zone such as "Europe/Berlin", not {name[:50]!r}')
    return name


def _checked_text(name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str | Promise):
        raise _invalid(name, f"must be text or None, not {type(value).__name__}")
    return storable(str(value))


def _checked_address(value: object) -> str | None:
    if value is None or value == "":
        return None
    try:
        address = ip_address(str(value))
    except ValueError:
        raise _invalid("ip_address", f"must be an IP address, not {str(value)[:50]!r}") from None
    # databases do not accept a scope such as %eth0
    return str(IPv6Address(int(address)) if isinstance(address, IPv6Address) else address)


def _invalid(name: str, problem: str) -> InvalidSubscription:
    return InvalidSubscription(f"{name} {problem}.", field=name)

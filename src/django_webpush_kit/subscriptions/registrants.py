"""Who registers a browser, and who then owns its subscription: a user, the owner of a token, or nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from django.contrib.auth import get_user_model
from django.db import connections
from django.utils import timezone

from django_webpush_kit.database import outbox_database, rows_of
from django_webpush_kit.exceptions import KeyMismatch, TokenVoid, TooManySubscriptions
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.protocol.endpoints import endpoint_hash
from django_webpush_kit.tokens import SubscriptionClaim, primary_key


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
        return lock_subscription(endpoint_hash=endpoint_hash(self.old_endpoint), user=self.user.pk)

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
        claimed = None if key is None else lock_subscription(pk=key)
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


def lock_subscription(**lookup: Any) -> Any:
    """Return the subscription, locked until the end of the transaction, or None."""
    rows = rows_of(get_subscription_model()).filter(**lookup)
    if not rows.update(updated_at=timezone.now()):
        return None
    return rows.select_for_update().get()

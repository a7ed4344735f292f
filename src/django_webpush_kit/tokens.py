"""Signed tokens: what a browser proves when it reports an event or repairs its own subscription.

Both are HMACs under SECRET_KEY (and SECRET_KEY_FALLBACKS), so nothing has to be stored for a notification that may
never be reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, Signer, TimestampSigner, b64_encode
from django.utils.crypto import salted_hmac
from django.utils.encoding import force_bytes

EVENT_SALT = "django_webpush_kit.event"
_SIGNATURE_SALT = f"{EVENT_SALT}signer"  # what Django's signers make of a salt
SUBSCRIPTION_SALT = "django_webpush_kit.subscription"
USER_SALT = "django_webpush_kit.user"


def sign_notification(notification_id: object) -> str:
    """The token a payload carries: names its notification, and when it was made."""
    return notification_signer().sign(str(notification_id))


def notification_signer() -> TimestampSigner:
    """The signer of `sign_notification`, for those who sign many at a moment: it reads settings and the clock once."""
    return _NotificationSigner()


def read_notification_token(token: str, *, max_age: timedelta) -> str | None:
    """The notification's primary key as text, or None for a forged, damaged or old token."""
    try:
        return notification_signer().unsign(token, max_age=max_age)
    except BadSignature:
        return None


class _NotificationSigner(TimestampSigner):
    """Makes the signatures of its base class, which derives the key and reads the clock anew for each."""

    def __init__(self) -> None:
        super().__init__(salt=EVENT_SALT)
        self._derived = lru_cache(maxsize=8)(
            lambda key: salted_hmac(_SIGNATURE_SALT, "", key, algorithm=self.algorithm)
        )
        self._made_at = super().timestamp()

    def timestamp(self) -> str:
        return self._made_at

    def signature(self, value: str | bytes, key: str | bytes | None = None) -> str:
        code = self._derived(key or self.key).copy()
        code.update(force_bytes(value))
        return b64_encode(code.digest()).decode()


@dataclass(frozen=True, slots=True)
class SubscriptionClaim:
    """What a valid subscription token says; it holds only while all of it is still true of the row."""

    subscription_id: str
    user_id: str
    token_version: int
    endpoint_hash: str

    def matches(self, subscription: Any) -> bool:
        """Whether the subscription is still the same browser's, the same owner's, active, and this token the latest."""
        return bool(subscription.is_active) and self == _claim(subscription)


def sign_subscription(subscription: Any) -> str:
    """The token its browser keeps; made void by a new `token_version`, another owner, endpoint, or deactivation."""
    claim = _claim(subscription)
    return Signer(salt=SUBSCRIPTION_SALT).sign_object(
        [claim.subscription_id, claim.user_id, claim.token_version, claim.endpoint_hash]
    )


def read_subscription_token(token: str) -> SubscriptionClaim | None:
    """What the token claims, or None for a forged or damaged one. Compare with `SubscriptionClaim.matches`."""
    try:
        subscription_id, user_id, token_version, endpoint_hash = Signer(salt=SUBSCRIPTION_SALT).unsign_object(token)
    except (BadSignature, ValueError, TypeError):
        return None
    return SubscriptionClaim(subscription_id, user_id, token_version, endpoint_hash)


def user_mark(user_id: object) -> str:
    """Opaque text of 16 characters that differs from one user to the next; "" for None, nobody.

    It lets a browser notice that another person uses it. It names nobody, and differs from site to site.
    """
    if user_id is None:
        return ""
    return salted_hmac(USER_SALT, str(user_id), algorithm="sha256").hexdigest()[:16]


def primary_key(model: Any, text: object) -> Any:
    """The primary key of `model` that was signed as `text`; None for text that is no key of it.

    Keys signed before a model got another type of primary key are such text.
    """
    try:
        return model._meta.pk.to_python(text)
    except ValidationError:
        return None


def _claim(subscription: Any) -> SubscriptionClaim:
    return SubscriptionClaim(
        subscription_id=str(subscription.pk),
        user_id="" if subscription.user_id is None else str(subscription.user_id),
        token_version=subscription.token_version,
        endpoint_hash=subscription.endpoint_hash,
    )

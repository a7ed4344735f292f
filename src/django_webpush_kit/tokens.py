"""Signed tokens: what a browser proves when it reports an event or repairs its own subscription.

Both are HMACs under SECRET_KEY (and SECRET_KEY_FALLBACKS), so nothing has to be stored for a notification that may
never be reported.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, Signer, TimestampSigner, b64_encode
from django.utils.crypto import salted_hmac
from django.utils.encoding import force_bytes

from django_webpush_kit.conf import current_scope

EVENT_SALT = "django_webpush_kit.event"
SUBSCRIPTION_SALT = "django_webpush_kit.subscription"
USER_SALT = "django_webpush_kit.user"


def scoped_salt(salt: str) -> str:
    """The salt with the current tenant (the setting `SCOPE`): the tokens of one tenant are void for the others."""
    scope = current_scope()
    return f"{salt}.{scope}" if scope else salt


class NotificationIdentity(NamedTuple):
    """What payloads and tokens call a notification: its primary key and its batch.

    A batch is a random UUID, so the name is unique for ever, also where another database, a restored backup or a second
    site on the same origin gives the same primary key to another notification. The key finds the row by its index.
    """

    key: str
    batch: UUID

    @classmethod
    def of(cls, notification: Any) -> NotificationIdentity:
        """The identity of a row of the outbox: anything with `pk` and `batch`."""
        return cls(str(notification.pk), notification.batch)

    @classmethod
    def parse(cls, text: str) -> NotificationIdentity | None:
        """Read what `str()` made; None for any other text."""
        key, _dot, batch = text.rpartition(".")
        try:
            return cls(key, UUID(bytes=urlsafe_b64decode(f"{batch}==")))
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.key}.{_short(self.batch)}"


@lru_cache(maxsize=256)
def _short(batch: UUID) -> str:
    """A UUID in 22 characters; the rows of one call share theirs."""
    return urlsafe_b64encode(batch.bytes).decode().rstrip("=")


def sign_notification(notification: Any) -> str:
    """The token that the payload of an outbox row carries: it holds the row's identity and the time of signing."""
    return notification_signer().sign(str(NotificationIdentity.of(notification)))


def notification_signer() -> TimestampSigner:
    """The signer of `sign_notification`, for those who sign many at a moment: it reads settings and the clock once."""
    return _NotificationSigner()


def read_notification_token(token: str, *, max_age: timedelta) -> NotificationIdentity | None:
    """The notification that a token names, or None for a forged, damaged or old token."""
    try:
        return NotificationIdentity.parse(notification_signer().unsign(token, max_age=max_age))
    except BadSignature:
        return None


class _NotificationSigner(TimestampSigner):
    """Makes the signatures of its base class, which derives the key and reads the clock anew for each."""

    def __init__(self) -> None:
        super().__init__(salt=scoped_salt(EVENT_SALT))
        salt = f"{scoped_salt(EVENT_SALT)}signer"  # what Django's signers make of a salt
        self._derived = lru_cache(maxsize=8)(lambda key: salted_hmac(salt, "", key, algorithm=self.algorithm))
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
    return _subscription_signer().sign_object(
        [claim.subscription_id, claim.user_id, claim.token_version, claim.endpoint_hash]
    )


def _subscription_signer() -> Signer:
    return Signer(salt=scoped_salt(SUBSCRIPTION_SALT))


def read_subscription_token(token: str) -> SubscriptionClaim | None:
    """What the token claims, or None for a forged or damaged one. Compare with `SubscriptionClaim.matches`."""
    try:
        subscription_id, user_id, token_version, endpoint_hash = _subscription_signer().unsign_object(token)
    except (BadSignature, ValueError, TypeError):
        return None
    return SubscriptionClaim(subscription_id, user_id, token_version, endpoint_hash)


def user_mark(user_id: object) -> str:
    """Opaque text of 16 characters that differs from one user to the next; "" for None, nobody.

    It lets a browser notice that another person uses it. It names nobody, and differs from site to site.
    """
    if user_id is None:
        return ""
    return salted_hmac(scoped_salt(USER_SALT), str(user_id), algorithm="sha256").hexdigest()[:16]


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

"""Signed tokens that browsers send to report an event or to repair their own subscription.

Both are HMACs under SECRET_KEY (and SECRET_KEY_FALLBACKS), so no token has to be stored.
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
    """Return the salt for the current tenant (the setting `SCOPE`). Other tenants refuse its tokens."""
    scope = current_scope()
    return f"{salt}.{scope}" if scope else salt


class NotificationIdentity(NamedTuple):
    """The identity of a notification in payloads and tokens: its primary key and its batch.

    The primary key finds the row by index. The batch, a random UUID, makes the identity unique: another database, a
    restored backup or a second site on the same origin may use the same primary key for another notification.
    """

    key: str
    batch: UUID

    @classmethod
    def of(cls, notification: Any) -> NotificationIdentity:
        """Return the identity of an outbox row, or of any object with `pk` and `batch`."""
        return cls(str(notification.pk), notification.batch)

    @classmethod
    def parse(cls, text: str) -> NotificationIdentity | None:
        """Parse the output of `str()`. Returns None for any other text."""
        key, _dot, batch = text.rpartition(".")
        try:
            return cls(key, UUID(bytes=urlsafe_b64decode(f"{batch}==")))
        except ValueError:
            return None

    def __str__(self) -> str:
        return identity_text(self.key, self.batch)


def identity_text(key: object, batch: UUID) -> str:
    """The text of a `NotificationIdentity`, without making one."""
    return f"{key}.{_short(batch)}"


@lru_cache(maxsize=256)
def _short(batch: UUID) -> str:
    """Encode a UUID in 22 characters. Cached, because the rows of one call share their batch."""
    return urlsafe_b64encode(batch.bytes).decode().rstrip("=")


def sign_notification(notification: Any) -> str:
    """Return the token for the payload of an outbox row. It contains the row's identity and the time of signing."""
    return notification_signer().sign(str(NotificationIdentity.of(notification)))


def notification_signer() -> TimestampSigner:
    """Return the signer of `sign_notification`, to sign many rows: it reads settings and the clock only once."""
    return _NotificationSigner()


def read_notification_token(token: str, *, max_age: timedelta) -> NotificationIdentity | None:
    """Return the notification named by a token, or None for a forged, damaged or old token."""
    try:
        return NotificationIdentity.parse(notification_signer().unsign(token, max_age=max_age))
    except BadSignature:
        return None


class _NotificationSigner(TimestampSigner):
    """Makes the same signatures as its base class, but derives the key and reads the clock only once."""

    def __init__(self) -> None:
        super().__init__(salt=scoped_salt(EVENT_SALT))
        salt = f"{scoped_salt(EVENT_SALT)}signer"  # Django's signers append this suffix
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
    """The content of a subscription token. The token is valid only while all of it matches the row."""

    subscription_id: str
    user_id: str
    token_version: int
    endpoint_hash: str

    def matches(self, subscription: Any) -> bool:
        """Return whether endpoint and owner are unchanged, the subscription is active and this token is the latest."""
        return bool(subscription.is_active) and self == _claim(subscription)


def sign_subscription(subscription: Any) -> str:
    """Return the token for the browser. A new `token_version`, owner or endpoint, or deactivation makes it invalid."""
    claim = _claim(subscription)
    return _subscription_signer().sign_object(
        [claim.subscription_id, claim.user_id, claim.token_version, claim.endpoint_hash]
    )


def _subscription_signer() -> Signer:
    return Signer(salt=scoped_salt(SUBSCRIPTION_SALT))


def read_subscription_token(token: str) -> SubscriptionClaim | None:
    """Return the content of a token, or None if it is forged or damaged. Check it with `SubscriptionClaim.matches`."""
    try:
        subscription_id, user_id, token_version, endpoint_hash = _subscription_signer().unsign_object(token)
    except (BadSignature, ValueError, TypeError):
        return None
    return SubscriptionClaim(subscription_id, user_id, token_version, endpoint_hash)


def user_mark(user_id: object) -> str:
    """Return 16 opaque characters that differ for each user and each site; "" for None.

    Browsers compare them to notice that another user has signed in. They do not reveal the user.
    """
    if user_id is None:
        return ""
    return salted_hmac(scoped_salt(USER_SALT), str(user_id), algorithm="sha256").hexdigest()[:16]


def primary_key(model: Any, text: object) -> Any:
    """Convert a signed text to a primary key of `model`. Returns None if it is not a valid key.

    A text may be invalid because the model's primary key had another type when it was signed.
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

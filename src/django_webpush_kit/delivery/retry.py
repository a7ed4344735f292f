"""When a row is tried again, and until when it makes sense."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.delivery.options import DEFAULT_TTL

MAX_EXPONENT = 30


def backoff_seconds(retries: int, *, base: float | None = None, cap: float | None = None) -> float:
    """A wait with full jitter: uniform between 0 and min(cap, base * 2 ** retries), in seconds.

    Full jitter spreads the retries of an outage best; see "Exponential Backoff And Jitter", AWS Architecture Blog.
    """
    base = kit_settings.RETRY_BASE_SECONDS if base is None else base
    cap = kit_settings.RETRY_CAP_SECONDS if cap is None else cap
    return random.uniform(0, min(cap, base * 2 ** min(retries, MAX_EXPONENT)))  # noqa: S311  # no secret


def deadline(due: datetime, options: dict[str, Any], expires_at: datetime | None) -> datetime | None:
    """The moment after which a message is no longer sent: `expires_at`, else its due time and its TTL.

    A TTL of 0 means "now or never": it has no deadline before its one attempt, and None is returned.
    """
    ttl = options.get("ttl", DEFAULT_TTL)
    if expires_at is not None:
        return expires_at
    return due + timedelta(seconds=ttl) if ttl else None


def ttl_header(options: dict[str, Any], expires_at: datetime | None) -> int:
    """Seconds a push service may keep the message: its TTL, lowered only by a nearer `expires_at`."""
    ttl = int(options.get("ttl", DEFAULT_TTL))
    if expires_at is None:
        return ttl
    return max(0, min(ttl, int((expires_at - timezone.now()).total_seconds())))

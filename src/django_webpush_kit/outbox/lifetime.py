"""The deadline of a message, and the TTL header that follows from it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from django_webpush_kit.options import DEFAULT_TTL


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

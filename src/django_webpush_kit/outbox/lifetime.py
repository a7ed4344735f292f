"""The deadline of a message and its TTL header."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from django_webpush_kit.options import RowOptions


def deadline(due: datetime, options: RowOptions, expires_at: datetime | None) -> datetime | None:
    """Return the time after which a message is not sent: `expires_at`, or its due time plus its TTL.

    Returns None for a TTL of 0 ("now or never"): such a message has a single attempt and no deadline before it.
    """
    if expires_at is not None:
        return expires_at
    ttl = options.ttl_seconds
    return due + timedelta(seconds=ttl) if ttl else None


def ttl_header(options: RowOptions, expires_at: datetime | None) -> int:
    """Return how many seconds a push service may keep the message: its TTL, or less if `expires_at` is nearer."""
    if expires_at is None:
        return options.ttl_seconds
    return max(0, min(options.ttl_seconds, int((expires_at - timezone.now()).total_seconds())))

"""The deadline of a message, and the TTL header that follows from it."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from django_webpush_kit.options import RowOptions


def deadline(due: datetime, options: RowOptions, expires_at: datetime | None) -> datetime | None:
    """The moment after which a message is no longer sent: `expires_at`, else its due time plus its TTL.

    A TTL of 0 means "now or never": it has no deadline before its one attempt, and None is returned.
    """
    if expires_at is not None:
        return expires_at
    return due + timedelta(seconds=options.ttl_seconds) if options.ttl_seconds else None


def ttl_header(options: RowOptions, expires_at: datetime | None) -> int:
    """Seconds a push service may keep the message: its TTL, lowered only by a nearer `expires_at`."""
    if expires_at is None:
        return options.ttl_seconds
    return max(0, min(options.ttl_seconds, int((expires_at - timezone.now()).total_seconds())))

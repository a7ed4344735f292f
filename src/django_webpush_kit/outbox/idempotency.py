"""Idempotency keys: the first call with a key writes, later calls get the first one's result."""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, transaction

from django_webpush_kit.database import outbox_database
from django_webpush_kit.models import IdempotencyKey


def reserve(key: str | None, batch: UUID) -> tuple[IdempotencyKey | None, bool]:
    """Insert the key for `batch`; return its row and whether it is new. No key gives (None, True).

    A concurrent call with the same key waits here for the first one's transaction to end.
    """
    if key is None:
        return None, True
    database = outbox_database()
    keys = IdempotencyKey.objects.using(database)
    try:
        with transaction.atomic(using=database):
            return keys.create(key=key, batch=batch), True
    except IntegrityError:
        # a locking read sees what has been committed since this transaction began, where the database keeps snapshots
        return keys.select_for_update().get(key_hash=IdempotencyKey.hash_of(key)), False


def keep_counts(key: IdempotencyKey, queued: int, deferred: int, suppressed: int) -> None:
    """Store the counts that later calls with the key are told."""
    IdempotencyKey.objects.using(outbox_database()).filter(pk=key.pk).update(
        queued=queued, deferred=deferred, suppressed=suppressed
    )


def release(key: str) -> UUID | None:
    """Delete the key, so that it may be used again; return the batch it stood for, or None when it was unknown."""
    kept = IdempotencyKey.objects.select_for_update().filter(key_hash=IdempotencyKey.hash_of(key)).first()
    if kept is None:
        return None
    kept.delete()
    return kept.batch

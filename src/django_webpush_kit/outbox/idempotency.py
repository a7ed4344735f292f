"""Idempotency keys: the first call with a key writes rows, later calls return the first call's result.

`SendOptions.parse` and `release` normalize keys in the same way, so that `cancel` finds a key stored by `send`.
"""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, transaction

from django_webpush_kit.database import outbox_database
from django_webpush_kit.exceptions import InvalidOption
from django_webpush_kit.models import IdempotencyKey
from django_webpush_kit.options import SendOptions

ATTEMPTS = 5
"""Attempts to insert a key that `cancel` deletes between the failed insert and the read of its row."""


def reserve(key: str | None, batch: UUID) -> tuple[IdempotencyKey | None, bool]:
    """Insert the key for `batch`. Returns its row and whether it is new; (None, True) without a key.

    A concurrent call with the same key waits here for the end of the first call's transaction.
    """
    if key is None:
        return None, True
    database = outbox_database()
    keys = IdempotencyKey.objects.using(database)
    key_hash = IdempotencyKey.hash_of(key)
    for _attempt in range(ATTEMPTS):
        try:
            with transaction.atomic(using=database):
                return keys.create(key_hash=key_hash, batch=batch), True
        except IntegrityError:
            # a locking read sees rows committed since this transaction began, even under REPEATABLE READ
            found = keys.select_for_update().filter(key_hash=key_hash).first()
            if found is not None:
                return found, False
    raise InvalidOption("idempotency_key is being used and cancelled by other calls at the same time; try again")


def keep_counts(key: IdempotencyKey, counts: dict[str, int]) -> None:
    """Store the counts that later calls with the key return."""
    IdempotencyKey.objects.using(outbox_database()).filter(pk=key.pk).update(**counts)


def release(key: str) -> UUID | None:
    """Delete the key, so that it can be used again. Returns its batch, or None if the key is unknown."""
    checked = SendOptions.parse({"idempotency_key": key}).idempotency_key or ""
    database = outbox_database()
    # lock the row until it is deleted: a concurrent send() with the key waits, then inserts it again
    found = IdempotencyKey.objects.using(database).select_for_update().filter(key_hash=IdempotencyKey.hash_of(checked))
    kept = found.first()
    if kept is None:
        return None
    kept.delete(using=database)
    return kept.batch

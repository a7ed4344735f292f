"""Frequency caps: `NOTIFICATION_TYPES["newsletter"]["max_per_day"]` messages of a type per recipient in 24 hours.

A recipient is a user, with all their browsers, or an anonymous subscription. Workers count what is recorded as sent,
so the cap may be exceeded by as many messages as there are workers at the same moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.delivery.claiming import Row
from django_webpush_kit.models import get_notification_model


class DailyCaps:
    """The caps that concern a chunk of rows, and what was sent to its recipients in the last 24 hours."""

    def __init__(self, rows: Sequence[Row], now: datetime) -> None:
        types = kit_settings.NOTIFICATION_TYPES
        self._caps = {name: cap for name, options in types.items() if (cap := options.get("max_per_day"))}
        capped = [row for row in rows if row.type in self._caps] if self._caps else []
        self._batches: dict[tuple[Any, ...], set[UUID]] = {}
        self._batch_of: dict[Any, UUID] = {}
        if capped:
            self._batch_of = _batches(capped)
            self._count(capped, now - timedelta(days=1))

    def refusal(self, row: Row) -> str:
        """Why the row is one too many, or "" when it is not; then it counts from now on."""
        cap = self._caps.get(row.type)
        if cap is None:
            return ""
        batches = self._batches.setdefault(_recipient(row.type, row.user_id, row.subscription_id), set())
        batch = self._batch_of[row.pk]
        if batch not in batches and len(batches) >= cap:
            return f"At most {cap} of this type in a day"
        batches.add(batch)
        return ""

    def _count(self, rows: Sequence[Row], since: datetime) -> None:
        sent = get_notification_model().objects.filter(sent_at__gte=since, type__in={row.type for row in rows})
        named = sent.filter(user__in={row.user_id for row in rows if row.user_id is not None})
        # those of users among them count for their users, as they do already
        anonymous = sent.filter(subscription__in={row.subscription_id for row in rows if row.user_id is None})
        for found in (named, anonymous):
            for type_, user_id, subscription_id, batch in found.values_list(
                "type", "user_id", "subscription_id", "batch"
            ):
                self._batches.setdefault(_recipient(type_, user_id, subscription_id), set()).add(batch)


def _batches(rows: Sequence[Row]) -> dict[Any, UUID]:
    claimed = get_notification_model().objects.filter(pk__in=[row.pk for row in rows])
    return dict(claimed.values_list("pk", "batch"))


def _recipient(type_: str, user_id: Any, subscription_id: Any) -> tuple[Any, ...]:
    return (type_, "user", user_id) if user_id is not None else (type_, "subscription", subscription_id)

"""Frequency caps: `NOTIFICATION_TYPES["newsletter"]["max_per_day"]` messages of a type per recipient in 24 hours.

A recipient is a user with all their browsers, or an anonymous subscription. Only sent messages count. If a message in
flight would reach the cap, the next one waits for its outcome. Workers count recorded rows, so each additional worker
may exceed the cap by one message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import outbox_database
from django_webpush_kit.delivery.claiming import Row
from django_webpush_kit.models import get_notification_model


class CapRefusal(NamedTuple):
    """Why a row is not sent now: it exceeds the cap (reason in `suppressed`), or it `waits` for another outcome."""

    suppressed: str = ""
    waits: bool = False


WITHIN_CAP = CapRefusal()

_Recipient: TypeAlias = tuple[str, str, Any]


class DailyCaps:
    """Counts the messages sent to a worker's recipients in the last 24 hours, and those in flight."""

    def __init__(self) -> None:
        self._caps = _caps()
        self._sent: dict[_Recipient, set[UUID]] = {}
        self._under_way: dict[_Recipient, dict[Any, UUID]] = {}
        self._capped: dict[Any, tuple[_Recipient, UUID]] = {}

    def look_up(self, rows: Sequence[Row], now: datetime) -> None:
        """Count the messages sent to the recipients of these rows."""
        capped = [row for row in rows if row.type in self._caps] if self._caps else []
        if capped:
            self._capped |= {row.pk: (_recipient(row), row.batch) for row in capped}
            self._count(capped, now - timedelta(days=1))

    def refusal(self, row: Row) -> CapRefusal:
        """Return why the row must not be sent now. If it may be sent, count it as in flight."""
        if row.pk not in self._capped:
            return WITHIN_CAP
        cap = self._caps[row.type]
        recipient, batch = self._capped[row.pk]
        sent = self._sent.get(recipient, set())
        under_way = self._under_way.setdefault(recipient, {})
        allowed = sent.union(under_way.values())
        if batch not in allowed:
            if len(sent) >= cap:
                return CapRefusal(suppressed=f"At most {cap} of this type in a day")
            if len(allowed) >= cap:
                return CapRefusal(waits=True)
        under_way[row.pk] = batch
        return WITHIN_CAP

    def settle(self, key: Any, *, is_sent: bool) -> None:
        """Record the end of a row in flight. It counts towards the cap if it was sent."""
        if key in self._capped:
            recipient, batch = self._capped.pop(key)
            self._under_way.get(recipient, {}).pop(key, None)
            if is_sent:
                self._sent.setdefault(recipient, set()).add(batch)

    def _count(self, rows: Sequence[Row], since: datetime) -> None:
        notifications = get_notification_model().objects.using(outbox_database())
        sent = notifications.filter(sent_at__gte=since, type__in={row.type for row in rows})
        named = sent.filter(user__in={row.user_id for row in rows if row.user_id is not None})
        # subscriptions with a user are already counted for the user
        anonymous = sent.filter(subscription__in={row.subscription_id for row in rows if row.user_id is None})
        for found in (named, anonymous):
            for type_, *recipient, batch in found.values_list("type", "user_id", "subscription_id", "batch"):
                self._sent.setdefault(_key(type_, *recipient), set()).add(batch)


def _caps() -> dict[str, int]:
    """Return the cap of each notification type with a valid one. A system check reports invalid caps."""
    types = kit_settings.NOTIFICATION_TYPES.items()
    found = {name: options.get("max_per_day") for name, options in types if isinstance(options, Mapping)}
    return {name: cap for name, cap in found.items() if isinstance(cap, int) and cap > 0}


def _recipient(row: Row) -> _Recipient:
    return _key(row.type, row.user_id, row.subscription_id)


def _key(type_: str, user_id: Any, subscription_id: Any) -> _Recipient:
    return (type_, "user", user_id) if user_id is not None else (type_, "subscription", subscription_id)

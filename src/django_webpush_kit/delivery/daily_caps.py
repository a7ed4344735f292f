"""Frequency caps: `NOTIFICATION_TYPES["newsletter"]["max_per_day"]` messages of a type per recipient in 24 hours.

A recipient is a user, with all their browsers, or an anonymous subscription. Only messages that were sent use up the
cap: while one is under way that would, the next one waits for its outcome. Workers count what is recorded as sent, so
the cap may be exceeded by as many messages as there are workers at the same moment.
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
    """Why a row is not sent now: it is one too many (`suppressed` says why), or it `waits` for another's outcome."""

    suppressed: str = ""
    waits: bool = False


WITHIN_CAP = CapRefusal()

_Recipient: TypeAlias = tuple[str, str, Any]


class DailyCaps:
    """The caps of a worker's rows: what was sent to their recipients in the last 24 hours, and what is under way."""

    def __init__(self) -> None:
        self._caps = _caps()
        self._sent: dict[_Recipient, set[UUID]] = {}
        self._under_way: dict[_Recipient, dict[Any, UUID]] = {}
        self._capped: dict[Any, tuple[_Recipient, UUID]] = {}

    def look_up(self, rows: Sequence[Row], now: datetime) -> None:
        """Count what was sent to the recipients of these rows."""
        capped = [row for row in rows if row.type in self._caps] if self._caps else []
        if capped:
            self._capped |= {row.pk: (_recipient(row), row.batch) for row in capped}
            self._count(capped, now - timedelta(days=1))

    def refusal(self, row: Row) -> CapRefusal:
        """Whether the row is one too many; if it is not, it counts as under way from now on."""
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
        """The row with this key is under way no longer: it was sent and uses up the cap, or it was not."""
        if key in self._capped:
            recipient, batch = self._capped.pop(key)
            self._under_way.get(recipient, {}).pop(key, None)
            if is_sent:
                self._sent.setdefault(recipient, set()).add(batch)

    def _count(self, rows: Sequence[Row], since: datetime) -> None:
        notifications = get_notification_model().objects.using(outbox_database())
        sent = notifications.filter(sent_at__gte=since, type__in={row.type for row in rows})
        named = sent.filter(user__in={row.user_id for row in rows if row.user_id is not None})
        # those of users among them count for their users, as they do already
        anonymous = sent.filter(subscription__in={row.subscription_id for row in rows if row.user_id is None})
        for found in (named, anonymous):
            for type_, *recipient, batch in found.values_list("type", "user_id", "subscription_id", "batch"):
                self._sent.setdefault(_key(type_, *recipient), set()).add(batch)


def _caps() -> dict[str, int]:
    """The cap of each notification type that has a usable one; a check reports the others."""
    types = kit_settings.NOTIFICATION_TYPES.items()
    found = {name: options.get("max_per_day") for name, options in types if isinstance(options, Mapping)}
    return {name: cap for name, cap in found.items() if isinstance(cap, int) and cap > 0}


def _recipient(row: Row) -> _Recipient:
    return _key(row.type, row.user_id, row.subscription_id)


def _key(type_: str, user_id: Any, subscription_id: Any) -> _Recipient:
    return (type_, "user", user_id) if user_id is not None else (type_, "subscription", subscription_id)

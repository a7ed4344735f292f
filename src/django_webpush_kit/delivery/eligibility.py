"""The last questions before a row is sent: much may have changed since it was written."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from django_webpush_kit.delivery.breaker import Breakers
from django_webpush_kit.delivery.claiming import Row
from django_webpush_kit.delivery.daily_caps import DailyCaps
from django_webpush_kit.delivery.topics import NewestOfTopic
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.outbox.rows import SUPERSEDED
from django_webpush_kit.states import NotificationStatus
from django_webpush_kit.subscriptions.deactivation import EXPIRED, OWNER_CHANGED, deactivate_subscriptions
from django_webpush_kit.subscriptions.preferences import decide

if TYPE_CHECKING:
    from django_webpush_kit.delivery.outcomes import Recorder

PAUSE_SPREAD_SECONDS = 5.0
"""What waited for the end of a pause is spread over this time, a value for each chunk."""


class Gate:
    """Lets through the rows that may be sent now; tells the recorder what becomes of the others."""

    def __init__(self, rows: Sequence[Row], breakers: Breakers, recorder: Recorder) -> None:
        self._rows = rows
        self._breakers = breakers
        self._recorder = recorder
        self._now = timezone.now()
        self._caps = DailyCaps(rows, self._now)
        self._topics = NewestOfTopic(rows)
        self._spread = timedelta(seconds=random.uniform(0, PAUSE_SPREAD_SECONDS))  # noqa: S311  # no secret

    def admitted(self) -> Iterator[Row]:
        """Yield the rows that may be sent now."""
        for row in self._rows:
            deadline = row.deadline
            refusal = self._refusal(row, deadline)
            if refusal:
                self._recorder.finished(row, *refusal)
            elif self._may_be_sent_now(row, deadline):
                yield row

    def _refusal(self, row: Row, deadline: datetime | None) -> tuple[NotificationStatus, str] | None:
        if row.user_id != row.owner_id:
            return NotificationStatus.CANCELLED, OWNER_CHANGED
        if row.user_is_active is False:
            return NotificationStatus.CANCELLED, "The user is not active"
        if row.expiration_time is not None and row.expiration_time <= self._now:
            deactivate_subscriptions(get_subscription_model().objects.filter(pk=row.subscription_id), EXPIRED)
            return NotificationStatus.SUPPRESSED, f"The subscription is not active: {EXPIRED}"
        if not row.is_active:
            reason = row.deactivation_reason or "deactivated"
            return NotificationStatus.SUPPRESSED, f"The subscription is not active: {reason}"
        if row.problem:
            return NotificationStatus.FAILED, row.problem
        if row.topic and self._topics.supersedes(row):
            return NotificationStatus.CANCELLED, SUPERSEDED
        if deadline is not None and deadline <= self._now:
            return NotificationStatus.EXPIRED, "Not sent before its deadline"
        return None

    def _may_be_sent_now(self, row: Row, deadline: datetime | None) -> bool:
        """Ask the subscriber and the breakers; a row that has to wait, or is not wanted, is recorded as such."""
        if not row.options.critical:
            decision = decide(row.preferences, row.timezone, type=row.type, due=self._now, deadline=deadline)
            suppressed = decision.suppressed or self._caps.refusal(row)
            if suppressed:
                self._recorder.finished(row, NotificationStatus.SUPPRESSED, suppressed)
                return False
            if decision.until:
                self._recorder.postponed(row, decision.until, "Quiet hours")
                return False
        end = self._breakers.paused_until(row.push_service, row.vapid_key_id, self._now)
        if end:
            self._recorder.postponed(row, end + self._spread, "The push service is paused")
        return end is None

"""Topics at delivery: cancel a retried row if a newer row of its topic supersedes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Max, Q
from django.utils import timezone

from django_webpush_kit.database import outbox_database
from django_webpush_kit.delivery.claiming import Row
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.states import ENDED_UNSENT


class NewestOfTopic:
    """The time of the newest message of each subscription and topic in a chunk. Runs one query if a row has a topic."""

    def __init__(self, rows: Sequence[Row]) -> None:
        topical = [row for row in rows if row.topic]
        self._newest: dict[tuple[Any, str], datetime] = {}
        if topical:
            of_topics = (
                get_notification_model()
                .objects.using(outbox_database())
                .filter(
                    subscription__in={row.subscription_id for row in topical}, topic__in={row.topic for row in topical}
                )
            )
            # a scheduled message replaces rows pending at its own due time, not rows due now
            of_topics = of_topics.filter(Q(scheduled_for=None) | Q(scheduled_for__lte=timezone.now()))
            # a condition on the other statuses would make SQLite read every row that has one
            found = of_topics.exclude(status__in=ENDED_UNSENT)
            newest = found.order_by().values_list("subscription_id", "topic").annotate(Max("created_at"))
            self._newest = {(subscription, topic): moment for subscription, topic, moment in newest}

    def supersedes(self, row: Row) -> bool:
        """Return whether a newer message with the row's topic exists for the same subscription."""
        newest = self._newest.get((row.subscription_id, row.topic))
        return newest is not None and newest > row.created_at

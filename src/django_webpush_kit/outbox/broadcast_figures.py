"""Count the results of a broadcast for its admin page. The counts are cached for a few seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Q

from django_webpush_kit.caching import remember
from django_webpush_kit.database import outbox_database, rows_of
from django_webpush_kit.models import PushBroadcast, get_analytics_model, get_notification_model
from django_webpush_kit.outbox.broadcasts import BroadcastProgress, progress
from django_webpush_kit.rollups.counting import BECAUSE_OF
from django_webpush_kit.states import ENDED_UNSENT, UNSUBSCRIBED, ActionType, NotificationStatus

CACHE_SECONDS = 3
"""The figures are cached for this long, so that many viewers of a page do not each count the rows."""

CACHE_SHARE = 0.1
"""Counting a very large broadcast takes seconds. It may take this share of the time while its page is open."""

MAX_REASONS = 10
"""The most frequent reasons that are returned."""


@dataclass(frozen=True, slots=True)
class UnsentReason:
    """The status and recorded reason of notifications that were not sent, and their number."""

    status: str
    text: str
    count: int


@dataclass(frozen=True, slots=True)
class BroadcastFigures:
    """The figures of one broadcast. `shown`, `clicked` and `unsubscribed` count notifications that were accepted.

    `reasons` are the most frequent reasons of notifications that ended unsent, at most `MAX_REASONS`.
    """

    progress: BroadcastProgress
    shown: int = 0
    clicked: int = 0
    unsubscribed: int = 0
    reasons: Sequence[UnsentReason] = ()


def broadcast_figures(broadcast: PushBroadcast) -> BroadcastFigures:
    """Return the figures of a broadcast, and refresh the broadcast's own fields.

    They are at most `CACHE_SECONDS` old, or older if counting takes longer than `CACHE_SHARE` of that time.
    """
    broadcast.refresh_from_db(using=outbox_database())
    key = (str(broadcast.batch), broadcast.status)
    return remember("broadcast", *key, compute=lambda: _count(broadcast), seconds=CACHE_SECONDS, share=CACHE_SHARE)


def _count(broadcast: PushBroadcast) -> BroadcastFigures:
    rows = rows_of(get_notification_model()).filter(batch=broadcast.batch).order_by()
    clicks = Q(action_type__in=(ActionType.CLICKED, ActionType.ACTION_CLICKED))
    events: Any = get_analytics_model().objects.using(outbox_database()).filter(notification__batch=broadcast.batch)
    reported = events.aggregate(
        shown=Count("notification", filter=Q(action_type=ActionType.DELIVERED), distinct=True),
        clicked=Count("notification", filter=clicks, distinct=True),
    )
    unsent = rows.filter(status__in=ENDED_UNSENT).values_list("status", "failure_reason").annotate(number=Count("pk"))
    return BroadcastFigures(
        progress(broadcast),
        **reported,
        unsubscribed=rows.filter(
            status=NotificationStatus.SENT,
            subscription__is_active=False,
            subscription__deactivation_reason=UNSUBSCRIBED,
            subscription__deactivated_at__gte=F("sent_at"),
            subscription__deactivated_at__lt=F("sent_at") + BECAUSE_OF,
        ).count(),
        reasons=[UnsentReason(*group) for group in unsent.order_by("-number", "failure_reason")[:MAX_REASONS]],
    )

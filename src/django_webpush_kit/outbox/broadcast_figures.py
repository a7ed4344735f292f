"""Count the results of a broadcast for its admin page. The counts are cached for a few seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum
from django.utils import timezone

from django_webpush_kit.caching import remember
from django_webpush_kit.database import outbox_database, rows_of
from django_webpush_kit.models import (
    DailyStatistics,
    OutboxDay,
    PushBroadcast,
    get_analytics_model,
    get_notification_model,
)
from django_webpush_kit.outbox.broadcasts import BroadcastProgress, progress
from django_webpush_kit.rollups.counting import BECAUSE_OF
from django_webpush_kit.rollups.counts import Dimension
from django_webpush_kit.rollups.days import day_of
from django_webpush_kit.states import ENDED_UNSENT, UNSUBSCRIBED, ActionType, NotificationStatus

CACHE_SECONDS = 3
"""The figures are cached for this long, so that many viewers of a page do not each count the rows."""

CACHE_SHARE = 0.1
"""Counting a very large broadcast takes seconds. It may take this share of the time while its page is open."""

HAS_ENDED = (PushBroadcast.Status.COMPLETED, PushBroadcast.Status.CANCELLED, PushBroadcast.Status.FAILED)

MANY_ROWS = 20_000
"""The figures of a broadcast with so many notifications are those of the daily statistics, once these are complete."""

ENDED = {
    "accepted": NotificationStatus.SENT.value,
    "failed": NotificationStatus.FAILED.value,
    "expired": NotificationStatus.EXPIRED.value,
    "suppressed": NotificationStatus.SUPPRESSED.value,
    "cancelled": NotificationStatus.CANCELLED.value,
}
"""The counters of notifications that have ended, and their status."""

REPORTED = ("shown", "clicked", "unsubscribed")

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
    unsent = rows.filter(status__in=ENDED_UNSENT).values_list("status", "failure_reason").annotate(number=Count("pk"))
    reasons = [UnsentReason(*group) for group in unsent.order_by("-number", "failure_reason")[:MAX_REASONS]]
    counted = _in_statistics(broadcast) if broadcast.queued >= MANY_ROWS else None
    return _of_statistics(broadcast, counted, reasons) if counted else _of_rows(broadcast, rows, reasons)


def _of_rows(broadcast: PushBroadcast, rows: QuerySet[Any], reasons: Sequence[UnsentReason]) -> BroadcastFigures:
    clicks = Q(action_type__in=(ActionType.CLICKED, ActionType.ACTION_CLICKED))
    events: Any = get_analytics_model().objects.using(outbox_database()).filter(notification__batch=broadcast.batch)
    reported = events.aggregate(
        shown=Count("notification", filter=Q(action_type=ActionType.DELIVERED), distinct=True),
        clicked=Count("notification", filter=clicks, distinct=True),
    )
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
        reasons=reasons,
    )


def _in_statistics(broadcast: PushBroadcast) -> dict[str, int] | None:
    """Return the counts of the daily statistics, if they contain all notifications of the broadcast and all have ended.

    None while a day of the broadcast waits to be counted, for example after failed notifications were sent again.
    """
    if broadcast.status not in HAS_ENDED:
        return None
    first, last = day_of(broadcast.created_at), day_of(broadcast.finished_at or timezone.now())
    days = rows_of(OutboxDay).filter(day__gte=first, day__lte=last)
    if days.filter(Q(rolled_up_at=None) | Q(changed_at__gte=F("rolled_up_at"))).exists():
        return None
    counted = rows_of(DailyStatistics).filter(dimension=Dimension.BROADCAST, value=str(broadcast.pk))
    sums = counted.aggregate(**{name: Sum(name, default=0) for name in (*ENDED, *REPORTED)})
    found = {name: int(number) for name, number in sums.items()}
    return found if sum(found[name] for name in ENDED) == broadcast.queued else None


def _of_statistics(
    broadcast: PushBroadcast, counted: dict[str, int], reasons: Sequence[UnsentReason]
) -> BroadcastFigures:
    ended = BroadcastProgress(
        total=max(broadcast.total, broadcast.processed),
        processed=broadcast.processed,
        written=broadcast.queued,
        ended=broadcast.queued,
        accepted=counted["accepted"],
        by_status={status: counted[name] for name, status in ENDED.items() if counted[name]},
    )
    return BroadcastFigures(ended, **{name: counted[name] for name in REPORTED}, reasons=reasons)

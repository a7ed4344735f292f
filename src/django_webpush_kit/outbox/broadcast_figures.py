"""Count the results of a broadcast for its admin page. The counts are cached for a few seconds.

Counting hundreds of thousands of rows takes seconds. A page that is opened shows the latest counts at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from django_webpush_kit.caching import keep, kept, remember
from django_webpush_kit.database import outbox_database, rows_of
from django_webpush_kit.models import (
    DailyStatistics,
    OutboxDay,
    PushBroadcast,
    get_analytics_model,
    get_notification_model,
)
from django_webpush_kit.outbox.broadcasts import BroadcastProgress, progress
from django_webpush_kit.querysets import without_index
from django_webpush_kit.rollups.counting import BECAUSE_OF
from django_webpush_kit.rollups.counts import Dimension
from django_webpush_kit.rollups.days import day_of
from django_webpush_kit.states import ENDED_UNSENT, UNSUBSCRIBED, ActionType, NotificationStatus

CACHE_SECONDS = 3
"""The figures are cached for this long, so that many viewers of a page do not each count the rows."""

CACHE_SHARE = 0.1
"""Counting a very large broadcast takes seconds. It may take this share of the time while its page is open."""

LONG_COUNT = 50_000
"""The rows of a larger broadcast are counted by a request of its own, not before its page is shown."""

KEPT_SECONDS = 3600.0
"""How long the latest figures of a larger broadcast are shown."""

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
    """The figures of one broadcast. `shown` and `clicked` count notifications with such a report from the browser.

    `reasons` are the most frequent reasons of notifications that ended unsent, at most `MAX_REASONS`. If `counted_at`
    is None, nothing was counted yet: of the progress, only `total`, `processed` and `written` are known.
    """

    progress: BroadcastProgress
    shown: int = 0
    clicked: int = 0
    unsubscribed: int = 0
    reasons: Sequence[UnsentReason] = ()
    counted_at: datetime | None = field(default=None, compare=False)


def broadcast_figures(broadcast: PushBroadcast) -> BroadcastFigures:
    """Return the figures of a broadcast, and refresh the broadcast's own fields.

    They are at most `CACHE_SECONDS` old, or older if counting takes longer than `CACHE_SHARE` of that time.
    """
    broadcast.refresh_from_db(using=outbox_database())
    return _remembered(broadcast)


def latest_figures(broadcast: PushBroadcast) -> BroadcastFigures:
    """Return the figures of a broadcast without delay, and refresh the broadcast's own fields.

    Those of a broadcast with more than `LONG_COUNT` notifications are the latest that `broadcast_figures` counted.
    """
    broadcast.refresh_from_db(using=outbox_database())
    if not _is_large(broadcast):
        return _remembered(broadcast)
    found: BroadcastFigures | None = kept("latest figures", str(broadcast.batch))
    return found or BroadcastFigures(
        BroadcastProgress(
            total=max(broadcast.total, broadcast.processed), processed=broadcast.processed, written=broadcast.queued
        )
    )


def _remembered(broadcast: PushBroadcast) -> BroadcastFigures:
    return remember(
        "broadcast",
        str(broadcast.batch),
        broadcast.status,
        compute=lambda: _count_and_keep(broadcast),
        seconds=CACHE_SECONDS,
        share=CACHE_SHARE,
        is_slow=_is_large(broadcast),
    )


def _is_large(broadcast: PushBroadcast) -> bool:
    return broadcast.queued > LONG_COUNT


def _count_and_keep(broadcast: PushBroadcast) -> BroadcastFigures:
    figures = _count(broadcast)
    if _is_large(broadcast):
        keep(figures, "latest figures", str(broadcast.batch), seconds=KEPT_SECONDS)
    return figures


def _count(broadcast: PushBroadcast) -> BroadcastFigures:
    now = timezone.now()
    counted = _in_statistics(broadcast) if broadcast.queued >= MANY_ROWS else None
    figures = _of_statistics(broadcast, counted) if counted else _of_rows(broadcast)
    return replace(figures, reasons=_reasons(broadcast, figures.progress), counted_at=now)


def _of_rows(broadcast: PushBroadcast) -> BroadcastFigures:
    return BroadcastFigures(
        progress(broadcast),
        shown=_reported(broadcast, ActionType.DELIVERED),
        clicked=_reported(broadcast, ActionType.CLICKED, ActionType.ACTION_CLICKED),
        unsubscribed=_unsubscribed(broadcast),
    )


def _rows(broadcast: PushBroadcast) -> QuerySet[Any]:
    rows: QuerySet[Any] = rows_of(get_notification_model())
    return rows.filter(batch=broadcast.batch).order_by()


def _reported(broadcast: PushBroadcast, *actions: ActionType) -> int:
    """Return how many notifications have one of these events. Counting distinct keys would sort them."""
    events = rows_of(get_analytics_model()).filter(notification=OuterRef("pk"), action_type__in=actions)
    return _rows(broadcast).filter(Exists(events)).count()


def _unsubscribed(broadcast: PushBroadcast) -> int:
    """Return how many subscriptions ended because of the broadcast.

    Fewer subscriptions have ended since a large one began than it has notifications, so the query begins with these.
    """
    rows = _rows(broadcast).filter(status=NotificationStatus.SENT)
    if broadcast.queued >= MANY_ROWS:
        rows = rows_of(get_notification_model()).filter(
            without_index("batch", broadcast.batch),
            without_index("status", NotificationStatus.SENT),
            subscription__deactivated_at__gte=broadcast.created_at,
        )
    return rows.filter(
        subscription__is_active=False,
        subscription__deactivation_reason=UNSUBSCRIBED,
        subscription__deactivated_at__gte=F("sent_at"),
        subscription__deactivated_at__lt=F("sent_at") + BECAUSE_OF,
    ).count()


def _reasons(broadcast: PushBroadcast, state: BroadcastProgress) -> list[UnsentReason]:
    if not any(state.by_status.get(status) for status in ENDED_UNSENT):
        return []
    unsent = _rows(broadcast).filter(status__in=ENDED_UNSENT).values_list("status", "failure_reason")
    groups = unsent.annotate(number=Count("pk")).order_by("-number", "failure_reason", "status")
    return [UnsentReason(*group) for group in groups[:MAX_REASONS]]


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


def _of_statistics(broadcast: PushBroadcast, counted: dict[str, int]) -> BroadcastFigures:
    ended = BroadcastProgress(
        total=max(broadcast.total, broadcast.processed),
        processed=broadcast.processed,
        written=broadcast.queued,
        ended=broadcast.queued,
        accepted=counted["accepted"],
        by_status={status: counted[name] for name, status in ENDED.items() if counted[name]},
    )
    return BroadcastFigures(
        ended, shown=counted["shown"], clicked=counted["clicked"], unsubscribed=counted["unsubscribed"]
    )

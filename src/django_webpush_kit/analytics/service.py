"""`NotificationAnalyticsService`: the statistics for use in your project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.db.models import QuerySet
from django.utils import timezone

from django_webpush_kit.analytics.figures import LIVE_ROWS, Figures, key_of, percentage
from django_webpush_kit.caching import remember
from django_webpush_kit.conf import MAX_DAYS
from django_webpush_kit.database import rows_of
from django_webpush_kit.models import PushBroadcast, get_notification_model
from django_webpush_kit.rollups.building import OTHER_VALUE
from django_webpush_kit.rollups.counts import COUNTERS, TOTAL, Counts, Dimension, percentile
from django_webpush_kit.rollups.days import today

Value = TypeVar("Value")

FILTERS = ("type", "push_service", "browser", "template", "language", "broadcast")
"""The dimensions that can be filtered by, one at a time."""

LIVE_FILTERS = ("batch", "user")
"""Filters that are counted from rows, together with `type` or alone."""

SUBSCRIBER_COUNTERS = ("subscribers_gained", "subscribers_lost")

LEGACY_NAMES = {
    "sent": "accepted",
    "failed": "failed",
    "delivered": "shown",
    "clicked": "body_clicked",
    "dismissed": "dismissed",
    "action_clicked": "button_clicked",
}
"""The keys of the older methods, and the counters that they return."""


class NotificationAnalyticsService:
    """Statistics of the notifications created today and on the days before, in the time zone `TIME_ZONE`.

    `days` is the number of days, today included. `filters` is one of `type`, `push_service`, `browser`, `template`,
    `language` and `broadcast`; or `batch` (UUID) and `user`, alone or with `type`. Events count for the day of their
    notification. Rates are percentages with one decimal, or None if there is nothing to count.
    Results are cached for `STATISTICS_CACHE_SECONDS`.
    """

    def get_notification_stats(self, days: int = 30, **filters: Any) -> dict[str, Any]:
        """Return `{"total_sent", "total_failed", "delivery_rate", "period_days"}`.

        `delivery_rate` is the percentage accepted by push services of all messages accepted or failed.
        """
        counts = self._total(days, filters)
        return {
            "total_sent": counts["accepted"],
            "total_failed": counts["failed"],
            "delivery_rate": rates_of(counts)["delivery_rate"],
            "period_days": days,
        }

    def get_engagement_stats(self, days: int = 30, **filters: Any) -> dict[str, int]:
        """Return the number of notifications: `{"sent", "delivered", "clicked", "dismissed", "action_clicked"}`."""
        counts = self._total(days, filters)
        return {name: counts[counter] for name, counter in LEGACY_NAMES.items() if name != "failed"}

    def get_type_stats(self, days: int = 30, **filters: Any) -> list[dict[str, Any]]:
        """Return one dict per notification type, sorted by `sent` in descending order.

        `{"type", "sent", "failed", "delivered", "clicked", "dismissed", "action_clicked", "delivery_rate",
        "display_rate", "click_rate"}`. `display_rate` and `click_rate` are percentages of `sent`; clicks on buttons
        count as clicks.
        """
        found = _remembered("types", days, filters, _types)
        entries = [{"type": name, **_legacy(counts)} for name, counts in found.items() if _was_tried(counts)]
        return sorted(entries, key=lambda entry: (-entry["sent"], entry["type"]))

    def get_daily_stats(self, days: int = 30, **filters: Any) -> list[dict[str, Any]]:
        """Return one dict per day, oldest first: `date` (in `TIME_ZONE`) and the keys of `get_type_stats`.

        Days without notifications are included, so that a chart needs no gaps filled.
        """
        daily = _remembered("days", days, filters, lambda figures: figures.daily)
        return [{"date": day, **_legacy(counts)} for day, counts in daily.items()]

    def get_funnel(self, days: int = 30, **filters: Any) -> list[dict[str, Any]]:
        """Return the steps queued, accepted, shown and clicked: `{"step", "count", "rate"}`.

        `rate` is the percentage of the step before.
        """
        return funnel_of(self._total(days, filters))

    def get_show_times(self, days: int = 30, **filters: Any) -> dict[str, Any]:
        """Return `{"p50", "p95", "count"}`: the seconds from acceptance to display, and how many were measured.

        Half of the notifications were shown within `p50` seconds. They are estimates from a histogram, or None.
        """
        counts = self._total(days, filters)
        return {**_times_of(counts), "count": sum(counts.times.values())}

    def get_breakdown(self, dimension: str, days: int = 30, **filters: Any) -> list[dict[str, Any]]:
        """Return one dict per value of a dimension: `value`, all counters and their rates, the most queued first.

        `dimension` is type, push_service, browser, template, language, broadcast (`value` is its primary key), hour
        ("00" to "23", when it was sent) or reason (of notifications that were not sent). Filters: `batch`, `user`.
        """
        if dimension not in Dimension.values:
            raise ValueError(f"dimension must be one of {', '.join(Dimension.values)}, not {dimension!r}")
        live = {name: value for name, value in filters.items() if value is not None}
        if live and not set(live) & set(LIVE_FILTERS):
            raise ValueError("A breakdown can be filtered by batch and user only: statistics have one dimension.")
        found = _remembered(
            f"breakdown_{dimension}", days, filters, lambda figures: figures.breakdown.get(dimension, {})
        )
        return _breakdown(found)

    def get_campaign_stats(self, days: int = 30) -> list[dict[str, Any]]:
        """Return one dict per broadcast: the keys of `get_breakdown`, and `label`, its type and date.

        `opted_out` counts subscribers who switched the type off within 24 hours of it, `unsubscribed` those who ended
        the subscription in that time, and `gone` subscriptions that had already ended.
        """
        entries = self.get_breakdown(Dimension.BROADCAST, days)
        labels = broadcast_labels([entry["value"] for entry in entries])
        return [{"label": labels.get(entry["value"], entry["value"]), **entry} for entry in entries]

    def get_subscriber_stats(self, days: int = 30) -> list[dict[str, Any]]:
        """Return one dict per day, oldest first: `{"date", "gained", "lost", "active"}`.

        `active` is the number of active subscriptions at the end of the day.
        """
        return _remembered("subscribers", days, {}, _subscribers)

    def get_report(self, days: int = 30, **filters: Any) -> dict[str, Any]:
        """Return all figures of one period, as the admin page and `push_stats --json` show them.

        `{"period", "filter", "totals", "previous", "funnel", "daily", "choices", "breakdowns", "subscribers"}`.
        `previous` has the totals of the same number of days before, `choices` the values of each filter. With a filter,
        `breakdowns` and `subscribers` are empty.
        """
        return _remembered("report", days, filters, report_of)

    def _total(self, days: int, filters: Mapping[str, Any]) -> Counts:
        return _remembered("total", days, filters, lambda figures: figures.total)


def counters_of(counts: Counts) -> dict[str, int]:
    """Return the counters of notifications by name."""
    return {name: counts[name] for name in COUNTERS if name not in SUBSCRIBER_COUNTERS}


def rates_of(counts: Counts) -> dict[str, float | None]:
    """Return the rates: of accepted and failed messages accepted, and of accepted ones shown and clicked."""
    accepted = counts["accepted"]
    return {
        "delivery_rate": percentage(accepted, accepted + counts["failed"]),
        "display_rate": percentage(counts["shown"], accepted),
        "click_rate": percentage(counts["clicked"], accepted),
    }


def funnel_of(counts: Counts) -> list[dict[str, Any]]:
    """Return the steps of the funnel."""
    steps = ("queued", "accepted", "shown", "clicked")
    before = (None, *steps)
    return [
        {"step": step, "count": counts[step], "rate": earlier and percentage(counts[step], counts[earlier])}
        for step, earlier in zip(steps, before, strict=False)
    ]


def broadcast_labels(keys: list[str], types: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a readable name for each primary key of a broadcast that still exists. `types` has labels of types."""
    types = types or {}
    numbers = [int(key) for key in keys if key.isdecimal()]
    broadcasts = rows_of(PushBroadcast).filter(pk__in=numbers).values_list("pk", "type", "created_at")
    return {
        str(pk): f"{types.get(kind, kind)}, {timezone.localtime(created):%Y-%m-%d %H:%M}"
        for pk, kind, created in broadcasts
    }


def report_of(figures: Figures) -> dict[str, Any]:
    """Return the result of `get_report`."""
    is_filtered = figures.key != TOTAL or figures.conditions is not None
    breakdowns = {} if is_filtered else figures.breakdown
    return {
        "period": {
            "days": figures.days,
            "first": figures.period[0],
            "last": figures.period[-1],
            "as_of": figures.as_of,
            "uncounted_days": len(figures.uncounted),
        },
        "filter": dict([figures.key]) if figures.key != TOTAL else {},
        "totals": _entry(figures.total),
        "previous": _entry(figures.previous_total),
        "funnel": funnel_of(figures.total),
        "daily": [{"date": day, **_entry(counts)} for day, counts in figures.daily.items()],
        "choices": {name: sorted(figures.breakdown.get(name, {})) for name in FILTERS},
        "breakdowns": {
            dimension: _breakdown(found) for dimension, found in breakdowns.items() if dimension != Dimension.TOTAL
        },
        "subscribers": [] if is_filtered else _subscribers(figures),
    }


def _subscribers(figures: Figures) -> list[dict[str, Any]]:
    return [
        {
            "date": day,
            "gained": counts["subscribers_gained"],
            "lost": counts["subscribers_lost"],
            "active": figures.subscribers[day],
        }
        for day, counts in figures.daily.items()
    ]


def _entry(counts: Counts) -> dict[str, Any]:
    return {**counters_of(counts), **rates_of(counts), **_times_of(counts)}


def _times_of(counts: Counts) -> dict[str, float | None]:
    return {"p50": percentile(counts.times, 0.5), "p95": percentile(counts.times, 0.95)}


def _breakdown(found: Mapping[str, Counts]) -> list[dict[str, Any]]:
    entries = [{"value": value, **counters_of(counts), **rates_of(counts)} for value, counts in found.items()]
    counted = [entry for entry in entries if entry["queued"] or entry["opted_out"]]
    return sorted(counted, key=lambda entry: (entry["value"] == OTHER_VALUE, -entry["queued"], entry["value"]))


def _types(figures: Figures) -> dict[str, Counts]:
    if figures.conditions is None and figures.key[0] == Dimension.TYPE:
        return {figures.key[1]: figures.total}
    if figures.conditions is None and figures.key != TOTAL:
        raise ValueError("get_type_stats can be filtered by type, batch and user only: statistics have one dimension.")
    return figures.breakdown.get(Dimension.TYPE, {})


def _was_tried(counts: Counts) -> bool:
    return bool(counts["accepted"] or counts["failed"])


def _legacy(counts: Counts) -> dict[str, Any]:
    return {**{name: counts[counter] for name, counter in LEGACY_NAMES.items()}, **rates_of(counts)}


def _remembered(name: str, days: int, filters: Mapping[str, Any], compute: Callable[[Figures], Value]) -> Value:
    if not 1 <= days <= MAX_DAYS:
        raise ValueError(f"days must be 1 or more and at most {MAX_DAYS}, not {days}")
    figures = _figures(days, filters)
    parts = (figures.key, sorted((figures.conditions or {}).items()), timezone.get_current_timezone_name())
    return remember(name, days, *parts, today(), compute=lambda: compute(figures))


def _figures(days: int, filters: Mapping[str, Any]) -> Figures:
    """Return the figures that the filters choose."""
    if unknown := set(filters) - {*FILTERS, *LIVE_FILTERS}:
        raise TypeError(f"Unknown filter {min(unknown)!r}; known are {', '.join((*FILTERS, *LIVE_FILTERS))}")
    given = {name: value for name, value in filters.items() if value is not None}
    conditions: dict[str, Any] = {}
    if "batch" in given:
        conditions["batch"] = str(given["batch"])
    if "user" in given:
        conditions["user"] = getattr(given["user"], "pk", given["user"])
    dimensions = [name for name in FILTERS if name in given]
    if conditions and not set(dimensions) <= {"type"}:
        raise ValueError("batch and user can be combined with type only.")
    if len(dimensions) > 1:
        raise ValueError(f"Statistics have one dimension: filter by one of {' and '.join(dimensions)}.")
    if set(conditions) == {"batch"} and not dimensions and (pk := _large_broadcast(conditions["batch"])):
        return Figures(days, (Dimension.BROADCAST.value, pk))
    if conditions:
        return Figures(days, TOTAL, {**conditions, **{name: given[name] for name in dimensions}})
    return Figures(days, key_of(dimensions[0], given[dimensions[0]]) if dimensions else TOTAL)


def _large_broadcast(batch: str) -> str:
    """Return the primary key of the broadcast with this batch if it has too many rows to count now, or ""."""
    rows: QuerySet[Any] = rows_of(get_notification_model()).filter(batch=batch).order_by()
    if rows[: LIVE_ROWS + 1].count() <= LIVE_ROWS:
        return ""
    pk = rows_of(PushBroadcast).filter(batch=batch).values_list("pk", flat=True).first()
    return "" if pk is None else str(pk)

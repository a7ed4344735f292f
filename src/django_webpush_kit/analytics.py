"""Statistics of delivery and engagement.

    NotificationAnalyticsService().get_notification_stats(days=7, type="order_shipped")

All figures count the notifications created in the last `days` days. Rates are percentages with one decimal, or None
if there is nothing to count. Results are cached for `STATISTICS_CACHE_SECONDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Case, Count, Expression, F, IntegerField, Q, QuerySet, When
from django.db.models import Value as Literal
from django.utils import timezone

from django_webpush_kit.caching import remember
from django_webpush_kit.models import get_analytics_model, get_notification_model
from django_webpush_kit.states import ActionType, NotificationStatus

Value = TypeVar("Value")

SENDING_COUNTS = {
    "sent": Count("pk", filter=Q(status=NotificationStatus.SENT)),
    "failed": Count("pk", filter=Q(status=NotificationStatus.FAILED)),
}

EVENT_COUNTS = {
    action: Count("notification", filter=Q(action_type=action), distinct=True) for action in ActionType.values
}

CLICKS = Count("notification", filter=Q(action_type__in=(ActionType.CLICKED, ActionType.ACTION_CLICKED)), distinct=True)


class NotificationAnalyticsService:
    """Each method accepts the filters `type` (notification type), `batch` (UUID) and `user` in any combination."""

    def get_notification_stats(self, days: int = 30, **filters: Any) -> dict[str, Any]:
        """Return `{"total_sent", "total_failed", "delivery_rate", "period_days"}`.

        `delivery_rate` is the percentage accepted by push services of all messages accepted or failed.
        """
        counts = _remembered("notifications", days, filters, lambda period: period.rows().aggregate(**SENDING_COUNTS))
        return {
            "total_sent": counts["sent"],
            "total_failed": counts["failed"],
            "delivery_rate": percentage(counts["sent"], counts["sent"] + counts["failed"]),
            "period_days": days,
        }

    def get_engagement_stats(self, days: int = 30, **filters: Any) -> dict[str, int]:
        """Return the number of notifications: `{"sent", "delivered", "clicked", "dismissed", "action_clicked"}`."""
        return _remembered("engagement", days, filters, _engagement)

    def get_type_stats(self, days: int = 30, **filters: Any) -> list[dict[str, Any]]:
        """Return one dict per notification type, sorted by `sent` in descending order.

        `{"type", "sent", "failed", "delivered", "clicked", "dismissed", "action_clicked", "delivery_rate",
        "display_rate", "click_rate"}`. `display_rate` and `click_rate` are percentages of `sent`; clicks on buttons
        count as clicks.
        """
        groups: dict[str, dict[str, int]] = _remembered(
            "types", days, filters, lambda period: _grouped(period, lambda prefix: F(f"{prefix}type"))
        )
        return sorted(
            ({"type": name, **_with_rates(counts)} for name, counts in groups.items()),
            key=lambda entry: (-entry["sent"], entry["type"]),
        )

    def get_daily_stats(self, days: int = 30, **filters: Any) -> list[dict[str, Any]]:
        """Return one dict per day, oldest first: `date` (in the current time zone) and the keys of `get_type_stats`.

        Days without notifications are included, so that a chart needs no gaps filled.
        """
        today = timezone.localdate()
        dates = [today - timedelta(days=back) for back in range(days, -1, -1)]
        groups: dict[int, dict[str, int]] = _remembered(
            "days",
            days,
            filters,
            lambda period: _grouped(period, lambda prefix: _number_of_day(f"{prefix}created_at", dates)),
        )
        return [{"date": day, **_with_rates(groups.get(number, {}))} for number, day in enumerate(dates)]


def percentage(part: int, whole: int) -> float | None:
    """Return `part` as a percentage of `whole` with one decimal, or None if `whole` is 0."""
    return round(100 * part / whole, 1) if whole else None


@dataclass(frozen=True, slots=True)
class Period:
    """The notifications created since a point in time, and their events."""

    since: datetime
    conditions: Mapping[str, Any]

    def rows(self) -> QuerySet[Any]:
        """Return the notifications of the period."""
        return get_notification_model().objects.filter(created_at__gte=self.since, **self.conditions)

    def events(self) -> QuerySet[Any]:
        """Return their events. No event is older than its notification, so the index on `timestamp` can be used."""
        conditions = {f"notification__{name}": value for name, value in self.conditions.items()}
        return get_analytics_model().objects.filter(
            timestamp__gte=self.since, notification__created_at__gte=self.since, **conditions
        )


def _remembered(name: str, days: int, filters: Mapping[str, Any], compute: Callable[[Period], Value]) -> Value:
    if days < 1:
        raise ValueError(f"days must be 1 or more, not {days}")
    conditions = _conditions(**filters)
    return remember(
        name,
        days,
        sorted(conditions.items()),
        timezone.get_current_timezone_name(),
        timezone.localdate(),
        compute=lambda: compute(Period(timezone.now() - timedelta(days=days), conditions)),
    )


def _conditions(
    *,
    type: str | None = None,  # noqa: A002  # the field's own name
    batch: UUID | str | None = None,
    user: Any = None,
) -> dict[str, Any]:
    given = {"type": type, "batch": batch and str(batch), "user": getattr(user, "pk", user)}
    return {name: value for name, value in given.items() if value is not None}


def _engagement(period: Period) -> dict[str, int]:
    sent = period.rows().aggregate(sent=SENDING_COUNTS["sent"])
    return {**sent, **period.events().aggregate(**EVENT_COUNTS)}


def _grouped(period: Period, group_of: Callable[[str], Expression | F]) -> dict[Any, dict[str, int]]:
    """Count rows and events by an expression over a notification's fields. Always runs two queries."""
    groups: dict[Any, dict[str, int]] = {}
    for queryset, prefix, counts in (
        (period.rows(), "", SENDING_COUNTS),
        (period.events(), "notification__", {**EVENT_COUNTS, "clicks": CLICKS}),
    ):
        for entry in queryset.order_by().annotate(group=group_of(prefix)).values("group").annotate(**counts):
            groups.setdefault(entry.pop("group"), {}).update(entry)
    return groups


def _number_of_day(field: str, dates: Sequence[date]) -> Case:
    """Return an expression for the index in `dates` of a timestamp's local day.

    Truncation in the database would need its time zone tables, which MySQL and MariaDB often lack.
    """
    ends = [timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min)) for day in dates]
    return Case(
        *(When(**{f"{field}__lt": end}, then=Literal(number)) for number, end in enumerate(ends)),
        output_field=IntegerField(),
    )


def _with_rates(counts: Mapping[str, int]) -> dict[str, Any]:
    figures = {name: counts.get(name, 0) for name in (*SENDING_COUNTS, *EVENT_COUNTS)}
    sent = figures["sent"]
    return {
        **figures,
        "delivery_rate": percentage(sent, sent + figures["failed"]),
        "display_rate": percentage(figures["delivered"], sent),
        "click_rate": percentage(counts.get("clicks", 0), sent),
    }

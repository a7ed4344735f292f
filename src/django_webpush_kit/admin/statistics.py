"""The statistics page of the admin: totals compared with the previous period, charts, breakdowns and exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_webpush_kit.admin.charts import DAY_STEPS, HOUR_STEPS, WEEK_STEPS, Chart, Series
from django_webpush_kit.admin.numbers import formatted
from django_webpush_kit.admin.reading import type_labels
from django_webpush_kit.admin.statistics_export import export_csv, export_json
from django_webpush_kit.analytics.figures import Figures
from django_webpush_kit.analytics.service import FILTERS, NotificationAnalyticsService, broadcast_labels
from django_webpush_kit.option_checks import storable
from django_webpush_kit.rollups.building import OTHER_VALUE
from django_webpush_kit.rollups.counts import TOTAL, Dimension, Key

PERIODS = (7, 30, 90, 365)

DEFAULT_PERIOD = 30

MAX_POINTS = 120
"""Longer periods are drawn by week."""

MAX_ROWS = 15
"""Maximum number of rows in the table of one dimension. The export has all rows."""

TEMPLATE = "django_webpush_kit/admin/statistics.html"

NO_VALUE = {
    Dimension.TYPE: _("no type"),
    Dimension.PUSH_SERVICE: _("unknown"),
    Dimension.BROWSER: _("unknown"),
    Dimension.TEMPLATE: _("no template"),
    Dimension.LANGUAGE: _("default language"),
    Dimension.REASON: _("no reason"),
}

TILES = (
    ("queued", _("queued"), ""),
    ("accepted", _("accepted"), "delivery_rate"),
    ("shown", _("shown"), "display_rate"),
    ("clicked", _("clicked"), "click_rate"),
    ("dismissed", _("dismissed"), ""),
    ("failed", _("failed"), ""),
    ("expired", _("expired"), ""),
    ("suppressed", _("suppressed"), ""),
    ("cancelled", _("cancelled"), ""),
    ("opted_out", _("opted out"), ""),
    ("unsubscribed", _("unsubscribed"), ""),
    ("gone", _("subscription had ended"), ""),
)

RATES = {
    "delivery_rate": _("of accepted and failed"),
    "display_rate": _("of accepted"),
    "click_rate": _("of accepted"),
}

BREAKDOWNS = (*FILTERS, Dimension.REASON.value)


def statistics_page(request: HttpRequest, context: dict[str, Any]) -> HttpResponseBase:
    """Return the page for `?days=`, one of `PERIODS`, and `?show=`, such as "type:news"; or `?format=csv` or `json`.

    `context` is the context of every admin page.
    """
    text = request.GET.get("days", "")
    days = int(text) if text in map(str, PERIODS) else DEFAULT_PERIOD
    key = _chosen(request.GET.get("show", ""))
    exports = {"csv": export_csv, "json": export_json}
    if (export := exports.get(request.GET.get("format", ""))) is not None:
        return export(Figures(days, key))
    chosen = {key[0]: key[1]} if key != TOTAL else {}
    report = NotificationAnalyticsService().get_report(days, **chosen)
    labels = _Labels(report)
    figures = {
        "title": _("Statistics"),
        "days": days,
        "periods": [{"days": choice, "query": _query(choice, key)} for choice in PERIODS],
        "show": _show(key),
        "chosen": labels.of(*key) if chosen else "",
        "choices": _choices(report, labels, key),
        "exports": [{"name": name.upper(), "query": _query(days, key, format=name)} for name in exports],
        "period": report["period"],
        "tiles": _tiles(report, days),
        "funnel": _funnel(report),
        "times": {name: duration(report["totals"][name]) for name in ("p50", "p95")},
        "charts": _charts(report),
        "breakdowns": _breakdowns(report, labels, days),
    }
    return TemplateResponse(request, TEMPLATE, {**context, **figures})


def duration(seconds: float | None) -> str:
    """Return a time in words: "2.5 seconds", "3 minutes"; "" for None."""
    if seconds is None:
        return ""
    minutes, hours, days = (round(seconds / size, 1) for size in (60, 3600, 86_400))
    if minutes < 1:
        text, number = ngettext("%s second", "%s seconds", _plural(round(seconds, 1))), round(seconds, 1)
    elif hours < 1:
        text, number = ngettext("%s minute", "%s minutes", _plural(minutes)), minutes
    elif days < 1:
        text, number = ngettext("%s hour", "%s hours", _plural(hours)), hours
    else:
        text, number = ngettext("%s day", "%s days", _plural(days)), days
    return text % formatted(number)


def _plural(number: float) -> int:
    """Return a whole number that takes the same form of a word: 1 for 1, and more for parts."""
    return int(number) if number == int(number) else int(number) + 2


class _Labels:
    """Readable names of values."""

    def __init__(self, report: Mapping[str, Any]) -> None:
        self._types = type_labels()
        self._broadcasts = broadcast_labels(report["choices"][Dimension.BROADCAST], self._types)

    def of(self, dimension: str, value: str) -> Any:
        """Return the label of a value."""
        if value == OTHER_VALUE:
            return _("all others")
        if dimension == Dimension.BROADCAST:
            return self._broadcasts.get(value, f"#{value}")
        if dimension == Dimension.TYPE and value:
            return self._types.get(value, value)
        return value or NO_VALUE.get(Dimension(dimension), "")


def _chosen(show: str) -> Key:
    dimension, separator, value = show.partition(":")
    return (dimension, storable(value)) if separator and dimension in FILTERS else TOTAL


def _show(key: Key) -> str:
    return "" if key == TOTAL else ":".join(key)


def _query(days: int, key: Key, **more: str) -> str:
    given = {"days": days, **({"show": _show(key)} if key != TOTAL else {}), **more}
    return f"?{urlencode(given)}"


def _choices(report: Mapping[str, Any], labels: _Labels, key: Key) -> list[dict[str, Any]]:
    """Return the groups of the filter. A chosen value is offered although nothing was counted for it."""
    groups = []
    for dimension in FILTERS:
        values = {*report["choices"][dimension], *([key[1]] if key[0] == dimension else [])} - {OTHER_VALUE}
        options = [{"show": f"{dimension}:{value}", "label": labels.of(dimension, value)} for value in values]
        options.sort(key=lambda option: str(option["label"]).casefold())
        groups.append({"label": Dimension(dimension).label, "options": options})
    return [group for group in groups if group["options"]]


def _tiles(report: Mapping[str, Any], days: int) -> list[dict[str, Any]]:
    tiles = []
    for name, label, rate in TILES:
        value, before = report["totals"][name], report["previous"][name]
        share = report["totals"].get(rate) if rate else None
        tiles.append(
            {
                "name": name,
                "label": label,
                "value": formatted(value),
                "rate": "" if share is None else f"{formatted(share)} % {RATES[rate]}",
                "change": _change(value, before, days),
            }
        )
    return tiles


def _change(value: int, before: int, days: int) -> str:
    """Return in words how a figure differs from the previous period."""
    if value == before:
        return gettext("as in the %d days before") % days
    if not before:
        return gettext("none in the %d days before") % days
    share = round(100 * abs(value - before) / before, 1)
    if not share:
        return gettext("about as in the %d days before") % days
    text = gettext("%(share)s %% more than in the %(days)d days before (%(before)s)")
    if value < before:
        text = gettext("%(share)s %% fewer than in the %(days)d days before (%(before)s)")
    return text % {"share": formatted(share), "days": days, "before": formatted(before)}


def _funnel(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    steps = report["funnel"]
    whole = max(1, steps[0]["count"])
    labels = {name: label for name, label, _rate in TILES}
    return [
        {
            **step,
            "label": labels[step["step"]],
            "count": formatted(step["count"]),
            "rate": formatted(step["rate"]),
            "width": f"{min(100.0, 100 * step['count'] / whole):.1f}%",
        }
        for step in steps
    ]


def _charts(report: Mapping[str, Any]) -> list[Chart]:
    charts = [_daily_chart(report)]
    if report["breakdowns"].get(Dimension.HOUR):
        charts.append(_hour_chart(report["breakdowns"][Dimension.HOUR]))
    if report["subscribers"]:
        charts.append(_subscriber_chart(report["subscribers"]))
    return charts


def _daily_chart(report: Mapping[str, Any]) -> Chart:
    groups = _by_week(report["daily"])
    names = ("accepted", "shown", "clicked")
    labels = {name: label for name, label, _rate in TILES}
    totals = {name: formatted(report["totals"][name]) for name in names}
    return Chart(
        id="daily",
        title=_("Notifications by week") if _is_by_week(report["daily"]) else _("Notifications by day"),
        description=gettext("%(accepted)s accepted, %(shown)s shown, %(clicked)s clicked in the whole period.")
        % totals,
        axis=_("week from") if _is_by_week(report["daily"]) else _("day"),
        steps=WEEK_STEPS if _is_by_week(report["daily"]) else DAY_STEPS,
        labels=[_day(group[0]["date"]) for group in groups],
        series=[Series(name, labels[name], _sums(groups, name)) for name in names],
        extra=[Series(name, labels[name], _sums(groups, name)) for name in ("queued", "failed", "expired")],
    )


def _hour_chart(entries: Sequence[Mapping[str, Any]]) -> Chart:
    by_hour = {entry["value"]: entry for entry in entries}
    hours = [f"{hour:02}" for hour in range(24)]
    labels = {name: label for name, label, _rate in TILES}

    def values(name: str) -> list[int]:
        return [by_hour[hour][name] if hour in by_hour else 0 for hour in hours]

    busiest = max(hours, key=lambda hour: by_hour.get(hour, {}).get("accepted", 0))
    return Chart(
        id="hours",
        title=_("Accepted by hour of day"),
        description=gettext("Most were accepted between %(from)s and %(to)s.")
        % {"from": f"{busiest}:00", "to": f"{(int(busiest) + 1) % 24:02}:00"},
        axis=_("hour"),
        labels=[f"{hour}:00" for hour in hours],
        series=[Series("accepted", labels["accepted"], values("accepted"))],
        extra=[Series(name, labels[name], values(name)) for name in ("shown", "clicked")],
        is_bars=True,
        steps=HOUR_STEPS,
    )


def _subscriber_chart(entries: Sequence[Mapping[str, Any]]) -> Chart:
    groups = _by_week(entries)
    gained, lost = (sum(entry[name] for entry in entries) for name in ("gained", "lost"))
    return Chart(
        id="subscribers",
        title=_("Active subscriptions"),
        description=gettext("%(gained)s gained and %(lost)s lost in the period; %(active)s now.")
        % {"gained": formatted(gained), "lost": formatted(lost), "active": formatted(entries[-1]["active"])},
        axis=_("week from") if _is_by_week(entries) else _("day"),
        steps=WEEK_STEPS if _is_by_week(entries) else DAY_STEPS,
        labels=[_day(group[0]["date"]) for group in groups],
        series=[Series("active", _("active"), [group[-1]["active"] for group in groups])],
        extra=[
            Series("gained", _("gained"), _sums(groups, "gained")),
            Series("lost", _("lost"), _sums(groups, "lost")),
        ],
    )


def _is_by_week(entries: Sequence[Any]) -> bool:
    return len(entries) > MAX_POINTS


def _by_week(entries: Sequence[Mapping[str, Any]]) -> list[Sequence[Mapping[str, Any]]]:
    """Return groups of one day each, or of seven if there are many; the last seven days are one group."""
    size = 7 if _is_by_week(entries) else 1
    starts = range(len(entries) % size or size, len(entries) + 1, size)
    return [entries[max(0, end - size) : end] for end in starts]


def _sums(groups: Sequence[Sequence[Mapping[str, Any]]], name: str) -> list[int]:
    return [sum(entry[name] for entry in group) for group in groups]


def _day(day: date) -> str:
    return date_format(day, "SHORT_DATE_FORMAT")


def _breakdowns(report: Mapping[str, Any], labels: _Labels, days: int) -> list[dict[str, Any]]:
    found = []
    for dimension in BREAKDOWNS:
        entries = report["breakdowns"].get(dimension, [])
        if not entries:
            continue
        found.append(
            {
                "dimension": dimension,
                "title": Dimension(dimension).label,
                "is_campaign": dimension == Dimension.BROADCAST,
                "is_reason": dimension == Dimension.REASON,
                "rows": [
                    {
                        **{name: formatted(entry[name]) for name in entry if name != "value"},
                        "label": labels.of(dimension, entry["value"]),
                        "query": _query(days, (dimension, entry["value"])) if _is_filter(dimension, entry) else "",
                    }
                    for entry in entries[:MAX_ROWS]
                ],
                "more": max(0, len(entries) - MAX_ROWS),
            }
        )
    return found


def _is_filter(dimension: str, entry: Mapping[str, Any]) -> bool:
    return dimension in FILTERS and entry["value"] != OTHER_VALUE

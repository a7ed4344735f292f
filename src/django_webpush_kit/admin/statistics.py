"""The statistics page of the admin: health, totals, and figures by type and by day."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from django_webpush_kit.analytics import NotificationAnalyticsService
from django_webpush_kit.health import get_health

PERIODS = (1, 7, 30, 90)

TEMPLATE = "django_webpush_kit/admin/statistics.html"


def statistics_page(request: HttpRequest, context: dict[str, Any]) -> TemplateResponse:
    """Return the page for `?days=`, one of `PERIODS`. `context` is the context of every admin page."""
    text = request.GET.get("days", "")
    days = int(text) if text in map(str, PERIODS) else 30
    service = NotificationAnalyticsService()
    daily = service.get_daily_stats(days)
    figures = {
        "title": _("Statistics"),
        "days": days,
        "periods": PERIODS,
        "health": get_health(details=True),
        "totals": service.get_notification_stats(days),
        "engagement": service.get_engagement_stats(days),
        "types": service.get_type_stats(days),
        "daily": daily,
        "max_sent": max(1, *(day["sent"] for day in daily)),
    }
    return TemplateResponse(request, TEMPLATE, {**context, **figures})

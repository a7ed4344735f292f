"""The statistics, over rows and events in the database."""

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_webpush_kit.analytics import NotificationAnalyticsService, percentage
from tests.factories import make_event, make_notification

pytestmark = pytest.mark.django_db

service = NotificationAnalyticsService()


@pytest.mark.thorough
def test_without_traffic_there_is_no_rate():
    assert service.get_notification_stats() == {
        "total_sent": 0,
        "total_failed": 0,
        "delivery_rate": None,
        "period_days": 30,
    }
    assert service.get_engagement_stats() == {
        "sent": 0,
        "delivered": 0,
        "clicked": 0,
        "dismissed": 0,
        "action_clicked": 0,
    }
    assert service.get_type_stats() == []


def test_the_delivery_rate_is_accepted_by_attempted(subscription):
    for status in ("sent", "sent", "failed", "pending", "suppressed", "expired", "cancelled", "sending"):
        make_notification(subscription, status)
    assert service.get_notification_stats(days=7) == {
        "total_sent": 2,
        "total_failed": 1,
        "delivery_rate": 66.7,
        "period_days": 7,
    }


def test_rows_older_than_the_period_do_not_count(subscription):
    old = make_notification(subscription, days_ago=8)
    make_event(old, "clicked")
    make_notification(subscription, days_ago=6)
    assert service.get_notification_stats(days=7)["total_sent"] == 1
    assert service.get_engagement_stats(days=7) == {
        "sent": 1,
        "delivered": 0,
        "clicked": 0,
        "dismissed": 0,
        "action_clicked": 0,
    }


def test_engagement_counts_notifications_not_events(subscription):
    first, second, third = (make_notification(subscription) for _ in range(3))
    for row in (first, second, third):
        make_event(row, "delivered")
    make_event(first, "clicked")
    make_event(second, "action_clicked", "accept")
    make_event(second, "action_clicked", "decline")
    make_event(third, "dismissed")
    assert service.get_engagement_stats() == {
        "sent": 3,
        "delivered": 3,
        "clicked": 1,
        "dismissed": 1,
        "action_clicked": 1,
    }


@pytest.mark.parametrize("name", ["type", "batch", "user", "user key"])
def test_filters_choose_notifications_and_their_events(subscription, make_user, make_subscription, name):
    batch, other = uuid.uuid4(), make_subscription(make_user(username="bob"))
    wanted = make_notification(subscription, type="news", batch=batch)
    unwanted = make_notification(other, type="offers")
    make_event(wanted, "clicked")
    make_event(unwanted, "clicked")
    make_notification(other, "failed", type="offers")
    value = {"type": "news", "batch": batch, "user": subscription.user, "user key": subscription.user.pk}[name]
    filters = {name.split()[0]: value}
    assert service.get_notification_stats(**filters)["delivery_rate"] == 100
    assert service.get_engagement_stats(**filters)["clicked"] == 1
    assert [entry["type"] for entry in service.get_type_stats(**filters)] == ["news"]


def test_an_unknown_filter_is_an_error():
    with pytest.raises(TypeError, match="colour"):
        service.get_notification_stats(colour="red")


def test_a_period_has_at_least_a_day():
    with pytest.raises(ValueError, match="days must be 1 or more"):
        service.get_notification_stats(days=0)


def test_types_have_rates_and_are_sorted_by_sent(subscription):
    make_notification(subscription, "failed", type="a")
    rows = [make_notification(subscription, type="b") for _ in range(4)]
    for row in rows[:3]:
        make_event(row, "delivered")
    make_event(rows[0], "clicked")
    make_event(rows[0], "action_clicked", "accept")
    make_event(rows[1], "action_clicked", "accept")
    no_rates = {"display_rate": None, "click_rate": None}
    nothing = {"delivered": 0, "clicked": 0, "dismissed": 0, "action_clicked": 0}
    assert service.get_type_stats() == [
        {
            "type": "b",
            "sent": 4,
            "failed": 0,
            "delivered": 3,
            "clicked": 1,
            "dismissed": 0,
            "action_clicked": 2,
            "delivery_rate": 100.0,
            "display_rate": 75.0,
            "click_rate": 50.0,
        },
        {
            "type": "a",
            "sent": 0,
            "failed": 1,
            **nothing,
            "delivery_rate": 0.0,
            **no_rates,
        },
    ]


def test_every_day_of_the_period_has_an_entry(subscription):
    row = make_notification(subscription, days_ago=1)
    make_event(row, "clicked")
    make_notification(subscription, "failed")
    days = service.get_daily_stats(days=3)
    today = timezone.localdate()
    assert [day["date"] for day in days] == [today - timedelta(days=back) for back in (2, 1, 0)]
    assert [(day["sent"], day["failed"], day["clicked"], day["click_rate"]) for day in days] == [
        (0, 0, 0, None),
        (1, 0, 1, 100.0),
        (0, 1, 0, None),
    ]


def test_days_are_those_of_the_site_time_zone_whichever_is_active(subscription):
    make_notification(subscription)
    with timezone.override("Pacific/Kiritimati"):
        assert [day["sent"] for day in service.get_daily_stats(days=2)] == [0, 1]
        assert service.get_daily_stats(days=1)[0]["date"] == timezone.now().date()


def test_the_number_of_queries_is_constant(subscription):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            service.get_report()
        return len(captured)

    before = queries()
    for number in range(5):
        make_event(make_notification(subscription, type=f"type {number}"), "clicked")
    assert before - 1 <= queries() <= before + 1 <= 13


def test_figures_can_be_cached(settings, tmp_path, subscription):
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": tmp_path}
    }
    make_event(make_notification(subscription, type="news"), "delivered")
    methods = [name for name in dir(service) if name.startswith("get_") and name != "get_breakdown"]
    first = [getattr(service, name)() for name in methods]
    make_notification(subscription)
    assert [getattr(service, name)() for name in methods] == first
    assert service.get_report(8)["totals"]["queued"] == 2


@pytest.mark.parametrize(("part", "whole", "expected"), [(1, 3, 33.3), (2, 3, 66.7), (0, 5, 0.0), (0, 0, None)])
def test_percentages_have_one_decimal(part, whole, expected):
    assert percentage(part, whole) == expected

"""What is counted of a notification, in every dimension."""

from datetime import timedelta

import pytest
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.analytics import NotificationAnalyticsService
from django_webpush_kit.models import (
    DailyStatistics,
    OutboxDay,
    PushBroadcast,
    get_analytics_model,
    get_subscription_model,
)
from django_webpush_kit.rollups import opt_outs
from django_webpush_kit.rollups.bounds import Bounds
from django_webpush_kit.rollups.browsers import browser_of
from django_webpush_kit.rollups.building import roll_up
from django_webpush_kit.rollups.counts import SHOW_TIMES, Counts, bucket_of, percentile
from tests.factories import make_event, make_notification, make_template

pytestmark = pytest.mark.django_db

service = NotificationAnalyticsService()


@pytest.fixture(params=["live", "rolled up"], autouse=True)
def prepare(request):
    """Read each figure from rows and from daily statistics."""
    return (lambda: roll_up(Bounds())) if request.param == "rolled up" else (lambda: None)


def values(dimension):
    return {entry["value"]: entry["queued"] for entry in service.get_breakdown(dimension)}


def test_dimensions(subscription, prepare):
    template = make_template("news", language="de")
    broadcast = PushBroadcast.objects.create(type="news")
    get_subscription_model().objects.update(user_agent="Firefox")
    names = {"type": "news", "template": template, "language": "de", "batch": broadcast.batch}
    noon = timezone.now().replace(hour=12, minute=5) - timedelta(days=1)
    make_notification(subscription, created_at=noon, sent_at=noon, **names)
    prepare()
    assert values("type") == {"news": 1}
    assert values("template") == {"news (de)": 1}
    assert values("language") == {"de": 1}
    assert values("broadcast") == {str(broadcast.pk): 1}
    assert values("push_service") == {"updates.push.services.mozilla.com": 1}
    assert values("browser") == {"Firefox": 1}
    assert values("hour") == {"12": 1}
    assert values("reason") == {}
    (campaign,) = service.get_campaign_stats()
    assert campaign["label"] == f"news, {broadcast.created_at:%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("type", "news"),
        ("push_service", "updates.push.services.mozilla.com"),
        ("browser", "Firefox"),
        ("language", "de"),
    ],
)
def test_filters(subscription, make_user, make_subscription, prepare, name, value):
    other = make_subscription(make_user(), endpoint="https://fcm.googleapis.com/fcm/send/abc")
    row = make_notification(subscription, type="news", language="de", days_ago=1)
    make_event(row, "delivered")
    make_notification(other, type="offers", days_ago=1)
    prepare()
    totals = service.get_report(7, **{name: value})["totals"]
    assert (totals["accepted"], totals["shown"]) == (1, 1)
    assert service.get_funnel(7, **{name: value}) == [
        {"step": "queued", "count": 1, "rate": None},
        {"step": "accepted", "count": 1, "rate": 100.0},
        {"step": "shown", "count": 1, "rate": 100.0},
        {"step": "clicked", "count": 0, "rate": 0.0},
    ]
    assert service.get_report(7, **{name: value})["filter"] == {name: value}


def test_a_broadcast_is_a_filter(subscription, prepare):
    broadcast = PushBroadcast.objects.create(type="news")
    make_notification(subscription, batch=broadcast.batch)
    make_notification(subscription)
    prepare()
    assert service.get_notification_stats(broadcast=broadcast)["total_sent"] == 1
    assert service.get_notification_stats(broadcast=broadcast.pk)["total_sent"] == 1
    assert service.get_notification_stats(batch=broadcast.batch)["total_sent"] == 1


def test_a_large_broadcast_is_read_from_the_statistics(subscription, prepare, monkeypatch):
    monkeypatch.setattr("django_webpush_kit.analytics.service.LIVE_ROWS", 1)
    broadcast = PushBroadcast.objects.create(type="news")
    other = make_notification(subscription)
    make_notification(subscription, batch=other.batch)
    for _ in range(2):
        make_notification(subscription, batch=broadcast.batch)
    prepare()
    assert service.get_notification_stats(batch=broadcast.batch)["total_sent"] == 2
    assert service.get_notification_stats(batch=other.batch)["total_sent"] == 2


def test_times_to_show(subscription, prepare):
    for seconds in (0.3, 1, 2, 3, 3600):
        row = make_notification(subscription, days_ago=1)
        event = make_event(row, "delivered")
        get_analytics_model().objects.filter(pk=event.pk).update(timestamp=row.sent_at + timedelta(seconds=seconds))
    prepare()
    times = service.get_show_times()
    assert times["count"] == 5
    assert 1 < times["p50"] <= 2
    assert times["p95"] == pytest.approx(3375, rel=0.2)


def test_effects_of_a_notification(make_user, make_subscription, prepare):
    now = timezone.now()
    for hours, reason in ((23, "unsubscribed"), (25, "unsubscribed"), (1, "logged out")):
        one = make_subscription(make_user())
        make_notification(one, created_at=now - timedelta(days=2), sent_at=now - timedelta(days=2))
        type(one).objects.filter(pk=one.pk).update(
            is_active=False, deactivated_at=now - timedelta(days=2) + timedelta(hours=hours), deactivation_reason=reason
        )
    prepare()
    assert service.get_report(7)["totals"]["unsubscribed"] == 1


def test_subscribers_over_time(make_user, make_subscription, prepare):
    now = timezone.now()
    for days_ago in (1, 1, 3):
        make_subscription(make_user(), created_at=now - timedelta(days=days_ago))
    ended = make_subscription(make_user(), created_at=now - timedelta(days=5))
    type(ended).objects.filter(pk=ended.pk).update(is_active=False, deactivated_at=now - timedelta(days=2))
    prepare()
    assert [(day["gained"], day["lost"], day["active"]) for day in service.get_subscriber_stats(6)] == [
        (1, 0, 1),
        (0, 0, 1),
        (1, 0, 2),
        (0, 1, 1),
        (2, 0, 3),
        (0, 0, 3),
    ]


def test_subscribers_of_days_after_the_last_count(make_user, make_subscription, time_machine, monkeypatch):
    now = timezone.now()
    time_machine.move_to(now - timedelta(days=2))
    make_subscription(make_user())
    roll_up(Bounds())
    time_machine.move_to(now)
    make_subscription(make_user())
    monkeypatch.setattr("django_webpush_kit.analytics.figures.LIVE_ROWS", 0)
    assert [day["active"] for day in service.get_subscriber_stats(4)] == [0, 1, 1, 1]
    monkeypatch.undo()
    assert [day["active"] for day in service.get_subscriber_stats(4)] == [0, 1, 1, 2]


class TestOptOuts:
    @pytest.fixture(autouse=True)
    def _at_once(self, django_capture_on_commit_callbacks):
        """Run what is put off until the end of the transaction."""
        self.commit = lambda: django_capture_on_commit_callbacks(execute=True)

    def switch_off(self, subscription, *types):
        with self.commit():
            services.update_preferences(subscription, {"categories": dict.fromkeys(types, False)})

    def counted(self, **filters):
        return service.get_report(7, **filters)["totals"]["opted_out"]

    def test_it_is_attributed_to_the_latest_notification_of_the_type(self, subscription, prepare):
        broadcast = PushBroadcast.objects.create(type="news")
        make_notification(subscription, type="news", days_ago=0.5)
        make_notification(subscription, type="news", batch=broadcast.batch)
        make_notification(subscription, type="offers")
        self.switch_off(subscription, "news")
        prepare()
        assert (self.counted(), self.counted(type="news"), self.counted(type="offers")) == (1, 1, 0)
        assert service.get_campaign_stats()[0]["opted_out"] == 1
        roll_up(Bounds())
        assert self.counted() == 1

    def test_without_a_notification_it_is_counted_for_the_day(self, subscription, prepare):
        make_notification(subscription, type="news", days_ago=3)
        self.switch_off(subscription, "news", "offers")
        self.switch_off(subscription, "news", "offers")
        prepare()
        assert (self.counted(), self.counted(type="news"), self.counted(browser="Firefox")) == (2, 1, 2)

    def test_a_type_that_is_off_by_default_is_no_opt_out(self, subscription, prepare, push_settings):
        push_settings(NOTIFICATION_TYPES={"news": {"label": "News", "default": False}})
        self.switch_off(subscription, "news")
        prepare()
        assert self.counted() == 0

    def test_an_error_does_not_prevent_a_change_of_preferences(self, subscription, prepare, monkeypatch, caplog):
        def fail(days, **_):
            raise ValueError

        monkeypatch.setattr(opt_outs, "keep", fail)
        self.switch_off(subscription, "news")
        subscription.refresh_from_db()
        assert subscription.preferences == {"categories": {"news": False}}
        assert "was not counted" in caplog.text

    def test_it_is_added_to_stored_counts(self, subscription, prepare):
        for number in range(3):
            make_notification(subscription, type=f"type {number}", days_ago=0)
            self.switch_off(subscription, *(f"type {earlier}" for earlier in range(number + 1)))
        prepare()
        assert self.counted() == 3
        assert DailyStatistics.objects.filter(dimension="total").get().kept == {"opted_out": 3}


@pytest.mark.parametrize(
    ("user_agent", "push_service", "expected"),
    [
        ("Firefox", "", "Firefox"),
        ("Mozilla/5.0 (X11) Gecko/20100101 Firefox/130.0", "", "Firefox"),
        ("Mozilla/5.0 AppleWebKit/537.36 Chrome/130.0 Safari/537.36 Edg/130.0", "", "Edge"),
        ("", "fcm.googleapis.com", "Chromium"),
        ("curl/8", "updates.push.services.mozilla.com", "Firefox"),
        ("", "web.push.apple.com", "Safari"),
        ("", "notify.windows.com", "Edge"),
        ("", "push.example.com", "other"),
    ],
)
def test_browsers(user_agent, push_service, expected):
    assert browser_of(user_agent, push_service) == expected


class TestPercentiles:
    def test_no_values_have_no_percentile(self):
        assert percentile({}, 0.5) is None

    def test_a_value_lies_in_its_bucket(self):
        for seconds in (0, 0.05, 0.1, 0.7, 3, 59, 60, 61, 86_400, 2_000_000):
            found = percentile({bucket_of(seconds): 10}, 0.95)
            assert seconds <= found * 1.06 + 0.1
            assert found <= seconds * 2 + 0.1

    def test_values_above_all_bounds_are_in_the_last_bucket(self):
        assert percentile({bucket_of(10**9): 3}, 0.5) == SHOW_TIMES[-1]

    def test_negative_durations_count_as_zero(self):
        assert bucket_of(-5) == 0

    def test_counts_survive_json(self):
        counts = Counts.from_json({"queued": 3, "times": {"2": 1}})
        assert Counts.from_json(counts.as_json()) == counts


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: service.get_breakdown("colour"), ValueError),
        (lambda: service.get_breakdown("type", browser="Firefox"), ValueError),
        (lambda: service.get_type_stats(browser="Firefox"), ValueError),
        (lambda: service.get_report(type="a", browser="b"), ValueError),
        (lambda: service.get_report(batch="00000000-0000-4000-8000-000000000000", browser="b"), ValueError),
        (lambda: service.get_report(10**9), ValueError),
        (lambda: service.get_report(color="x"), TypeError),
    ],
)
def test_unsupported_questions_are_errors(call, error):
    with pytest.raises(error):
        call()


def test_a_breakdown_of_a_user(subscription, user, make_user, make_subscription):
    make_notification(subscription, type="news")
    make_notification(make_subscription(make_user()), type="offers")
    assert [entry["value"] for entry in service.get_breakdown("type", user=user)] == ["news"]
    report = service.get_report(user=user)
    assert (report["totals"]["queued"], report["subscribers"], report["breakdowns"]) == (1, [], {})


def test_a_large_site_without_cleanup_shows_only_counted_days(subscription, monkeypatch):
    monkeypatch.setattr("django_webpush_kit.analytics.figures.LIVE_ROWS", 1)
    for _ in range(3):
        make_notification(subscription)
    report = service.get_report(7)
    assert report["totals"]["queued"] == 0
    assert report["period"]["uncounted_days"] == 7
    assert report["period"]["as_of"] == timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    roll_up(Bounds())
    report = service.get_report(7)
    assert report["totals"]["queued"] == 3
    assert report["period"]["uncounted_days"] == 0
    assert timezone.now() - report["period"]["as_of"] < timedelta(minutes=1)


def test_scattered_uncounted_days_are_left_to_the_cleanup(subscription, monkeypatch):
    for days_ago in (2, 4, 6, 8):
        make_notification(subscription, days_ago=days_ago)
    roll_up(Bounds())
    OutboxDay.objects.exclude(checked_until__isnull=False).update(rolled_up_at=None)
    DailyStatistics.objects.all().delete()
    assert service.get_report(30)["period"]["uncounted_days"] == 4

"""Daily statistics: which days are counted when, in steps, beside deletions, and in spite of errors."""

import json
import logging
from datetime import date, datetime, timedelta
from datetime import timezone as datetime_timezone

import pytest
from django.db import OperationalError
from django.utils import timezone

from django_webpush_kit.analytics import NotificationAnalyticsService
from django_webpush_kit.delivery.pruning import clean_up
from django_webpush_kit.models import DailyStatistics, OutboxDay, get_notification_model, get_subscription_model
from django_webpush_kit.outbox.retries import retry_failed
from django_webpush_kit.rollups import building, counting
from django_webpush_kit.rollups.bounds import Bounds
from django_webpush_kit.rollups.building import build_day, due_days, find_days, keep, mark_changed, roll_up
from django_webpush_kit.rollups.counts import COUNTERS, TOTAL, Counts
from django_webpush_kit.rollups.days import day_of, today
from tests.factories import make_event, make_notification

pytestmark = pytest.mark.django_db

service = NotificationAnalyticsService()


def ago(days):
    return today() - timedelta(days=days)


def stored(day, dimension="total", value=""):
    row = DailyStatistics.objects.filter(day=day, dimension=dimension, value=value).first()
    return {} if row is None else {name: getattr(row, name) for name in COUNTERS if getattr(row, name)}


def steps(number):
    """Bounds that are reached after so many questions."""
    answers = iter([False] * number)
    return Bounds(is_stopped=lambda: next(answers, True))


def test_every_day_with_rows_is_counted(subscription):
    make_event(make_notification(subscription, days_ago=3, type="news"), "delivered")
    make_notification(subscription, "failed", days_ago=5, response_status=410, failure_reason="HTTP 410")
    assert roll_up(Bounds()) == 3
    assert stored(ago(3)) == {"queued": 1, "accepted": 1, "shown": 1}
    assert stored(ago(3), "type", "news") == stored(ago(3))
    assert stored(ago(5), "reason", "HTTP 410") == {"queued": 1, "failed": 1, "gone": 1}
    assert stored(today())["subscribers_gained"] == 1
    assert set(OutboxDay.objects.values_list("day", flat=True)) == {today(), ago(3), ago(5)}
    assert OutboxDay.objects.get(day=today()).subscribers == 1


def test_only_days_that_changed_are_counted_again(subscription):
    row = make_notification(subscription, days_ago=20)
    make_notification(subscription, days_ago=10)
    roll_up(Bounds())
    assert due_days() == [today()]
    make_event(row, "clicked")
    counted = []
    roll_up(Bounds(), counted.append)
    assert counted == [today(), ago(20)]
    assert stored(ago(20)) == {"queued": 1, "accepted": 1, "clicked": 1, "body_clicked": 1}
    assert roll_up(Bounds()) == 2, "once more: the last look overlaps"


def test_an_event_of_a_day_without_a_state_row_is_counted(subscription):
    roll_up(Bounds())
    row = make_notification(subscription, days_ago=20)  # imported
    make_event(row, "clicked")
    roll_up(Bounds())
    assert stored(ago(20))["clicked"] == 1


def test_days_missed_by_the_cleanup_are_counted_later(subscription):
    make_notification(subscription, days_ago=30)
    roll_up(Bounds())
    OutboxDay.objects.filter(day=today()).delete()
    get_subscription_model().objects.update(created_at=timezone.now() - timedelta(days=30))
    OutboxDay.objects.filter(day=ago(30)).update(checked_until=timezone.now() - timedelta(days=29))
    make_notification(subscription, days_ago=12)
    roll_up(Bounds())
    assert stored(ago(12))["accepted"] == 1


def test_a_day_is_counted_again_while_rows_are_unfinished(subscription):
    row = make_notification(subscription, "pending", days_ago=9)
    roll_up(Bounds())
    assert stored(ago(9)) == {"queued": 1}
    assert ago(9) in due_days()
    get_notification_model().objects.filter(pk=row.pk).update(status="sent", sent_at=timezone.now())
    roll_up(Bounds())
    assert stored(ago(9)) == {"queued": 1, "accepted": 1}
    assert ago(9) not in due_days()


def test_the_day_of_a_resent_row_is_counted_again(subscription):
    make_notification(subscription, "failed", days_ago=9)
    roll_up(Bounds())
    assert retry_failed(get_notification_model().objects.all()) == 1
    roll_up(Bounds())
    assert stored(ago(9)) == {"queued": 1}
    get_notification_model().objects.update(status="sent", sent_at=timezone.now())
    roll_up(Bounds())
    assert stored(ago(9)) == {"queued": 1, "accepted": 1}


def test_large_days_are_recounted_less_often_with_age(subscription):
    make_notification(subscription, "pending", days_ago=9)
    roll_up(Bounds())
    states = OutboxDay.objects.filter(day=ago(9))
    states.update(build_seconds=10)
    assert ago(9) not in due_days()
    states.update(rolled_up_at=timezone.now() - timedelta(hours=3))
    assert ago(9) in due_days()
    states.update(rolled_up_at=timezone.now() - timedelta(hours=2))
    assert ago(9) not in due_days()


def test_new_days_are_counted_before_changed_old_ones(subscription):
    for days_ago in (20, 30):
        make_notification(subscription, days_ago=days_ago)
    roll_up(Bounds())
    OutboxDay.objects.filter(day=ago(20)).update(changed_at=timezone.now())
    OutboxDay.objects.filter(day=ago(30)).update(rolled_up_at=None)
    assert due_days() == [today(), ago(30), ago(20)]


class TestSteps:
    @pytest.fixture(autouse=True)
    def _small_pages(self, monkeypatch):
        monkeypatch.setattr(counting, "PAGE_SIZE", 2)

    def test_an_interrupted_count_continues_where_it_stopped(self, subscription, monkeypatch):
        for number in range(7):
            make_event(make_notification(subscription, days_ago=3, type=f"type {number % 2}"), "delivered")
        make_notification(subscription, "pending", days_ago=3, created_at=timezone.now() - timedelta(days=3, minutes=1))
        find_days()
        read = []
        add_page = counting.DayTally.add_page
        monkeypatch.setattr(counting.DayTally, "add_page", lambda self, rows: (read.extend(rows), add_page(self, rows)))
        runs = 1
        while not build_day(ago(3), steps(0)):
            runs += 1
        assert runs == 5
        assert len(read) == len({row.pk for row in read}) == 8, "no row is read twice"
        state = OutboxDay.objects.get(day=ago(3))
        assert (state.progress, state.unfinished) == (None, 1)
        assert stored(ago(3)) == {"queued": 8, "accepted": 7, "shown": 7}
        assert stored(ago(3), "type", "type 1")["shown"] == 3
        assert service.get_show_times(7)["count"] == 7

    def test_rows_created_at_the_same_moment_are_all_read(self, subscription):
        moment = timezone.now() - timedelta(days=3)
        for _ in range(7):
            make_notification(subscription, created_at=moment)
        find_days()
        build_day(day_of(moment))
        assert stored(day_of(moment))["queued"] == 7

    def test_a_run_stops_at_its_limits_and_the_next_one_continues(self, subscription):
        for days_ago in range(5):
            make_notification(subscription, days_ago=days_ago)
        runs = 1
        while roll_up(steps(2)) and OutboxDay.objects.filter(rolled_up_at=None).exists():
            OutboxDay.objects.filter(rolled_up_at__isnull=False).update(build_seconds=2)
            runs += 1
        assert runs > 1
        assert service.get_report(7)["totals"]["queued"] == 5

    def test_a_run_that_stops_within_a_day_completes_it_next_time(self, subscription):
        for _ in range(5):
            make_notification(subscription)
        assert roll_up(steps(1)) == 0
        assert OutboxDay.objects.get(day=today()).progress["counts"]
        assert roll_up(Bounds()) == 1
        assert stored(today())["queued"] == 5

    @pytest.mark.parametrize("progress", [[], "x", {"deletions": 0}, {"deletions": 0, "after": ["x", "y"]}])
    def test_a_malformed_state_of_an_interrupted_count_is_ignored(self, subscription, progress, caplog):
        make_notification(subscription, days_ago=3)
        find_days()
        OutboxDay.objects.filter(day=ago(3)).update(progress=progress)
        assert build_day(ago(3))
        assert stored(ago(3))["queued"] == 1

    def test_deleting_rows_discards_an_unfinished_count(self, subscription, monkeypatch):
        for _ in range(3):
            make_notification(subscription, days_ago=3)
        find_days()
        build_day(ago(3), steps(0))
        keep({ago(3): {TOTAL: Counts.from_json({"queued": 1})}})
        get_notification_model().objects.first().delete()
        count_rest = counting.DayTally.add_subscriptions

        def deleted(self, *arguments):
            monkeypatch.setattr(counting.DayTally, "add_subscriptions", count_rest)
            keep({ago(3): {TOTAL: Counts.from_json({"queued": 1})}})
            get_notification_model().objects.first().delete()
            return count_rest(self, *arguments)

        monkeypatch.setattr(counting.DayTally, "add_subscriptions", deleted)
        assert not build_day(ago(3))
        assert OutboxDay.objects.get(day=ago(3)).rolled_up_at is None
        assert build_day(ago(3))
        assert stored(ago(3))["queued"] == 3


def test_an_error_in_one_day_stops_no_other(subscription, monkeypatch, caplog):
    for days_ago in (2, 4, 6):
        make_notification(subscription, days_ago=days_ago)
    replace = building._replace

    def fail(day, counted):
        if day == ago(4):
            raise ValueError("x")
        replace(day, counted)

    monkeypatch.setattr(building, "_replace", fail)
    with caplog.at_level(logging.ERROR):
        assert roll_up(Bounds()) == 3
    assert f"The statistics of {ago(4)} could not be built" in caplog.text
    assert (stored(ago(2)), stored(ago(4)), stored(ago(6))) == ({"queued": 1, "accepted": 1}, {}, stored(ago(2)))


def test_an_error_of_the_database_ends_the_run(monkeypatch):
    def fail(day, counted):
        raise OperationalError("gone")

    monkeypatch.setattr(building, "_replace", fail)
    monkeypatch.setattr("django_webpush_kit.database.ATTEMPTS", 1)
    with pytest.raises(OperationalError):
        roll_up(Bounds())


def test_a_rebuild_counts_days_again(subscription):
    make_notification(subscription, days_ago=3)
    make_notification(subscription, days_ago=13)
    roll_up(Bounds())
    DailyStatistics.objects.all().delete()
    assert mark_changed(ago(5)) == 2
    roll_up(Bounds())
    assert stored(ago(3))["queued"] == 1
    assert stored(ago(13)) == {}


def test_days_beyond_the_retention_are_not_counted(subscription, push_settings):
    push_settings(RETENTION_DAYS=5, STATISTICS_RETENTION_DAYS=10)
    row = make_notification(subscription, "pending", days_ago=50)
    make_event(row, "delivered")
    roll_up(Bounds())
    keep({ago(50): {TOTAL: Counts.from_json({"queued": 1})}})
    roll_up(Bounds())
    assert set(OutboxDay.objects.values_list("day", flat=True)) == {today()}


def test_rows_from_the_future_wait_for_their_day(subscription):
    make_notification(subscription, days_ago=-2)
    roll_up(Bounds())
    assert set(OutboxDay.objects.values_list("day", flat=True)) == {today()}


class TestAClockThatWasWrong:
    """A cleanup ran while the clock was ahead, and then the clock was set right."""

    AHEAD = timedelta(days=40)

    @pytest.fixture(autouse=True)
    def _ran_ahead(self, subscription, time_machine):
        make_notification(subscription)
        now = timezone.now()
        time_machine.move_to(now + self.AHEAD, tick=False)
        roll_up(Bounds())
        time_machine.move_to(now, tick=False)

    def test_current_statistics_can_be_read(self):
        report = service.get_report(30)
        assert (report["totals"]["queued"], report["period"]["last"]) == (1, today())
        assert report["subscribers"][-1]["active"] == 1
        assert report["period"]["uncounted_days"] == 0

    def test_days_are_found_and_counted(self, subscription):
        row = make_notification(subscription, days_ago=20)
        roll_up(Bounds())
        make_event(row, "clicked")
        roll_up(Bounds())
        assert stored(ago(20))["clicked"] == 1
        assert OutboxDay.objects.get(day=ago(-40)).checked_until is None

    def test_a_large_day_counted_under_the_wrong_clock_is_counted_again(self, subscription):
        row = make_notification(subscription, days_ago=3)
        future = timezone.now() + self.AHEAD
        OutboxDay.objects.create(day=ago(3), rolled_up_at=future, build_seconds=50.0, changed_at=future)
        make_event(row, "clicked")
        roll_up(Bounds())
        assert stored(ago(3))["clicked"] == 1
        assert OutboxDay.objects.get(day=ago(3)).rolled_up_at < future


def test_extreme_dates_do_not_stop_the_cleanup(subscription):
    last = datetime.max.replace(tzinfo=datetime_timezone.utc)
    first = datetime.min.replace(tzinfo=datetime_timezone.utc)
    row = make_notification(subscription)
    get_notification_model().objects.filter(pk=row.pk).update(created_at=last)
    OutboxDay.objects.create(day=ago(5), checked_until=first)
    assert clean_up()["days"] == 2  # today, and the one that says so
    assert service.get_report(30, user=subscription.user)["totals"]["queued"] == 0


class TestMoments:
    """Days in time zones whose clocks change. `time_machine` is the clock of the site."""

    @pytest.mark.parametrize(
        ("zone", "moment", "day", "hour"),
        [
            ("Europe/Berlin", "2026-03-28 23:00", date(2026, 3, 29), "00"),
            ("Europe/Berlin", "2026-03-29 01:30", date(2026, 3, 29), "03"),
            ("Europe/Berlin", "2026-03-29 21:59", date(2026, 3, 29), "23"),
            ("Europe/Berlin", "2026-10-25 00:30", date(2026, 10, 25), "02"),
            ("Europe/Berlin", "2026-10-25 01:30", date(2026, 10, 25), "02"),
            ("Europe/Berlin", "2026-10-25 22:59", date(2026, 10, 25), "23"),
            ("Asia/Beirut", "2026-03-28 22:30", date(2026, 3, 29), "01"),  # midnight is skipped
            ("Asia/Beirut", "2026-03-28 21:59", date(2026, 3, 28), "23"),
            ("America/Havana", "2024-11-03 04:30", date(2024, 11, 3), "00"),  # midnight came twice
            ("America/Havana", "2024-11-03 05:30", date(2024, 11, 3), "00"),
            ("Asia/Kathmandu", "2026-05-01 18:14", date(2026, 5, 1), "23"),
            ("Asia/Kathmandu", "2026-05-01 18:15", date(2026, 5, 2), "00"),
            ("Pacific/Kiritimati", "2026-05-01 10:00", date(2026, 5, 2), "00"),
        ],
    )
    def test_days_are_those_of_the_site_time_zone(self, settings, subscription, time_machine, zone, moment, day, hour):
        settings.TIME_ZONE = zone
        at = datetime.fromisoformat(f"{moment}+00:00")
        time_machine.move_to(at + timedelta(days=3), tick=False)
        make_notification(subscription, created_at=at, sent_at=at)
        roll_up(Bounds())
        assert stored(day, "hour", hour) == {"queued": 1, "accepted": 1}
        daily = {entry["date"]: entry["sent"] for entry in service.get_daily_stats(10)}
        assert daily[day] == sum(daily.values()) == 1

    def test_every_moment_belongs_to_exactly_one_day(self, settings, subscription, time_machine):
        settings.TIME_ZONE = "Asia/Beirut"
        start = datetime(2026, 3, 27, 20, tzinfo=datetime_timezone.utc)
        time_machine.move_to(start + timedelta(days=4), tick=False)
        get_subscription_model().objects.update(created_at=start + timedelta(hours=1))
        for half_hours in range(100):
            make_notification(subscription, created_at=start + timedelta(minutes=30 * half_hours))
        roll_up(Bounds())
        assert sum(entry["sent"] for entry in service.get_daily_stats(10)) == 100
        assert not OutboxDay.objects.filter(rolled_up_at=None).exists()


class TestValues:
    def test_hostile_values_are_counted(self, subscription, user):
        make_notification(subscription, type="ÄÖÜ 💩 \u202e'\"<>", language="x" * 35, days_ago=2)
        make_notification(subscription, type="NEWS", days_ago=2)
        make_notification(subscription, type="news", days_ago=2)
        make_notification(subscription, type="news ", days_ago=2)
        make_notification(subscription, "failed", failure_reason="r" * 200, days_ago=2)
        get_subscription_model().objects.update(user_agent="Firefox/" * 500, push_service="p" * 255)
        roll_up(Bounds())
        roll_up(Bounds())
        found = {entry["value"]: entry["queued"] for entry in service.get_breakdown("type", 7)}
        assert sum(found.values()) == 5
        assert found["ÄÖÜ 💩 \u202e'\"<>"] == 1
        (service_entry,) = service.get_breakdown("push_service", 7)
        assert service_entry["value"] == "p" * 200
        assert service.get_breakdown("reason", 7)[0]["value"] == "r" * 200

    def test_a_dimension_has_a_bounded_number_of_values(self, subscription, monkeypatch):
        monkeypatch.setattr(building, "MAX_VALUES", 2)
        for number in (1, 1, 1, 2, 2, 3, 4):
            make_notification(subscription, type=f"type {number}", days_ago=2)
        roll_up(Bounds())
        found = {entry["value"]: entry["queued"] for entry in service.get_breakdown("type", 7)}
        assert found == {"type 1": 3, "type 2": 2, "(other)": 2}

    @pytest.mark.parametrize("value", [None, [], "x", {"queued": "x", "shown": True, "clicked": -1, "times": [1]}])
    def test_malformed_stored_counts_are_ignored(self, subscription, value):
        make_notification(subscription, days_ago=2)
        roll_up(Bounds())
        DailyStatistics.objects.update(kept=json.loads(json.dumps(value or {"times": {"x": 1, "9999": 1}})))
        OutboxDay.objects.update(changed_at=timezone.now())
        clean_up()
        assert stored(ago(2)) == {"queued": 1, "accepted": 1}

"""What the hourly cleanup deletes, and what it keeps."""

from contextlib import contextmanager
from datetime import timedelta
from threading import Thread

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.analytics import NotificationAnalyticsService
from django_webpush_kit.api.events import Event, record
from django_webpush_kit.delivery import pruning
from django_webpush_kit.delivery.pruning import clean_up
from django_webpush_kit.models import IdempotencyKey, OutboxDay, get_notification_model, get_subscription_model
from django_webpush_kit.outbox.retries import retry_failed
from tests.factories import make_event, make_notification, make_template

pytestmark = pytest.mark.django_db

service = NotificationAnalyticsService()


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch):
    monkeypatch.setattr(pruning, "DELETE_SIZE", 2)


def age_keys(days):
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(days=days))


def test_a_key_is_kept_while_any_of_its_rows_is_unfinished(subscription):
    later = timezone.now() + timedelta(days=60)
    services.send(subscription, "Reminder", scheduled_for=later, idempotency_key="order:7")
    age_keys(31)
    assert clean_up()["idempotency_keys"] == 0
    assert services.send(subscription, "Reminder", scheduled_for=later, idempotency_key="order:7").reused
    assert services.cancel(idempotency_key="order:7") == 1


def test_a_key_is_kept_while_its_broadcast_is_unfinished(subscription):
    make_template("news", title_template="News")
    later = timezone.now() + timedelta(days=60)
    row = services.broadcast("news", scheduled_for=later, idempotency_key="may")
    age_keys(31)
    assert clean_up()["idempotency_keys"] == 0
    services.cancel(row)
    assert clean_up()["idempotency_keys"] == 1


def test_a_key_is_deleted_after_its_rows_are_finished(subscription):
    services.send(subscription, "Hello", idempotency_key="order:7")
    get_notification_model().objects.update(status="sent")
    age_keys(31)
    assert clean_up()["idempotency_keys"] == 1


def test_it_reports_progress_and_can_be_stopped_between_steps(subscription):
    for _ in range(5):
        make_notification(subscription, days_ago=500)
    clean_up(seconds=0)
    told = []
    counts = clean_up(on_progress=lambda name, count: told.append((name, count)), is_stopped=lambda: len(told) == 4)
    assert told == [("days", 1), ("days", 2), ("notifications", 2), ("notifications", 4)]
    assert counts == {
        "expired": 0,
        "days": 2,
        "texts": 0,
        "notifications": 4,
        "subscriptions": 0,
        "idempotency_keys": 0,
        "statistics": 0,
    }
    assert clean_up()["notifications"] == 1


def test_it_stops_at_its_time_limit_and_continues_next_time(subscription):
    make_notification(subscription, days_ago=1000)
    assert clean_up(seconds=0)["notifications"] == 0
    assert clean_up(seconds=60)["notifications"] == 1


@pytest.mark.parametrize("setting", ["RETENTION_DAYS", "TEXT_RETENTION_DAYS"])
def test_the_statements_of_the_last_step_are_as_long_as_those_before(subscription, push_settings, setting):
    """SQLite refuses a statement with a thousand conditions, and other databases take long to plan it."""
    for _ in range(20):
        make_notification(subscription, days_ago=20)
    clean_up()
    push_settings(**{setting: 10})
    with CaptureQueriesContext(connection) as captured:
        clean_up()
    steps = [query["sql"] for query in captured if "created_at" in query["sql"] and query["sql"].endswith("LIMIT 2")]
    assert len(steps) >= 10
    assert len(steps[9]) == len(steps[1])


def test_no_statement_has_two_lists_of_keys(subscription, make_subscription, push_settings):
    """PostgreSQL would rather read the whole table."""
    for days in range(20, 30):
        make_notification(subscription, days_ago=days)
    ended = make_subscription(is_active=False, deactivated_at=timezone.now() - timedelta(days=40))
    make_notification(ended, days_ago=2)
    clean_up()
    push_settings(RETENTION_DAYS=10, TEXT_RETENTION_DAYS=5)
    with CaptureQueriesContext(connection) as captured:
        counts = clean_up()
    assert (counts["notifications"], counts["subscriptions"]) == (10, 1)
    key = f"{connection.ops.quote_name('id')} IN ("
    assert max(query["sql"].count(key) for query in captured) == 1


def test_uncounted_rows_are_not_deleted(subscription):
    make_notification(subscription, days_ago=200)
    make_notification(subscription, days_ago=300)
    told = []
    counts = clean_up(is_stopped=lambda: told == ["days"] * 2, on_progress=lambda name, count: told.append(name))
    assert (counts["days"], counts["notifications"]) == (2, 0)
    assert get_notification_model().objects.count() == 2
    assert OutboxDay.objects.filter(rolled_up_at=None).exists()
    assert clean_up()["notifications"] == 2


class TestFigures:
    """The statistics before and after rows are deleted."""

    @pytest.mark.thorough
    def test_figures_of_90_days_stay_the_same(self, subscription, push_settings):
        for days_ago in range(1, 90, 8):
            row = make_notification(subscription, days_ago=days_ago, type="news")
            make_event(row, "delivered")
            make_event(row, "clicked")
        clean_up()
        before = service.get_report(90)
        assert before["totals"]["accepted"] == 12
        push_settings(RETENTION_DAYS=10)
        assert clean_up()["notifications"] == 10
        assert without_time(service.get_report(90)) == without_time(before)
        clean_up()
        assert without_time(service.get_report(90)) == without_time(before)

    def test_deleted_rows_still_count_if_their_day_is_counted_again(self, subscription, push_settings):
        rows = [make_notification(subscription, days_ago=20, type="news") for _ in range(5)]
        clean_up()
        for row in rows:
            make_event(row, "clicked")
        push_settings(RETENTION_DAYS=10)
        assert clean_up(is_stopped=stop_after(lambda: get_notification_model().objects.count() < 5))
        assert 0 < get_notification_model().objects.count() < 5
        assert service.get_report(30)["totals"]["clicked"] == 5
        clean_up()
        clean_up()
        assert not get_notification_model().objects.exists()
        assert service.get_report(30)["totals"] == {**service.get_report(30)["totals"], "accepted": 5, "clicked": 5}

    def test_a_row_finished_after_the_deletion_of_its_day_counts_too(self, subscription, push_settings):
        push_settings(RETENTION_DAYS=10)
        make_notification(subscription, days_ago=20)
        late = make_notification(subscription, "pending", days_ago=20)
        clean_up()
        assert service.get_report(30)["totals"]["queued"] == 2
        get_notification_model().objects.filter(pk=late.pk).update(status="sent", sent_at=timezone.now())
        clean_up()
        clean_up()
        totals = service.get_report(30)["totals"]
        assert (totals["queued"], totals["accepted"]) == (2, 2)
        assert not get_notification_model().objects.exists()

    def test_notifications_of_a_subscription_are_deleted_in_small_steps(self, make_user, make_subscription):
        now = timezone.now()
        gone = make_subscription(make_user(), created_at=now - timedelta(days=95))
        for _ in range(5):
            make_notification(gone, days_ago=20)
        type(gone).objects.update(is_active=False, deactivated_at=now - timedelta(days=91))
        clean_up()
        assert not type(gone).objects.exists()
        clean_up()
        report = service.get_report(100)
        assert report["totals"]["accepted"] == 5
        assert sum(day["gained"] for day in report["subscribers"]) == 1
        assert sum(day["lost"] for day in report["subscribers"]) == 1

    def test_a_subscription_stays_until_its_notifications_are_deleted(self, subscription):
        for _ in range(5):
            make_notification(subscription, days_ago=20)
        type(subscription).objects.update(is_active=False, deactivated_at=timezone.now() - timedelta(days=91))
        rows = get_notification_model().objects
        assert clean_up(is_stopped=stop_after(lambda: rows.count() < 4))["subscriptions"] == 0
        assert rows.count() == 3
        assert type(subscription).objects.exists()
        assert clean_up()["subscriptions"] == 1

    def test_statistics_have_their_own_retention(self, subscription, push_settings):
        push_settings(RETENTION_DAYS=10, STATISTICS_RETENTION_DAYS=30)
        make_notification(subscription, days_ago=25)
        clean_up()
        push_settings(RETENTION_DAYS=10, STATISTICS_RETENTION_DAYS=20)
        assert clean_up()["statistics"] > 0
        assert set(OutboxDay.objects.values_list("day", flat=True)) == {timezone.now().date()}


@pytest.mark.thorough
@pytest.mark.django_db(transaction=True)
def test_events_during_a_deletion_are_counted_or_refused(subscription, push_settings):
    push_settings(RETENTION_DAYS=5)
    rows = [make_notification(subscription, days_ago=20) for _ in range(60)]
    clean_up(seconds=0)
    recorded, problems = [], []

    def report():
        try:
            for row in reversed(rows):
                recorded.append(record([Event(row.pk, row.batch, "delivered")]))
        except Exception as error:
            problems.append(error)
        finally:
            connection.close()

    reports = Thread(target=report)
    reports.start()
    while get_notification_model().objects.exists():
        clean_up()
    reports.join()
    clean_up()
    assert problems == []
    assert service.get_report(30)["totals"]["queued"] == 60
    assert service.get_report(30)["totals"]["shown"] == sum(recorded)


@contextmanager
def locked(*rows):
    """Another transaction holds locks on these rows."""
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        for row in rows:
            table = connection.ops.quote_name(row._meta.db_table)
            cursor.execute(
                f"SELECT 1 FROM {table} WHERE id = %s FOR UPDATE", [row._meta.pk.get_db_prep_value(row.pk, other)]
            )
    try:
        yield
    finally:
        other.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="it has no row locks")
class TestRowsThatTheProjectHasLocked:
    @pytest.mark.parametrize("first", [0, 1, 4])
    def test_are_deleted_by_a_later_run(self, make_user, make_subscription, push_settings, first):
        push_settings(TEXT_RETENTION_DAYS=None)
        ended, kept = (make_subscription(make_user()) for _ in range(2))
        rows = [make_notification(ended if number % 2 else kept, days_ago=100) for number in range(5)]
        get_subscription_model().objects.filter(pk=ended.pk).update(
            is_active=False, deactivated_at=timezone.now() - timedelta(days=100)
        )
        services.send(kept, "Hello", idempotency_key="order:7")
        services.send(kept, "Hello", idempotency_key="order:8")
        get_notification_model().objects.filter(status="pending").update(status="sent")
        age_keys(31)
        with locked(rows[first], IdempotencyKey.objects.earliest("pk")):
            counts = clean_up()
        is_in_use = rows[first].subscription_id == ended.pk
        assert (counts["notifications"], counts["subscriptions"], counts["idempotency_keys"]) == (4, not is_in_use, 1)
        counts = clean_up()
        assert (counts["notifications"], counts["subscriptions"], counts["idempotency_keys"]) == (1, is_in_use, 1)

    def test_lose_their_texts_in_a_later_run(self, subscription, push_settings):
        push_settings(TEXT_RETENTION_DAYS=30)
        rows = [make_notification(subscription, days_ago=40, title="Hello") for _number in range(5)]
        with locked(rows[0], rows[3]):
            assert clean_up()["texts"] == 3
        assert clean_up()["texts"] == 2
        assert not get_notification_model().objects.filter(title="Hello").exists()

    def test_stay_if_they_are_subscriptions(self, make_user, make_subscription):
        ended = [make_subscription(make_user()) for _number in range(5)]
        long_ago = timezone.now() - timedelta(days=100)
        get_subscription_model().objects.update(is_active=False, deactivated_at=long_ago)
        with locked(*ended[:3]):
            assert clean_up()["subscriptions"] == 2
        assert clean_up()["subscriptions"] == 3


class TestTexts:
    def test_texts_are_deleted_before_figures(self, subscription, push_settings):
        push_settings(TEXT_RETENTION_DAYS=5)
        content = {"body": "World", "data": {"a": 1}, "options": {"url": "/orders/1/"}}
        old = [make_notification(subscription, days_ago=20, **content) for _ in range(3)]
        pending = make_notification(subscription, "pending", days_ago=20, **content)
        young = make_notification(subscription, days_ago=4, **content)
        assert clean_up()["texts"] == 3
        for row in old:
            row.refresh_from_db()
            assert (row.title, row.body, row.data, row.options) == ("", "", {}, {})
        for row in (pending, young):
            row.refresh_from_db()
            assert row.body == "World"
        get_notification_model().objects.filter(pk=pending.pk).update(status="sent")
        assert clean_up()["texts"] == 1
        assert OutboxDay.objects.filter(is_blanked=True).count() == 1
        assert service.get_report(30)["totals"]["queued"] == 5

    def test_it_can_be_stopped(self, subscription, push_settings):
        push_settings(TEXT_RETENTION_DAYS=5)
        for _ in range(5):
            make_notification(subscription, days_ago=20)
        told = []
        counts = clean_up(on_progress=lambda name, _: told.append(name), is_stopped=lambda: told.count("texts") == 1)
        assert counts["texts"] == 2
        assert not OutboxDay.objects.filter(is_blanked=True).exists()
        assert clean_up()["texts"] == 3

    def test_a_notification_without_texts_cannot_be_resent(self, subscription, push_settings):
        push_settings(TEXT_RETENTION_DAYS=5)
        make_notification(subscription, "failed", days_ago=20)
        clean_up()
        assert retry_failed(get_notification_model().objects.all()) == 0


def without_time(report):
    return {**report, "period": {**report["period"], "as_of": None}}


def stop_after(condition):
    """Stop a run as soon as the condition holds."""
    return lambda: bool(condition())

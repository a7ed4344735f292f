"""The figures of a large broadcast are read from the daily statistics, once these contain all of it."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_webpush_kit.delivery.pruning import clean_up
from django_webpush_kit.models import PushBroadcast, get_analytics_model, get_notification_model
from django_webpush_kit.outbox import broadcast_figures as module
from django_webpush_kit.outbox.broadcast_figures import broadcast_figures
from django_webpush_kit.outbox.retries import retry_failed
from django_webpush_kit.rollups.bounds import Bounds
from django_webpush_kit.rollups.building import roll_up
from tests.factories import make_event, make_notification

pytestmark = pytest.mark.django_db

STATUSES = ("sent", "sent", "sent", "failed", "failed", "expired", "suppressed", "cancelled")


@pytest.fixture
def broadcast(subscription, make_user, make_subscription):
    """A completed broadcast of five days ago, and a notification that is none of it."""
    began = timezone.now() - timedelta(days=5)
    row = PushBroadcast.objects.create(
        type="news", status="completed", created_at=began, finished_at=began, total=9, processed=9, queued=8, failed=1
    )
    sent_at = began + timedelta(seconds=1)
    for status in STATUSES:
        browser = make_subscription(make_user())
        sent = {"sent_at": sent_at} if status == "sent" else {"failure_reason": "A reason"}
        one = make_notification(browser, status, batch=row.batch, days_ago=5, **sent)
        if status == "sent":
            make_event(one, "delivered")
            make_event(one, "clicked")
    get_analytics_model().objects.filter(action_type="clicked")[0].delete()
    lost = get_notification_model().objects.filter(status="sent").first().subscription
    lost.is_active, lost.deactivation_reason, lost.deactivated_at = False, "unsubscribed", sent_at + timedelta(hours=1)
    lost.save()
    make_event(make_notification(subscription, days_ago=5), "delivered")
    return row


@pytest.fixture
def _large(monkeypatch):
    monkeypatch.setattr(module, "MANY_ROWS", 8)


def reads_events(action):
    with CaptureQueriesContext(connection) as captured:
        action()
    return any(get_analytics_model()._meta.db_table in query["sql"] for query in captured)


def test_they_are_the_same_as_those_of_the_rows(broadcast, monkeypatch):
    of_rows = broadcast_figures(broadcast)
    assert (of_rows.shown, of_rows.clicked, of_rows.unsubscribed, of_rows.progress.accepted) == (3, 2, 1, 3)
    roll_up(Bounds())
    monkeypatch.setattr(module, "MANY_ROWS", 8)
    assert not reads_events(lambda: broadcast_figures(broadcast))
    found = broadcast_figures(broadcast)
    assert found == of_rows
    assert found.progress.by_status == of_rows.progress.by_status


@pytest.mark.usefixtures("_large")
def test_they_are_counted_from_rows_until_the_statistics_contain_all(broadcast):
    assert reads_events(lambda: broadcast_figures(broadcast))
    roll_up(Bounds())
    PushBroadcast.objects.update(queued=9)
    assert reads_events(lambda: broadcast_figures(broadcast))


@pytest.mark.usefixtures("_large")
def test_they_are_counted_from_rows_while_failed_ones_are_sent_again(broadcast):
    roll_up(Bounds())
    retry_failed(get_notification_model().objects.filter(batch=broadcast.batch))
    assert broadcast_figures(broadcast).progress.waiting == 2


@pytest.mark.usefixtures("_large")
def test_they_are_counted_from_rows_while_it_runs(broadcast):
    roll_up(Bounds())
    PushBroadcast.objects.update(status="running")
    assert reads_events(lambda: broadcast_figures(broadcast))


@pytest.mark.usefixtures("_large")
def test_they_outlive_the_rows(broadcast, push_settings):
    before = broadcast_figures(broadcast)
    push_settings(RETENTION_DAYS=3)
    for _ in range(2):  # the second run counts the day once more
        clean_up()
    assert not get_notification_model().objects.filter(batch=broadcast.batch).exists()
    found = broadcast_figures(broadcast)
    assert (found.shown, found.clicked, found.progress) == (before.shown, before.clicked, before.progress)

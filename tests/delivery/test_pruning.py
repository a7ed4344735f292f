"""What the hourly cleanup deletes, and what it keeps."""

from datetime import timedelta

import pytest
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.delivery import pruning
from django_webpush_kit.delivery.pruning import clean_up
from django_webpush_kit.models import IdempotencyKey, get_notification_model
from tests.factories import make_notification, make_template

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch):
    monkeypatch.setattr(pruning, "DELETE_SIZE", 2)


def age_keys(days):
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(days=days))


def test_a_key_is_kept_as_long_as_a_row_of_it_is_unfinished(subscription):
    later = timezone.now() + timedelta(days=60)
    services.send(subscription, "Reminder", scheduled_for=later, idempotency_key="order:7")
    age_keys(31)
    assert clean_up()["idempotency_keys"] == 0
    assert services.send(subscription, "Reminder", scheduled_for=later, idempotency_key="order:7").reused
    assert services.cancel(idempotency_key="order:7") == 1


def test_a_key_is_kept_as_long_as_its_broadcast_is_unfinished(subscription):
    make_template("news", title_template="News")
    later = timezone.now() + timedelta(days=60)
    row = services.broadcast("news", scheduled_for=later, idempotency_key="may")
    age_keys(31)
    assert clean_up()["idempotency_keys"] == 0
    services.cancel(row)
    assert clean_up()["idempotency_keys"] == 1


def test_a_key_goes_when_its_rows_are_finished(subscription):
    services.send(subscription, "Hello", idempotency_key="order:7")
    get_notification_model().objects.update(status="sent")
    age_keys(31)
    assert clean_up()["idempotency_keys"] == 1


def test_it_tells_its_progress_and_can_be_stopped_between_two_steps(subscription):
    for _ in range(5):
        make_notification(subscription, days_ago=1000)
    told = []
    counts = clean_up(on_progress=lambda name, count: told.append((name, count)), is_stopped=lambda: len(told) == 2)
    assert told == [("notifications", 2), ("notifications", 4)]
    assert counts == {"expired": 0, "notifications": 4, "subscriptions": 0, "idempotency_keys": 0}
    assert clean_up()["notifications"] == 1


def test_it_ends_when_its_time_is_up_and_goes_on_next_time(subscription):
    make_notification(subscription, days_ago=1000)
    assert clean_up(seconds=0)["notifications"] == 0
    assert clean_up(seconds=60)["notifications"] == 1

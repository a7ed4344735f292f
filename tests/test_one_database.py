"""Every read of the services, the outbox and the fan-out names its database: a router may send reads to a replica."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.delivery.fan_out import fan_out
from django_webpush_kit.delivery.pruning import clean_up
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model
from django_webpush_kit.outbox.broadcasts import progress
from django_webpush_kit.privacy import erase_user, export_json, export_user
from tests.factories import make_event, make_notification, make_template

pytestmark = pytest.mark.django_db(transaction=True)


def everybody():
    return get_user_model().objects.all()


@pytest.fixture
def rows():
    return get_notification_model().objects.using("default")


@pytest.fixture(autouse=True)
def _replica_that_must_not_be_read(settings, push_settings, user, subscription):
    make_template("news", title_template="News")
    make_template("hello", title_template="Hello {{ recipient.first_name }}")
    make_event(make_notification(subscription), "clicked")
    push_settings(AUDIENCES={"everybody": everybody})
    settings.DATABASE_ROUTERS = ["tests.routers.PrimaryOnlyRouter"]


@pytest.mark.parametrize(
    "select",
    [
        lambda user, subscription: user,
        lambda user, subscription: subscription,
        lambda user, subscription: [user, subscription],
        lambda user, subscription: get_user_model().objects.all(),
        lambda user, subscription: get_user_model().objects.order_by("pk")[:5],
        lambda user, subscription: get_subscription_model().objects.all(),
    ],
)
def test_sending_reads_from_the_primary(user, subscription, select):
    first = services.send(select(user, subscription), "Hello", topic="t", idempotency_key="a")
    assert services.send_templated("hello", select(user, subscription)).queued == 1
    assert services.send(user, "Hello", idempotency_key="a").reused
    assert first.notifications.count() == 1
    assert services.cancel(first.notifications) == 1
    assert services.cancel(idempotency_key="a") == 0


def test_broadcasts_read_from_the_primary(subscription, rows):
    row = services.broadcast("hello", "everybody", idempotency_key="b")
    assert services.broadcast("hello", "everybody", idempotency_key="b").pk == row.pk
    assert services.pause_broadcast(row)
    assert services.resume_broadcast(row)
    fan_out()
    state = progress(row)
    assert (row.status, state.written) == ("completed", 1)
    assert rows.filter(batch=row.batch).get().title == "Hello Ada"
    assert services.cancel(row) == 1
    services.broadcast("news", scheduled_for=timezone.now() + timedelta(days=1))
    assert services.cancel(PushBroadcast.objects.using("default").last()) == 0


def test_export_and_erasure_read_from_the_primary(user):
    assert len(export_user(user)["notifications"]) == 1
    assert "Hello" in "".join(export_json(user))
    assert erase_user(user) == {"subscriptions": 1, "notifications": 1, "events": 1}


def test_pruning_reads_from_the_primary(rows):
    rows.update(created_at=timezone.now() - timedelta(days=1000))
    assert clean_up()["notifications"] == 1


def test_ending_a_subscription_reads_from_the_primary(subscription, rows):
    services.send(subscription, "Hello")
    services.update_preferences(subscription, {"categories": {"news": False}})
    services.unsubscribe(subscription)
    assert not subscription.is_active
    assert rows.filter(status="pending").count() == 1

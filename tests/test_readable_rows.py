"""Stored moments that Python cannot express: they stop nobody, and their rows can be seen, counted and deleted."""

import pytest
from django.db import connection
from django.urls import reverse

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.pruning import clean_up
from django_webpush_kit.delivery.worker import Worker
from django_webpush_kit.health import get_health
from django_webpush_kit.models import PushBroadcast, PushServiceState, WorkerHeartbeat, get_notification_model
from django_webpush_kit.privacy import erase_user, export_user
from django_webpush_kit.readable_rows import EARLIEST, LATEST
from tests.factories import make_event, make_notification, make_template

pytestmark = pytest.mark.django_db(transaction=True)

MOMENTS = {
    "postgresql": {"infinity": LATEST, "-infinity": EARLIEST, "0044-03-15 BC": EARLIEST, "294000-01-01": LATEST},
    "sqlite": {"2020-13-45 00:00:00": EARLIEST, "9999-13-45 00:00:00": LATEST},
}.get(connection.vendor, {})
"""What the database holds, and what stands for it. MariaDB and MySQL refuse such moments."""

STATE_COLUMNS = [
    field.name for field in PushServiceState._meta.concrete_fields if field.get_internal_type() == "DateTimeField"
]

each_moment = pytest.mark.parametrize("stored", MOMENTS)


@pytest.fixture(autouse=True)
def _database():
    if not MOMENTS:
        pytest.skip("this database refuses such moments")


def store(row, name, stored):
    table, column, key = row._meta.db_table, row._meta.get_field(name).column, row._meta.pk
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET {column} = %s WHERE {key.column} = %s",
            [stored, key.get_db_prep_value(row.pk, connection)],
        )


@each_moment
def test_a_moment_before_or_after_now_stands_for_it(stored):
    state = PushServiceState.objects.create(push_service="push.example.org", paused_until=None)
    other = PushServiceState.objects.create(push_service="other.example.org")
    store(state, "paused_until", stored)
    read = {row.push_service: row for row in PushServiceState.objects.order_by("pk")}
    assert read["push.example.org"].paused_until == MOMENTS[stored]
    assert read["push.example.org"].updated_at == state.updated_at
    assert read["other.example.org"].paused_until is None
    assert read["other.example.org"].updated_at == other.updated_at


def test_other_errors_of_a_query_are_raised_as_they_are():
    PushServiceState.objects.create(push_service="push.example.org")
    broken = PushServiceState.objects.extra(select={"broken": "no_such_function(1)"})
    with pytest.raises(Exception, match="no_such_function"):
        list(broken)


@each_moment
@pytest.mark.parametrize("column", STATE_COLUMNS)
def test_the_state_of_another_push_service_stops_nobody(subscription, column, stored):
    state = PushServiceState.objects.create(push_service="other.example.org")
    store(state, column, stored)
    row = services.send(subscription, "Hello").notifications.get()
    deliver_due()
    row.refresh_from_db()
    assert row.status == "sent"
    assert get_health()["status"] in ("healthy", "degraded")


@each_moment
@pytest.mark.parametrize("column", ["created_at", "sent_at", "next_attempt_at", "scheduled_for"])
def test_a_notification_is_exported_counted_pruned_and_erased(subscription, column, stored):
    row = make_notification(subscription, "sent")
    make_event(row, "clicked")
    store(row, column, stored)
    assert len(export_user(subscription.user)["notifications"]) == 1
    clean_up()
    assert get_health()["status"] in ("healthy", "degraded")
    erase_user(subscription.user)
    assert not get_notification_model().objects.exists()


@each_moment
@pytest.mark.parametrize("column", ["created_at", "expiration_time", "deactivated_at"])
def test_a_subscription_is_exported_pruned_and_erased(subscription, column, stored):
    user = subscription.user
    make_event(make_notification(subscription, "sent"), "clicked")
    store(subscription, column, stored)
    assert len(export_user(user)["subscriptions"]) == 1
    clean_up()
    erase_user(user)
    assert not type(subscription).objects.exists()


@each_moment
def test_an_event_is_counted_without_its_time(subscription, stored):
    event = make_event(make_notification(subscription, "sent"), "clicked")
    store(event, "timestamp", stored)
    clean_up()
    erase_user(subscription.user)
    assert not type(event).objects.exists()


@each_moment
def test_a_worker_waits_for_the_rows_that_it_can_read(subscription, stored):
    row = make_notification(subscription, "pending")
    store(row, "next_attempt_at", stored)
    Worker(seconds=0.2).run_for_ever(0.05)
    other = services.send(subscription, "Hello").notifications.get()
    sent = type(other).objects.filter(pk=other.pk, status="sent")
    Worker(seconds=5, is_abandoned=sent.exists).run_for_ever(0.05)
    other.refresh_from_db()
    assert other.status == "sent"


@each_moment
def test_pages_of_the_admin_open(admin_client, subscription, stored):
    row = make_notification(subscription, "sent", title="Still here")
    event = make_event(row, "clicked")
    broadcast = PushBroadcast.objects.create(type="news")
    worker = WorkerHeartbeat.objects.create(
        name="worker", command="deliver_push", started_at=row.created_at, seen_at=row.created_at
    )
    columns = {
        row: "sent_at",
        subscription: "created_at",
        event: "timestamp",
        broadcast: "started_at",
        worker: "seen_at",
    }
    for one, column in columns.items():
        store(one, column, stored)
    for one in columns:
        prefix = f"admin:{one._meta.app_label}_{one._meta.model_name}"
        for url in (reverse(f"{prefix}_changelist"), reverse(f"{prefix}_change", args=[one.pk])):
            assert admin_client.get(url).status_code == 200, url
    rows = row._meta
    assert admin_client.get(reverse(f"admin:{rows.app_label}_{rows.model_name}_statistics")).status_code == 200
    store(row, "created_at", stored)
    page = admin_client.get(reverse(f"admin:{rows.app_label}_{rows.model_name}_changelist"))
    assert "Still here" in page.content.decode()


@each_moment
@pytest.mark.parametrize("is_action", [False, True])
def test_rows_are_deleted_in_the_admin_with_what_they_take_along(admin_client, subscription, stored, is_action):
    row = make_notification(subscription, "sent")
    event = make_event(row, "clicked")
    template = make_template()
    for one, column in {
        event: "timestamp",
        row: "created_at",
        subscription: "updated_at",
        template: "updated_at",
    }.items():
        store(one, column, stored)
    for one in (template, subscription):
        url = reverse(f"admin:{one._meta.app_label}_{one._meta.model_name}_changelist")
        given = {"action": "delete_selected", "_selected_action": one.pk} if is_action else {}
        if not is_action:
            url = reverse(f"admin:{one._meta.app_label}_{one._meta.model_name}_delete", args=[one.pk])
        page = admin_client.post(url, given) if is_action else admin_client.get(url)
        assert page.status_code == 200
        assert str(one) in page.content.decode()
        assert admin_client.post(url, {**given, "post": "yes"}).status_code == 302
        assert not type(one).objects.exists()
    assert not type(row).objects.exists()
    assert not type(event).objects.exists()

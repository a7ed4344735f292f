"""What is kept about a user can be handed out and deleted."""

import json
import sqlite3
import threading
import uuid
from unittest.mock import ANY

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, connection, transaction
from django.db.models.signals import post_delete
from django.test.utils import CaptureQueriesContext

from django_webpush_kit import privacy
from django_webpush_kit.models import (
    IdempotencyKey,
    PushBroadcast,
    get_analytics_model,
    get_notification_model,
    get_subscription_model,
)
from django_webpush_kit.privacy import erase_user, export_json, export_user
from django_webpush_kit.services import send, subscribe
from tests.factories import make_event, make_notification, new_notification

pytestmark = pytest.mark.django_db


@pytest.fixture
def bob(make_user):
    return make_user(username="bob")


@pytest.fixture
def hers(user, subscription, make_subscription):
    """Two browsers, three notifications, two events of `user`."""
    rows = [make_notification(subscription, title=f"Number {number}", data={"n": number}) for number in range(3)]
    make_event(rows[0], "delivered")
    make_event(rows[0], "action_clicked", "open")
    make_subscription(user, language="de", preferences={"categories": {"news": False}})
    return rows


@pytest.fixture
def his(bob, make_subscription):
    row = make_notification(make_subscription(bob), title="For Bob")
    make_event(row, "clicked")
    return row


class TestErasure:
    def test_it_deletes_everything_of_one_user_and_nothing_of_others(self, user, hers, his):
        assert erase_user(user) == {"events": 2, "notifications": 3, "subscriptions": 2}
        assert list(get_notification_model().objects.all()) == [his]
        assert get_subscription_model().objects.count() == 1
        assert get_analytics_model().objects.count() == 1
        assert erase_user(user) == {"events": 0, "notifications": 0, "subscriptions": 0}

    def test_it_deletes_messages_sent_before_the_browser_changed_its_user(self, user, bob, subscription):
        """Ada's browser is Bob's now: what Ada was sent there goes, the subscription stays Bob's."""
        make_notification(subscription, title="For Ada")
        subscribe(endpoint=subscription.endpoint, p256dh=subscription.p256dh_key, auth=subscription.auth_key, user=bob)
        subscription.refresh_from_db()
        kept = make_notification(subscription, title="For Bob")
        assert erase_user(user) == {"events": 0, "notifications": 1, "subscriptions": 0}
        assert list(get_notification_model().objects.all()) == [kept]
        assert subscription.user == bob

    def test_it_anonymises_broadcasts_that_the_user_started(self, user):
        row = PushBroadcast.objects.create(type="news", created_by=user)
        erase_user(user)
        row.refresh_from_db()
        assert row.created_by is None

    def test_it_removes_titles_from_the_admin_log(self, user, hers, his):
        for row in (hers[0], his):
            LogEntry.objects.create(
                user=user,
                content_type=ContentType.objects.get_for_model(row),
                object_id=str(row.pk),
                object_repr=str(row),
                action_flag=CHANGE,
                change_message="Changed Title.",
            )
        erase_user(user)
        assert list(LogEntry.objects.order_by("pk").values_list("object_repr", flat=True)) == ["(erased)", str(his)]

    def test_it_works_without_the_admin(self, user, hers, settings):
        settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django.contrib.admin"]
        assert erase_user(user)["notifications"] == 3

    @pytest.mark.skipif("connection.vendor != 'sqlite'", reason="a limit of SQLite")
    @pytest.mark.skipif(not hasattr(sqlite3.Connection, "setlimit"), reason="Python 3.11")
    def test_it_uses_few_parameters_per_statement(self, user, make_subscription):
        rows = [make_subscription(user) for _ in range(3)]
        for row in rows:
            get_notification_model().objects.bulk_create(new_notification(row) for _ in range(400))
        kept = connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 600)
        try:
            assert erase_user(user) == {"events": 0, "notifications": 1200, "subscriptions": 3}
        finally:
            connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, kept)

    @pytest.mark.thorough
    @pytest.mark.django_db(transaction=True)
    def test_it_leaves_nothing_even_during_sends_to_the_user(self, user, make_subscription):
        errors = []

        def write():
            try:
                for _ in range(20):
                    make_subscription(user)
                    send([user], "Hello", idempotency_key=uuid.uuid4().hex)
            except Exception as error:
                errors.append(error)
            finally:
                connection.close()

        writers = [threading.Thread(target=write) for _ in range(2)]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            erase_user(user)
        erase_user(user)
        assert errors == []
        assert not get_notification_model().objects.exists()
        assert not get_subscription_model().objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_it_starts_over_if_a_notification_is_written_meanwhile(self, user, subscription, make_subscription):
        """A receiver writes to a subscription that has just been deleted, as a send in another transaction may."""
        attempts = []

        def write_meanwhile(instance, **kwargs):
            attempts.append(instance)
            if len(attempts) < privacy.ERASE_ATTEMPTS:
                get_notification_model().objects.create(subscription_id=instance.pk, user=user, title="Late")

        post_delete.connect(write_meanwhile, sender=get_subscription_model())
        try:
            assert erase_user(user) == {"events": 0, "notifications": 0, "subscriptions": 1}
        finally:
            post_delete.disconnect(write_meanwhile, sender=get_subscription_model())
        assert len(attempts) == privacy.ERASE_ATTEMPTS
        assert not get_notification_model().objects.exists()

    @pytest.mark.django_db
    def test_a_conflict_inside_a_transaction_of_the_caller_is_raised(self, user, subscription):
        """Only who opened the transaction can start it over."""

        def raise_conflict(**kwargs):
            raise IntegrityError("written meanwhile")

        post_delete.connect(raise_conflict, sender=get_subscription_model())
        try:
            with pytest.raises(IntegrityError, match="meanwhile"), transaction.atomic():
                erase_user(user)
        finally:
            post_delete.disconnect(raise_conflict, sender=get_subscription_model())
        assert get_subscription_model().objects.exists()


class TestExport:
    def test_it_is_plain_json_with_everything_but_the_keys(self, user, subscription, hers, his):
        exported = export_user(user)
        text = json.dumps(exported)
        assert json.loads(text) == exported
        assert exported["user"] == "ada"
        assert json.loads("".join(export_json(user))) == {**exported, "exported_at": ANY}
        assert [row["title"] for row in exported["notifications"]] == ["Number 0", "Number 1", "Number 2"]
        assert [event["action_type"] for event in exported["notifications"][0]["events"]] == [
            "delivered",
            "action_clicked",
        ]
        assert exported["notifications"][1]["data"] == {"n": 1}
        assert {row["endpoint"] for row in exported["subscriptions"]} >= {subscription.endpoint}
        assert exported["subscriptions"][1]["preferences"] == {"categories": {"news": False}}
        assert exported["subscriptions"][1]["language"] == "de"
        assert subscription.auth_key not in text
        assert subscription.p256dh_key not in text
        assert "For Bob" not in text

    def test_it_includes_broadcasts_that_the_user_started(self, user, bob):
        PushBroadcast.objects.create(type="news", created_by=user, context={"day": "Monday"})
        PushBroadcast.objects.create(type="secret", created_by=bob)
        exported = export_user(user)["broadcasts"]
        assert [(row["type"], row["context"]) for row in exported] == [("news", {"day": "Monday"})]

    def test_the_number_of_queries_does_not_grow(self, user, subscription, hers):
        with CaptureQueriesContext(connection) as few:
            export_user(user)
        for _ in range(10):
            make_event(make_notification(subscription), "clicked")
        with CaptureQueriesContext(connection) as many:
            export_user(user)
        assert len(many) == len(few)

    def test_it_is_read_page_by_page(self, user, subscription, monkeypatch):
        """What has been handed out is not kept, and the next page is read when it is wanted."""
        monkeypatch.setattr(privacy, "CHUNK_SIZE", 2)
        for _ in range(6):
            make_notification(subscription)
        pieces = export_json(user)
        with CaptureQueriesContext(connection) as read:
            while "Hello" not in next(pieces):
                pass
            first = len(read)
            list(pieces)
        assert len(read) - first >= 2 * 2, "two more pages, each with its events"


def test_idempotency_keys_are_stored_as_hashes(user, subscription):
    send(user, "Hello", idempotency_key="welcome-ada@example.com")
    kept = IdempotencyKey.objects.values().get()
    assert "ada@example.com" not in str(kept)


@pytest.mark.parametrize("keys_at_once", [1, 2, 3, 5, 100])
def test_export_and_erasure_handle_any_number_of_rows(user, subscription, monkeypatch, keys_at_once):
    monkeypatch.setattr(privacy, "CHUNK_SIZE", 2)
    monkeypatch.setattr(privacy, "KEYS_AT_ONCE", keys_at_once)
    for number in range(5):
        make_event(make_notification(subscription, title=f"Number {number}", days_ago=number // 2), "clicked")
    titles = [row["title"] for row in export_user(user)["notifications"]]
    assert titles == ["Number 4", "Number 2", "Number 3", "Number 0", "Number 1"]
    assert erase_user(user) == {"events": 5, "notifications": 5, "subscriptions": 1}


def test_what_is_erased_during_an_export_is_left_out(user, subscription, monkeypatch):
    monkeypatch.setattr(privacy, "CHUNK_SIZE", 2)
    for number in range(4):
        make_notification(subscription, title=f"Number {number}")
    rows = privacy.exported_notifications(user)
    titles = [next(rows)["title"]]
    get_notification_model().objects.filter(title="Number 2").delete()
    assert titles + [row["title"] for row in rows] == ["Number 0", "Number 1", "Number 3"]


LARGE_TABLES = (get_notification_model, get_analytics_model, get_subscription_model)


@pytest.mark.skipif("connection.vendor not in ('postgresql', 'sqlite')", reason="reads the plans of these databases")
def test_export_and_erasure_scan_no_table(user, hers, his):
    """With sequential scans made expensive, PostgreSQL plans one only where no index serves."""
    with CaptureQueriesContext(connection) as captured:
        "".join(export_json(user))
        assert erase_user(user)["notifications"] == 3
    statements = [query["sql"] for query in captured.captured_queries if query["sql"].startswith(("SELECT", "DELETE"))]
    tables = {get_model()._meta.db_table for get_model in LARGE_TABLES}
    asked = [sql for sql in statements if any(table in sql for table in tables)]
    assert len(asked) > 8
    for sql in asked:
        for table in tables:
            assert f"{scan_of_all()} {table}" not in plan_of(sql), sql


def scan_of_all():
    return "Seq Scan on" if connection.vendor == "postgresql" else "SCAN"


def plan_of(sql):
    is_postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        if is_postgresql:
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"{'EXPLAIN' if is_postgresql else 'EXPLAIN QUERY PLAN'} {sql}")
        return "\n".join(str(row[-1]) for row in cursor.fetchall()).replace('"', "")


def test_a_sequential_scan_would_be_detected(hers):
    if connection.vendor in ("postgresql", "sqlite"):
        table = get_notification_model()._meta.db_table
        assert f"{scan_of_all()} {table}" in plan_of(f"SELECT * FROM {table} WHERE title = 'x'")

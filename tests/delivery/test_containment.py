"""Whatever one row, its receivers or its stored values raise ends that row, and its neighbours are sent."""

import logging
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone as django_timezone

from django_webpush_kit import services
from django_webpush_kit.delivery.breakers import _move_waiting
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.manual_pause import pause, resume
from django_webpush_kit.delivery.worker import Worker
from django_webpush_kit.models import PushServiceState, get_notification_model, get_subscription_model
from django_webpush_kit.signals import post_send, pre_send
from django_webpush_kit.transports import PushResponse, Transport, locmem
from tests.factories import new_notification

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def three_rows(user, make_subscription):
    """Three messages to three browsers; the middle one is the odd one."""
    for _ in range(3):
        make_subscription(user)
    services.send(user, "Hello")
    return list(get_notification_model().objects.order_by("pk"))


def outcomes():
    return list(get_notification_model().objects.order_by("pk").values_list("status", flat=True))


def store(row, column, value):
    """Write a value past Django's fields, as an old version or another program may have."""
    table = connection.ops.quote_name(row._meta.db_table)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute(f"UPDATE {table} SET {column} = %s WHERE id = %s", [value, row.pk])
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = OFF")


ODD_OPTIONS = [
    '{"actions": ["x"]}',
    '{"actions": 5}',
    "[]",
    "null",
    '"text"',
    "5",
    '{"ttl": "x"}',
    '{"ttl": [1]}',
    '{"ttl": 1e300}',
    '{"urgency": 7}',
    '{"urgency": ["high"]}',
    '{"vibrate": {"a": 1}, "actions": [[]]}',
]


@pytest.mark.parametrize("options", ODD_OPTIONS)
def test_malformed_options_fail_at_most_their_own_row(three_rows, options):
    store(three_rows[1], "options", options)
    deliver_due()
    statuses = outcomes()
    assert (statuses[0], statuses[2]) == ("sent", "sent")
    assert statuses[1] in ("sent", "failed")


@pytest.mark.parametrize("column", ["data", "options"])
@pytest.mark.parametrize("text", ["[]", "null", '"text"', "5", "true"])
def test_malformed_json_fails_at_most_its_own_row(three_rows, column, text):
    store(three_rows[1], column, text)
    deliver_due()
    statuses = outcomes()
    assert (statuses[0], statuses[2]) == ("sent", "sent")
    assert statuses[1] in ("sent", "failed")


@pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases keep their columns' types")
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("data", "{"),
        ("options", ""),
        ("created_at", "yesterday"),
        ("created_at", "2026-99-99 00:00:00"),
        ("expires_at", "soon"),
        ("max_retries", "x"),
    ],
)
def test_unreadable_values_fail_at_most_their_own_row(three_rows, column, value):
    store(three_rows[1], column, value)
    deliver_due()
    statuses = outcomes()
    assert (statuses[0], statuses[2]) == ("sent", "sent")
    assert statuses[1] in ("sent", "failed")


@pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases refuse text in another encoding")
@pytest.mark.parametrize("column", ["title", "body", "language", "type", "topic", "data", "options", "failure_reason"])
def test_text_in_another_encoding_fails_at_most_its_own_row(three_rows, column):
    table = connection.ops.quote_name(three_rows[1]._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute(f"UPDATE {table} SET {column} = CAST(x'ff41' AS TEXT) WHERE id = %s", [three_rows[1].pk])
        cursor.execute("PRAGMA ignore_check_constraints = OFF")
    deliver_due()
    rows = get_notification_model().objects.order_by("pk")
    assert list(rows.values_list("status", flat=True))[::2] == ["sent", "sent"]
    assert rows[1:].values_list("status", flat=True)[0] in ("sent", "failed")


@pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases refuse text in another encoding")
@pytest.mark.parametrize("column", ["endpoint", "p256dh_key", "auth_key", "preferences", "timezone", "vapid_key_id"])
def test_a_subscription_in_another_encoding_blocks_no_other(three_rows, column):
    table = connection.ops.quote_name(get_subscription_model()._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        key = three_rows[1].subscription_id
        cursor.execute(f"UPDATE {table} SET {column} = CAST(x'ff41' AS TEXT) WHERE id = %s", [key])
        cursor.execute("PRAGMA ignore_check_constraints = OFF")
    deliver_due()
    statuses = outcomes()
    assert (statuses[0], statuses[2]) == ("sent", "sent")
    assert statuses[1] != "sending"


@pytest.mark.parametrize(
    "values",
    [
        {"preferences": ["x"]},
        {"preferences": {"categories": 5, "quiet_hours": [1]}},
        {"preferences": {"quiet_hours": {"enabled": True, "start": 5, "end": {}, "timezone": []}}},
        {"timezone": "../../etc/passwd"},
        {"timezone": "Mars/Olympus"},
        {"endpoint": ""},
        {"endpoint": "nonsense"},
        {"endpoint": "https://[::1"},
        {"p256dh_key": ""},
        {"auth_key": "€"},
        {"vapid_key_id": "unknown"},
        {"push_service": "x" * 255},
    ],
    ids=str,
)
def test_a_malformed_subscription_blocks_no_other(three_rows, values):
    get_subscription_model().objects.filter(pk=three_rows[1].subscription_id).update(**values)
    deliver_due()
    statuses = outcomes()
    assert (statuses[0], statuses[2]) == ("sent", "sent")
    assert statuses[1] != "sending"


class Odd(Exception):
    """An exception of a host's own."""


def raising(error):
    def receiver(message, notification, **kwargs):
        if notification.title == "odd":
            raise error

    return receiver


def changing(**values):
    def receiver(message, notification, **kwargs):
        if notification.title == "odd":
            for name, value in values.items():
                setattr(message, name, value)

    return receiver


@pytest.mark.parametrize(
    ("receiver", "reason"),
    [
        (raising(KeyError("secret")), "A pre_send receiver raised KeyError"),
        (raising(Odd("secret")), "A pre_send receiver raised Odd"),
        (raising(RecursionError()), "A pre_send receiver raised RecursionError"),
        (raising(connection.Database.OperationalError("x")), "A pre_send receiver raised OperationalError"),
        (changing(actions=["open"]), "Building the message raised AttributeError"),
        (changing(actions=5), "Building the message raised TypeError"),
        (changing(title=object()), "Building the message raised TypeError"),
        (changing(data={"x": float("nan")}), "Building the message raised ValueError"),
        (changing(data={1: {2}}), "Building the message raised TypeError"),
    ],
)
def test_a_pre_send_receiver_that_raises_fails_only_its_row(subscription, receiver, reason, caplog):
    pre_send.connect(receiver)
    for title in ("first", "odd", "odd", "last"):
        services.send(subscription, title)
    report = deliver_due()
    pre_send.disconnect(receiver)
    assert report.outcomes == {"sent": 2, "failed": 2}
    assert set(get_notification_model().objects.filter(title="odd").values_list("failure_reason", flat=True)) == {
        reason
    }
    logged = [record for record in caplog.records if record.name == "django_webpush_kit.delivery.containment"]
    assert len(logged) == 2
    assert [bool(record.exc_info) for record in logged] == [True, False]


def test_a_post_send_receiver_that_raises_stops_nothing(three_rows):
    def receiver(**kwargs):
        raise Odd

    post_send.connect(receiver)
    deliver_due()
    post_send.disconnect(receiver)
    assert outcomes() == ["sent"] * 3


@pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases keep their columns' types")
def test_a_row_that_cannot_be_read_for_post_send_stops_no_other(three_rows):
    heard = []

    def listen(notification, **kwargs):
        heard.append(notification.pk)

    store(three_rows[1].subscription, "created_at", "2026-99-99 00:00:00")
    post_send.connect(listen)
    deliver_due()
    post_send.disconnect(listen)
    assert heard == [three_rows[0].pk, three_rows[2].pk]
    assert outcomes() == ["sent"] * 3


class OddTransport(Transport):
    """Answers the second request in an odd way."""

    response = None

    def send(self, requests):
        for number, request in enumerate(requests):
            if number == 1:
                yield self.response(request)
            else:
                yield PushResponse(id=request.id, status=201)


@pytest.mark.parametrize(
    "response",
    [
        lambda request: PushResponse(id=request.id, status="odd"),
        lambda request: PushResponse(id=request.id, status=429, headers=None),
        lambda request: PushResponse(id=request.id, status=400, body=None),
        lambda request: PushResponse(id="nobody's", status=201),
        lambda request: None,
        lambda request: PushResponse(id=request.id, status=10**9),
    ],
)
def test_a_malformed_answer_fails_at_most_its_own_row(three_rows, push_settings, monkeypatch, response):
    push_settings(TRANSPORT=f"{__name__}.OddTransport")
    monkeypatch.setattr(OddTransport, "response", staticmethod(response))
    deliver_due()
    statuses = outcomes()
    assert (statuses[0], statuses[2]) == ("sent", "sent")


def test_a_deadline_out_of_range_fails_only_its_own_row(three_rows):
    odd = get_notification_model().objects.filter(pk=three_rows[1].pk)
    odd.update(created_at=datetime(9999, 12, 31, tzinfo=timezone.utc))
    deliver_due()
    assert outcomes() == ["sent", "failed", "sent"]


def test_the_loop_of_a_worker_goes_on(three_rows, monkeypatch, caplog):
    def receiver(**kwargs):
        raise Odd

    caplog.set_level(logging.CRITICAL)
    pre_send.connect(receiver)
    Worker(limit=3).run_for_ever(interval=0.05)
    pre_send.disconnect(receiver)
    assert outcomes() == ["failed"] * 3


@pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases store no such value")
def test_a_row_that_violates_a_constraint_stops_no_other(three_rows, caplog):
    """As after a dump that was loaded without checks."""
    store(three_rows[0], "claims", -5)
    deliver_due()
    assert outcomes() == ["failed", "sent", "sent"]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite cannot add a constraint to a table")
def test_a_row_that_is_older_than_the_constraint_that_it_violates_stops_no_other(three_rows, caplog):
    if connection.vendor == "mysql" and not connection.mysql_is_mariadb:
        pytest.skip("MySQL checks all rows")
    store(three_rows[0], "title", "odd")
    table = connection.ops.quote_name(three_rows[0]._meta.db_table)
    add = f"ALTER TABLE {table} ADD CONSTRAINT odd CHECK (title <> 'odd')"
    before, add, after = {
        "postgresql": ("SELECT 1", f"{add} NOT VALID", "SELECT 1"),
        "mysql": ("SET check_constraint_checks = 0", add, "SET check_constraint_checks = 1"),
    }[connection.vendor]
    with connection.cursor() as cursor:
        for statement in (before, add, after):
            cursor.execute(statement)
        try:
            deliver_due()
        finally:
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT odd")
    assert outcomes() == ["pending", "sent", "sent"]


@contextmanager
def refusing(model, condition):
    """A trigger of the project's own that refuses an UPDATE."""
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TRIGGER refusing BEFORE UPDATE ON {table} WHEN {condition} "
            "BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
        try:
            yield
        finally:
            cursor.execute("DROP TRIGGER refusing")


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the trigger is written for SQLite")
class TestATriggerOfTheProject:
    def test_that_refuses_an_outcome_fails_only_that_row(self, three_rows, caplog):
        model = get_notification_model()
        with refusing(model, f"NEW.status = 'sent' AND NEW.id = {three_rows[1].pk}"):
            deliver_due()
        assert outcomes() == ["sent", "failed", "sent"]
        three_rows[1].refresh_from_db()
        assert three_rows[1].failure_reason == "Recording the outcome raised IntegrityError"

    def test_that_refuses_a_lease_fails_only_that_row(self, three_rows, caplog):
        with refusing(get_notification_model(), f"NEW.status = 'sending' AND NEW.id = {three_rows[0].pk}"):
            deliver_due()
        assert outcomes() == ["failed", "sent", "sent"]
        three_rows[0].refresh_from_db()
        assert three_rows[0].failure_reason == "Claiming the row raised IntegrityError"

    def test_that_refuses_every_change_stops_no_other_row(self, three_rows, push_settings, caplog):
        push_settings(CHUNK_SIZE=1)
        with refusing(get_notification_model(), f"NEW.id < {three_rows[2].pk}"):
            deliver_due()
        assert outcomes() == ["pending", "pending", "sent"]
        deliver_due()
        assert outcomes() == ["sent"] * 3

    @pytest.mark.parametrize("condition", ["NEW.status = 'pending' AND", ""])
    def test_that_refuses_to_return_a_lapsed_lease_stops_no_other_row(self, three_rows, condition, caplog):
        lapsed = {"status": "sending", "lease_token": uuid4(), "next_attempt_at": django_timezone.now()}
        get_notification_model().objects.update(**lapsed)
        with refusing(get_notification_model(), f"{condition} NEW.id = {three_rows[1].pk}"):
            deliver_due()
        assert outcomes() == ["sent", "failed" if condition else "sending", "sent"]

    def test_that_refuses_to_make_a_row_due_stops_no_other_one(self, three_rows, caplog):
        service = three_rows[0].subscription.push_service
        pause(service)
        deliver_due()
        with refusing(get_notification_model(), f"NEW.status = 'pending' AND NEW.id = {three_rows[1].pk}"):
            resume([service])
            deliver_due()
        assert outcomes() == ["sent", "pending", "sent"]

    def test_that_refuses_to_make_a_row_due_after_a_probe_stops_no_other_one(self, three_rows, monkeypatch, caplog):
        until = django_timezone.now() + timedelta(minutes=10)
        get_notification_model().objects.update(next_attempt_at=until)
        monkeypatch.setattr("django_webpush_kit.delivery.breakers.MOVED_AT_ONCE", 1)
        with refusing(get_notification_model(), f"NEW.id = {three_rows[0].pk}"):
            _move_waiting(until, None)
        deliver_due()
        assert outcomes() == ["pending", "sent", "sent"]

    def test_that_refuses_to_let_a_backlog_wait_stops_no_other_row(self, user, make_subscription, caplog):
        mine, other = make_subscription(user), make_subscription(user, endpoint="https://fcm.googleapis.com/fcm/send/a")
        until = django_timezone.now() + timedelta(minutes=10)
        key = {"push_service": mine.push_service, "vapid_key_id": mine.vapid_key_id}
        PushServiceState.objects.create(**key, paused_until=until, reason="outage")
        model = get_notification_model()
        model.objects.bulk_create([new_notification(mine, "pending") for _ in range(700)])
        new_notification(other, "pending").save()
        odd = model.objects.order_by("pk")[650]
        with refusing(model, f"NEW.status = 'pending' AND NEW.id = {odd.pk}"):
            deliver_due()
        waiting = model.objects.filter(status="pending", next_attempt_at=until, subscription=mine)
        assert waiting.count() == 699
        assert model.objects.get(subscription=other).status == "sent"

    def test_that_refuses_a_deactivation_stops_nothing(self, three_rows, caplog):
        get_subscription_model().objects.update(created_at=django_timezone.now() - timedelta(days=2))
        locmem.answers += [PushResponse(id=None, status=410)]
        with refusing(get_subscription_model(), "NOT NEW.is_active"):
            deliver_due()
        assert sorted(outcomes()) == ["failed", "sent", "sent"]
        assert get_subscription_model().objects.filter(is_active=True).count() == 3
        assert "Deactivating the subscription raised IntegrityError" in caplog.text

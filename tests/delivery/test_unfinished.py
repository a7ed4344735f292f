"""A database that fails while rows are claimed, read or recorded: nothing is lost, repeated or late afterwards."""

from contextlib import contextmanager
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, NotSupportedError, OperationalError, ProgrammingError, connection

from django_webpush_kit import services
from django_webpush_kit.delivery import unfinished
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import PushServiceState, get_notification_model, get_subscription_model
from django_webpush_kit.signals import post_send
from django_webpush_kit.transports import PushResponse, Transport, locmem

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = 3

needs_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL has this")


@contextmanager
def renamed(model):
    """The table of the model has another name, as in the middle of a migration."""
    table, other = map(connection.ops.quote_name, (model._meta.db_table, "renamed_away"))
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {other}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {other} RENAME TO {table}")


@contextmanager
def refusing(*beginnings):
    """The database refuses statements that begin like this, as if it did not answer."""

    def execute(execute, sql, *arguments):
        if sql.startswith(beginnings):
            raise OperationalError("away")
        return execute(sql, *arguments)

    with connection.execute_wrapper(execute):
        yield


@contextmanager
def failing_after_claim(part):
    """Statements that contain `part` fail once rows are claimed."""

    def execute(execute, sql, *arguments):
        if part in sql and get_notification_model().objects.filter(status="sending").exists():
            raise OperationalError("away")
        return execute(sql, *arguments)

    with connection.execute_wrapper(execute):
        yield


@pytest.fixture
def rows(subscription, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for number in range(ROWS):
        services.send(subscription, f"Message {number}")
    yield get_notification_model().objects
    unfinished._kept.clear()


def states(rows):
    return set(rows.values_list("status", "claims", "lease_token"))


class BreakingTransport(Transport):
    """Answers each request, the first ones before and the others after something happens."""

    before = 1
    status = 201
    happen = staticmethod(lambda: None)

    def send(self, requests):
        requests = list(requests)
        locmem.sent += requests
        for number, request in enumerate(requests):
            if number == self.before:
                type(self).happen()
            yield PushResponse(id=request.id, status=self.status)


@pytest.fixture
def breaking(push_settings, monkeypatch):
    push_settings(TRANSPORT=f"{__name__}.BreakingTransport", CHUNK_SIZE=ROWS)
    return lambda **values: [monkeypatch.setattr(BreakingTransport, name, value) for name, value in values.items()]


@pytest.mark.parametrize("model", [get_notification_model, get_subscription_model])
def test_rows_wait_while_a_table_is_missing(rows, model):
    with renamed(model()), pytest.raises(DatabaseError):
        deliver_due()
    assert set(rows.values_list("status", flat=True)) <= {"pending", "sending"}
    assert deliver_due().sent == ROWS


def test_rows_that_were_claimed_and_not_read_are_claimed_again_at_once(rows):
    with refusing("SELECT CAST", "SELECT ("), pytest.raises(OperationalError):
        deliver_due()
    assert set(rows.values_list("status", flat=True)) == {"sending"}
    assert deliver_due().sent == ROWS
    assert states(rows) == {("sent", 0, None)}


def test_rows_that_were_claimed_and_not_checked_are_released_at_once(rows):
    breakers = f"FROM {connection.ops.quote_name(PushServiceState._meta.db_table)}"
    with failing_after_claim(breakers), pytest.raises(OperationalError):
        deliver_due()
    assert states(rows) == {("pending", 0, None)}


def test_outcomes_are_written_when_the_database_answers_again(rows, breaking):
    outage = refusing("UPDATE")
    breaking(happen=outage.__enter__)
    with pytest.raises(OperationalError):
        deliver_due()
    outage.__exit__(None, None, None)
    assert set(rows.values_list("status", flat=True)) == {"sending"}
    deliver_due()
    assert states(rows) == {("sent", 0, None)}
    assert len(locmem.sent) == ROWS


def test_outcomes_survive_a_missing_table(rows, breaking):
    outage = renamed(get_notification_model())
    breaking(happen=outage.__enter__)
    with pytest.raises((ProgrammingError, OperationalError)):
        deliver_due()
    outage.__exit__(None, None, None)
    deliver_due()
    assert states(rows) == {("sent", 0, None)}
    assert len(locmem.sent) == ROWS


def test_a_command_that_ends_waits_for_the_database(rows, breaking, monkeypatch):
    """A worker that is stopped during an outage would otherwise forget what it has sent."""
    outage = refusing("UPDATE")
    breaking(happen=outage.__enter__)
    ends = {unfinished.EXIT_RETRY_SECONDS: lambda: outage.__exit__(None, None, None)}
    monkeypatch.setattr("time.sleep", lambda seconds: ends.pop(seconds, lambda: None)())
    with pytest.raises((OperationalError, CommandError)):
        call_command("deliver_push")
    assert states(rows) == {("sent", 0, None)}
    assert len(locmem.sent) == ROWS


def test_a_command_that_ends_does_not_wait_for_ever(rows, breaking, monkeypatch, caplog):
    monkeypatch.setattr(unfinished, "EXIT_SECONDS", 0.05)
    outage = refusing("UPDATE")
    breaking(happen=outage.__enter__)
    with pytest.raises((OperationalError, CommandError)):
        call_command("deliver_push")
    outage.__exit__(None, None, None)
    assert "this process ends" in caplog.text
    assert set(rows.values_list("status", flat=True)) == {"sending"}


def test_answers_that_cannot_be_judged_during_an_outage_are_judged_afterwards(rows, breaking):
    outage = refusing("SELECT", "UPDATE")
    breaking(happen=outage.__enter__, status=410, before=0)
    with pytest.raises(OperationalError):
        deliver_due()
    outage.__exit__(None, None, None)
    deliver_due()
    assert set(rows.values_list("status", "retry_count")) == {("pending", 1)}
    assert len(locmem.sent) == ROWS


def test_breakers_are_written_after_an_outage(rows, breaking):
    outage = refusing("SELECT", "UPDATE", "INSERT")
    breaking(happen=outage.__enter__, status=503, before=0)
    with pytest.raises(OperationalError):
        deliver_due()
    outage.__exit__(None, None, None)
    deliver_due()
    assert PushServiceState.objects.get().reason
    assert len(locmem.sent) == ROWS


def test_receivers_of_post_send_hear_of_each_row_once(rows, breaking):
    outage, heard = refusing("UPDATE"), []
    breaking(happen=outage.__enter__)

    def receiver(notification, **kwargs):
        heard.append(notification.pk)

    post_send.connect(receiver)
    with pytest.raises(OperationalError):
        deliver_due()
    outage.__exit__(None, None, None)
    deliver_due()
    post_send.disconnect(receiver)
    assert sorted(heard) == sorted(rows.values_list("pk", flat=True))


def test_outcomes_are_written_after_the_lease_if_nobody_took_the_rows(rows, breaking):
    outage = refusing("UPDATE")
    breaking(happen=outage.__enter__)
    with pytest.raises(OperationalError):
        deliver_due()
    outage.__exit__(None, None, None)
    rows.update(next_attempt_at="2020-01-01T00:00:00Z")
    deliver_due()
    assert states(rows) == {("sent", 0, None)}
    assert len(locmem.sent) == ROWS


def test_outcomes_of_rows_that_others_took_change_nothing(rows, breaking):
    outage = refusing("UPDATE")
    breaking(happen=outage.__enter__)
    with pytest.raises(OperationalError):
        deliver_due()
    outage.__exit__(None, None, None)
    token = uuid4()
    rows.update(lease_token=token)
    deliver_due()
    assert states(rows) == {("sending", 1, token)}


def test_outcomes_that_cannot_be_written_delay_no_other_rows(rows, breaking, subscription):
    outage = refusing("UPDATE")
    breaking(happen=outage.__enter__)
    with pytest.raises(OperationalError):
        deliver_due()
    outage.__exit__(None, None, None)
    breaking(happen=lambda: None)
    other = services.send(subscription, "Other").notifications.get()
    locked = list(rows.filter(status="sending").values_list("pk", flat=True))
    recorder = unfinished._kept[unfinished._key()][0]
    recorder.finish = Mock(side_effect=OperationalError("a lock on one of these rows"))
    assert deliver_due().sent == 1
    other.refresh_from_db()
    assert other.status == "sent"
    assert set(rows.filter(pk__in=locked).values_list("status", flat=True)) == {"sending"}


@needs_postgresql
def test_prepared_statements_of_a_changed_table_stop_nobody(rows, subscription):
    table = connection.ops.quote_name(get_subscription_model()._meta.db_table)
    usual = connection.settings_dict["OPTIONS"]
    connection.close()
    connection.settings_dict["OPTIONS"] = {**usual, "prepare_threshold": 0, "server_side_binding": True}
    other = connection.copy()
    try:
        deliver_due()
        with other.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} ALTER COLUMN push_service TYPE varchar(300)")
        services.send(subscription, "Again")
        with pytest.raises(NotSupportedError):
            deliver_due()
        assert deliver_due().sent == 1
    finally:
        with other.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} ALTER COLUMN push_service TYPE varchar(255)")
        other.close()
        connection.close()
        connection.settings_dict["OPTIONS"] = usual


@pytest.fixture
def worker_role():
    """A role of PostgreSQL that may do everything but read subscriptions."""
    table, role = connection.ops.quote_name(get_subscription_model()._meta.db_table), "webpush_kit_worker"
    with connection.cursor() as cursor:
        cursor.execute(f"DROP ROLE IF EXISTS {role}")
        cursor.execute(f"CREATE ROLE {role}")
        cursor.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        cursor.execute(f"REVOKE ALL ON {table} FROM {role}")
    yield role
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute(f"DROP OWNED BY {role}")
        cursor.execute(f"DROP ROLE {role}")


@needs_postgresql
def test_rows_wait_while_a_permission_is_missing(rows, worker_role):
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {worker_role}")
    with pytest.raises(ProgrammingError, match="permission denied"):
        deliver_due()
    assert deliver_due().sent == ROWS  # by another session

"""Statements that meet a busy or broken database are tried again, or leave the rows claimable."""

import os
import time
from functools import partial

import pytest
from django.db import IntegrityError, InternalError, OperationalError, connection, transaction

from django_webpush_kit import database
from django_webpush_kit.database import is_refusal, is_statement_error, is_unavailable, retry_on_conflict
from django_webpush_kit.delivery.containment import raise_if_shared
from tests.factories import make_notification

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(database, "FIRST_WAIT_SECONDS", 0)


def failing(times, code="the database is away"):
    left = [times]

    def statement():
        if left[0]:
            left[0] -= 1
            raise OperationalError(code, "says the driver")
        return "done"

    return statement


def test_transient_errors_are_retried():
    assert retry_on_conflict(failing(2)) == "done"


def test_a_persistent_error_is_raised():
    with pytest.raises(OperationalError):
        retry_on_conflict(failing(database.ATTEMPTS))


def test_an_error_of_one_row_is_not_retried():
    attempts = []

    def statement():
        attempts.append(1)
        raise IntegrityError("a duplicate")

    with pytest.raises(IntegrityError):
        retry_on_conflict(statement)
    assert len(attempts) == 1


@pytest.mark.thorough
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="the others end sessions with an OperationalError")
def test_a_transaction_starts_over_when_its_session_was_ended_because_it_was_idle(subscription):
    """A machine that was stopped for a while finds its transaction gone. PostgreSQL's error is an InternalError."""
    errors = []

    def statements():
        with transaction.atomic():
            if not errors:
                with connection.cursor() as cursor:
                    cursor.execute("SET idle_in_transaction_session_timeout = 1")
                time.sleep(0.2)  # longer than the limit, so that the session ends
            try:
                make_notification(subscription)
            except InternalError as error:
                errors.append(error)
                raise
        return "done"

    assert retry_on_conflict(statements) == "done"
    (error,) = errors
    assert is_unavailable(error)
    with pytest.raises(InternalError):  # no row is to blame
        raise_if_shared(error)


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="there is no other server")
def test_a_session_that_is_read_only_is_replaced(subscription):
    """After a failover a connection may lead to the primary of before, which cannot be written to any more."""
    statement = "SET default_transaction_read_only = on"
    if connection.vendor == "mysql":
        statement = "SET SESSION TRANSACTION READ ONLY"
    with connection.cursor() as cursor:
        cursor.execute(statement)
    make = partial(make_notification, subscription)
    with pytest.raises((InternalError, OperationalError)) as caught:
        make()
    assert is_unavailable(caught.value)
    assert retry_on_conflict(make).pk


def test_another_internal_error_is_no_outage():
    assert not is_unavailable(InternalError("the transaction is aborted"))


def test_conflicts_are_retried_more_often_than_outages():
    deadlock = 1213
    assert retry_on_conflict(failing(database.ATTEMPTS, deadlock)) == "done"
    with pytest.raises(OperationalError):
        retry_on_conflict(failing(database.CONFLICT_ATTEMPTS, deadlock))


def test_errors_inside_a_transaction_are_raised_to_its_owner():
    with transaction.atomic(), pytest.raises(OperationalError):
        retry_on_conflict(failing(1))
    assert connection.is_usable()


@pytest.mark.skipif(os.environ.get("TEST_DATABASE") != "mysql", reason="other databases store such numbers")
def test_json_that_mysql_cannot_store_is_refused_for_its_row_alone(subscription):
    with pytest.raises(OperationalError) as caught, transaction.atomic():
        make_notification(subscription, data={"number": 10**400})
    assert is_refusal(caught.value)


@pytest.fixture
def _own_table():
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE own_table (note varchar(9) NOT NULL)")
        yield
        cursor.execute("DROP TABLE own_table")


@pytest.mark.usefixtures("_own_table")
@pytest.mark.parametrize("statement", ["UPDATE {} SET endpoint = NULL", "INSERT INTO own_table VALUES (NULL)"])
def test_a_value_that_is_null_is_refused_for_its_row_alone(statement, subscription):
    table = connection.ops.quote_name(type(subscription)._meta.db_table)
    with pytest.raises(IntegrityError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(table))
    assert is_refusal(caught.value)
    assert not is_statement_error(caught.value)

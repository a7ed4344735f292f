"""Statements that meet a busy or broken database are tried again, or leave the rows claimable."""

import os

import pytest
from django.db import OperationalError, connection, transaction

from django_webpush_kit import database
from django_webpush_kit.database import is_refusal, retry_on_conflict
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

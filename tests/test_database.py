"""Statements that meet a busy or broken database are tried again, or leave the rows claimable."""

import pytest
from django.db import OperationalError, connection, transaction

from django_webpush_kit import database
from django_webpush_kit.database import retry_on_conflict

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

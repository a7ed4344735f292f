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


def test_what_fails_now_and_then_is_tried_again():
    assert retry_on_conflict(failing(2)) == "done"


def test_it_gives_up_in_the_end():
    with pytest.raises(OperationalError):
        retry_on_conflict(failing(database.ATTEMPTS))


def test_a_conflict_is_worth_more_attempts_than_a_database_that_is_away():
    deadlock = 1213
    assert retry_on_conflict(failing(database.ATTEMPTS, deadlock)) == "done"
    with pytest.raises(OperationalError):
        retry_on_conflict(failing(database.CONFLICT_ATTEMPTS, deadlock))


def test_inside_a_transaction_only_its_owner_can_start_over():
    with transaction.atomic(), pytest.raises(OperationalError):
        retry_on_conflict(failing(1))
    assert connection.is_usable()

"""Leases without an outcome and requests without an answer, noted by triggers, so that no process can keep silent.

A lease sends its row once at most. So a row may come once more for each of its leases that ended without an outcome,
and for each request whose answer was lost; any other repeat is the engine's fault.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from django_webpush_kit.models import get_notification_model
from django_webpush_kit.protocol.responses import TransportError

TABLE = "chaos_lapses"
UNANSWERED = "chaos_unanswered"

# What ends with an outcome sets `claims` to 0, what is given back or postponed lowers it: only a lapse leaves it alone.
_LAPSED = (
    "OLD.status = 'sending' AND NEW.status <> 'sending' AND NEW.lease_token IS NULL "
    "AND NEW.claims = OLD.claims AND OLD.claims > 0"
)
_CREATE = f"CREATE TABLE {TABLE} (notification varchar(36), lease varchar(36), is_early {{boolean}})"
_INSERT = f"INSERT INTO {TABLE} SELECT OLD.id, OLD.lease_token, OLD.next_attempt_at > "

_TRIGGER = f"CREATE TRIGGER {TABLE} AFTER UPDATE ON {{table}}"
_FUNCTION = f"CREATE FUNCTION {TABLE}() RETURNS trigger LANGUAGE plpgsql"
_SQLITE_NOW = "strftime('%Y-%m-%d %H:%M:%f', 'now', '+0.002 seconds')"  # it knows milliseconds only

_LOST = ", ".join(f"'{error.value}'" for error in TransportError)
_NO_ANSWER = f"OLD.status = 'sending' AND NEW.status <> 'sending' AND NEW.failure_reason IN ({_LOST})"
_CREATE_UNANSWERED = f"CREATE TABLE {UNANSWERED} (notification varchar(36))"
_INSERT_UNANSWERED = f"INSERT INTO {UNANSWERED} VALUES (OLD.id)"
_UNANSWERED_TRIGGER = f"CREATE TRIGGER {UNANSWERED} AFTER UPDATE ON {{table}}"
_UNANSWERED_FUNCTION = f"CREATE FUNCTION {UNANSWERED}() RETURNS trigger LANGUAGE plpgsql"

_STATEMENTS = {
    "sqlite": [
        _CREATE.format(boolean="integer"),
        f"{_TRIGGER} WHEN {_LAPSED} BEGIN {_INSERT} {_SQLITE_NOW}; END",
        _CREATE_UNANSWERED,
        f"{_UNANSWERED_TRIGGER} WHEN {_NO_ANSWER} BEGIN {_INSERT_UNANSWERED}; END",
    ],
    "postgresql": [
        _CREATE.format(boolean="boolean"),
        f"{_FUNCTION} AS $$ BEGIN {_INSERT} clock_timestamp(); RETURN NULL; END $$",
        f"{_TRIGGER} FOR EACH ROW WHEN ({_LAPSED}) EXECUTE FUNCTION {TABLE}()",
        _CREATE_UNANSWERED,
        f"{_UNANSWERED_FUNCTION} AS $$ BEGIN {_INSERT_UNANSWERED}; RETURN NULL; END $$",
        f"{_UNANSWERED_TRIGGER} FOR EACH ROW WHEN ({_NO_ANSWER}) EXECUTE FUNCTION {UNANSWERED}()",
    ],
    "mysql": [
        _CREATE.format(boolean="boolean"),
        f"{_TRIGGER} FOR EACH ROW BEGIN IF {_LAPSED} THEN {_INSERT} UTC_TIMESTAMP(6); END IF; END",
        _CREATE_UNANSWERED,
        f"{_UNANSWERED_TRIGGER} FOR EACH ROW BEGIN IF {_NO_ANSWER} THEN {_INSERT_UNANSWERED}; END IF; END",
    ],
}


class Lapse(NamedTuple):
    """A row and its lease that ended without an outcome; `is_early`: before its time."""

    notification: str
    lease: str
    is_early: bool


def install() -> None:
    """Create the tables and the triggers."""
    table = get_notification_model()._meta.db_table
    with connection.cursor() as cursor:
        for statement in _STATEMENTS[connection.vendor]:
            cursor.execute(statement.format(table=table))


def read() -> list[Lapse]:
    """What was noted since `forget`."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT notification, lease, is_early FROM {TABLE}")
        return [Lapse(key, str(UUID(lease)), bool(is_early)) for key, lease, is_early in cursor.fetchall()]


def read_unanswered() -> Counter[str]:
    """How many requests of each row got no answer, since `forget`. The push service may have accepted them."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT notification FROM {UNANSWERED}")
        return Counter(str(key) for (key,) in cursor.fetchall())


def forget() -> None:
    """Begin anew."""
    with connection.cursor() as cursor:
        for table in (TABLE, UNANSWERED):
            cursor.execute(f"DELETE FROM {table}")

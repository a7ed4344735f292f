"""Leases that ended without an outcome, noted by the database itself: triggers, so that no process can keep silent.

A lease sends its row once at most. So a row may come once more for each of its leases that ended like this, and for
each request that is recorded as unanswered; any other repeat is the engine's fault.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from django.db import connection

from django_webpush_kit.models import get_notification_model

TABLE = "chaos_lapses"

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

_STATEMENTS = {
    "sqlite": [
        _CREATE.format(boolean="integer"),
        f"{_TRIGGER} WHEN {_LAPSED} BEGIN {_INSERT} {_SQLITE_NOW}; END",
    ],
    "postgresql": [
        _CREATE.format(boolean="boolean"),
        f"{_FUNCTION} AS $$ BEGIN {_INSERT} clock_timestamp(); RETURN NULL; END $$",
        f"{_TRIGGER} FOR EACH ROW WHEN ({_LAPSED}) EXECUTE FUNCTION {TABLE}()",
    ],
    "mysql": [
        _CREATE.format(boolean="boolean"),
        f"{_TRIGGER} FOR EACH ROW BEGIN IF {_LAPSED} THEN {_INSERT} UTC_TIMESTAMP(6); END IF; END",
    ],
}


class Lapse(NamedTuple):
    """A row and its lease that ended without an outcome; `is_early`: before its time."""

    notification: str
    lease: str
    is_early: bool


def install() -> None:
    """Create the table and the trigger."""
    table = get_notification_model()._meta.db_table
    with connection.cursor() as cursor:
        for statement in _STATEMENTS[connection.vendor]:
            cursor.execute(statement.format(table=table))


def read() -> list[Lapse]:
    """What was noted since `forget`."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT notification, lease, is_early FROM {TABLE}")
        return [Lapse(key, str(UUID(lease)), bool(is_early)) for key, lease, is_early in cursor.fetchall()]


def forget() -> None:
    """Begin anew."""
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {TABLE}")

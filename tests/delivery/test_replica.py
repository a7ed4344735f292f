"""With a router that reads from a replica, the engine reads its rows from the primary database."""

import sqlite3

import pytest
from django.db import connections

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.transports import PushResponse, locmem

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def replica(settings, tmp_path):
    """A replica that is so far behind that it has no tables yet."""
    sqlite3.connect(tmp_path / "replica.sqlite3").close()
    given = {**connections["default"].settings_dict, "ENGINE": "django.db.backends.sqlite3", "OPTIONS": {}}
    connections.databases["replica"] = {**given, "NAME": str(tmp_path / "replica.sqlite3")}
    settings.DATABASE_ROUTERS = ["tests.routers.PrimaryReplicaRouter"]
    yield
    connections["replica"].close()
    del connections["replica"], connections.databases["replica"]


@pytest.mark.parametrize("status", [201, 410, 403, 429, 500, 413])
def test_every_answer_is_recorded(subscription, replica, status):
    row = services.send(subscription, "Hello")
    locmem.answers.append(PushResponse(id=None, status=status))
    with connections["replica"].execute_wrapper(_refuse):
        report = deliver_due()
    assert report.claimed == 1
    stored = get_notification_model().objects.using("default").get(batch=row.batch)
    assert stored.response_status == status


def _refuse(execute, sql, *rest):
    raise AssertionError(f"asked the replica: {sql}")

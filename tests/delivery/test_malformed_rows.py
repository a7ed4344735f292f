"""Rows whose stored JSON somebody else wrote: each fails by itself, with the reason, and stops nobody."""

import json
from datetime import datetime, timezone

import pytest
from django.db import connection

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.transports import locmem

pytestmark = pytest.mark.django_db(transaction=True)

MALFORMED = [
    ({"options": []}, "InvalidOption: options must be a JSON object, not list"),
    ({"options": {"ttl": "soon"}}, "InvalidOption: ttl must be int or float, not str"),
    ({"options": {"ttl": 1e300}}, "InvalidOption: ttl must be from 0 to 2592000 seconds (30 days), not 1e+300"),
    ({"options": {"urgency": 7}}, "InvalidOption: urgency must be one of very-low, low, normal, high, not 7"),
    ({"options": {"actions": [7]}}, "InvalidOption: actions[0] must be dict, not int"),
    ({"options": {"timestamp": "x" * 300}}, "InvalidOption: timestamp must be an ISO 8601 date and time, not 'xxx"),
    ({"data": ["x"]}, "InvalidOption: data must be a JSON object, not list"),
    ({"data": "x"}, "InvalidOption: data must be a JSON object, not str"),
]


@pytest.mark.parametrize(("values", "reason"), MALFORMED)
def test_a_malformed_row_fails_alone(subscription, make_subscription, user, values, reason):
    make_subscription(user)
    malformed, sound = services.send(user, "Hello", urgency="high").notifications
    get_notification_model().objects.filter(pk=malformed.pk).update(**values)
    deliver_due()
    malformed.refresh_from_db()
    sound.refresh_from_db()
    assert (malformed.status, malformed.failure_reason[: len(reason)]) == ("failed", reason)
    assert sound.status == "sent"
    assert len(locmem.sent) == 1


LARGEST = {"sqlite": 2**63 - 1, "postgresql": 2**31 - 1, "mysql": 2**32 - 1}
"""The largest number that each database stores in a column for positive integers."""


@pytest.mark.parametrize("column", ["claims", "retry_count", "max_retries"])
def test_a_row_with_the_largest_number_stops_nobody(subscription, make_subscription, user, column):
    make_subscription(user)
    model = get_notification_model()
    odd, sound = services.send(user, "Hello").notifications
    table = connection.ops.quote_name(model._meta.db_table)
    key = model._meta.pk.get_db_prep_value(odd.pk, connection)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = %s WHERE id = %s", [LARGEST[connection.vendor], key])
    deliver_due()
    sound.refresh_from_db()
    assert sound.status == "sent"


def test_direction_and_time_reach_the_browser(subscription):
    noon = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
    services.send(subscription, "مرحبا", dir="rtl", timestamp=noon)
    deliver_due()
    notification = json.loads(locmem.sent[-1].payload)["notification"]
    assert (notification["dir"], notification["timestamp"]) == ("rtl", 1795348800000)

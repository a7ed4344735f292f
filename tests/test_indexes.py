"""Every index of the large tables serves a query of the library. One that serves none costs time with every message."""

from __future__ import annotations

import uuid
from datetime import timedelta

import django
import pytest
from django.db import connection
from django.utils import timezone

from django_webpush_kit.models import (
    IdempotencyKey,
    get_analytics_model,
    get_notification_model,
    get_subscription_model,
)
from tests.factories import make_template

pytestmark = pytest.mark.django_db

NOW = timezone.now()
DAY = (NOW - timedelta(days=1), NOW)


def notifications():
    return get_notification_model().objects.order_by()


def subscriptions():
    return get_subscription_model().objects.order_by()


def events():
    return get_analytics_model().objects.order_by()


QUERIES = {
    get_notification_model: {
        ("status", "lane", "next_attempt_at", "id"): lambda: (
            notifications().due(NOW).filter(lane=1).order_by("next_attempt_at", "pk")[:500]
        ),
        ("batch", "created_at"): lambda: notifications().filter(batch=uuid.uuid4()).order_by("created_at")[:100],
        ("subscription_id",): lambda: notifications().filter(subscription=7, topic="score"),
        ("template_id",): lambda: notifications().filter(template=make_template()),
        ("user_id",): lambda: notifications().for_user(7),
        ("created_at",): lambda: notifications().order_by("created_at")[:500],
    },
    get_subscription_model: {
        ("is_active", "id"): lambda: subscriptions().filter(is_active=True, pk__gt=7).order_by("pk")[:500],
        ("user_id",): lambda: subscriptions().for_user(7),
        ("created_at",): lambda: subscriptions().filter(created_at__range=DAY),
        # as the statistics and push_prune ask, but for `is_active=False`: on an empty table planners prefer its index
        ("deactivated_at",): lambda: subscriptions().filter(deactivated_at__range=DAY),
        ("push_service", "vapid_key_id", "is_active"): lambda: subscriptions().filter(
            push_service="push.example.org", vapid_key_id="k", is_active=True
        )[:3],
    },
    get_analytics_model: {
        ("timestamp",): lambda: events().filter(timestamp__range=DAY).order_by("timestamp"),
    },
    lambda: IdempotencyKey: {
        ("created_at",): lambda: IdempotencyKey.objects.filter(created_at__lt=NOW)[:500],
    },
}
"""The indexes of each table by their columns, without keys and constraints, and a query that needs each."""

FIELDS_OF_THE_TEST = {("campaign",)}

ONE_BY_ONE = [(model, columns, query) for model, queries in QUERIES.items() for columns, query in queries.items()]


def indexes_of(model):
    """Return the names of the indexes by columns. MySQL and MariaDB have one for each foreign key, asked for or not."""
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, model._meta.db_table)
    references = [found["columns"] for found in constraints.values() if found["foreign_key"]]
    return {
        tuple(found["columns"]): name
        for name, found in constraints.items()
        if found["index"] and not found["unique"] and not found["primary_key"]
        if connection.vendor != "mysql" or found["columns"] not in references
    }


@pytest.mark.parametrize("get_model", QUERIES, ids=["notifications", "subscriptions", "events", "keys"])
def test_there_is_no_index_without_a_query(get_model):
    model = get_model()
    wanted = set(QUERIES[get_model])
    if connection.vendor == "mysql":
        wanted -= {(field.column,) for field in model._meta.fields if field.remote_field}
    assert set(indexes_of(model)) - FIELDS_OF_THE_TEST == wanted


@pytest.mark.skipif("connection.vendor not in ('postgresql', 'sqlite')", reason="reads the plans of these databases")
@pytest.mark.parametrize(("get_model", "columns", "query"), ONE_BY_ONE, ids=[",".join(case[1]) for case in ONE_BY_ONE])
def test_the_query_is_answered_by_its_index(get_model, columns, query):
    """With sequential scans made expensive, PostgreSQL plans one only where no index serves."""
    if connection.vendor == "sqlite" and columns[0] == "is_active" and django.VERSION < (6, 1):
        pytest.skip("before Django 6.1 the condition is `WHERE is_active`, for which SQLite uses no index")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
    assert indexes_of(get_model())[columns] in query().explain()

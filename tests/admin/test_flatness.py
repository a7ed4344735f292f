"""A page of the admin costs the same however many rows there are. Counted in SQLite's own steps.

SQLite has no statistics of its own, so a query whose plan is left to it shows here.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone

from django_webpush_kit.admin import finding, large_tables, list_filters, reading
from django_webpush_kit.models import (
    PushBroadcast,
    get_analytics_model,
    get_notification_model,
    get_subscription_model,
)
from tests.admin.test_admin import url_of
from tests.delivery.test_flatness import MOST, steps
from tests.factories import make_event, make_notification, make_template, new_notification

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="counts SQLite's steps"),
]

FEW, MANY = 400, 1600

STATUSES = ("failed", "suppressed", "expired", "sent", "sent", "sent", "sent", "sent", "sent", "sent")
BATCHES = [uuid.uuid4() for _ in range(3)]


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch):
    """So that the few rows are more than a window, too."""
    monkeypatch.setattr(reading, "COUNT_LIMIT", 10)
    monkeypatch.setattr(large_tables, "SCAN_LIMIT", 10)
    monkeypatch.setattr(list_filters, "RARE", 5)
    monkeypatch.setattr(finding, "MAX_FOUND", 5)
    monkeypatch.setattr(reading.ReadingAdmin, "list_per_page", 5)


@pytest.fixture
def add(make_user, make_subscription):
    """A function that writes so many rows of each table, over 30 days."""
    now = timezone.now()
    template = make_template("news")
    for number, batch in enumerate(BATCHES):
        ended = now - timedelta(days=number * 10)
        PushBroadcast.objects.create(
            type="news", batch=batch, created_at=ended - timedelta(days=10), finished_at=ended, status="completed"
        )

    def write(count: int) -> None:
        users = get_user_model().objects.bulk_create(
            get_user_model()(username=f"crowd-{uuid.uuid4()}") for _ in range(count // 10)
        )
        subscriptions = get_subscription_model().objects.bulk_create(
            get_subscription_model()(
                user=user,
                endpoint=f"https://updates.push.services.mozilla.com/{user.username}",
                endpoint_hash=user.username,
                is_active=number % 5 > 0,
                deactivated_at=now if number % 5 == 0 else None,
            )
            for number, user in enumerate(users)
        )
        rows = get_notification_model().objects.bulk_create(
            new_notification(
                subscriptions[number % len(subscriptions)],
                STATUSES[number % len(STATUSES)],
                days_ago=number * 30 / count,
                type=f"type{number % 4}",
                template=template,
                batch=BATCHES[number % 3] if number % 2 else uuid.uuid4(),
            )
            for number in range(count)
        )
        get_analytics_model().objects.bulk_create(
            get_analytics_model()(notification=row, action_type=action)
            for row in rows
            for action in ("delivered", "clicked")
        )

    return write


def pages(row: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Every list, filter, search and detail page, by a name for the report."""
    notifications, subscriptions, events = get_notification_model(), get_subscription_model(), get_analytics_model()
    day = f"{row.created_at:%Y-%m-%d}"
    queries: dict[Any, list[dict[str, Any]]] = {
        notifications: [
            {},
            {"p": 2},
            *({"status": status} for status in ("pending", "sent", "failed", "expired")),
            {"status": "failed", "type": "type1"},
            {"status": "failed", "q": "title:Hello"},
            {"type": "type1"},
            {"type": "nothing"},
            {"lane__exact": 0},
            {"lane__exact": 1},
            {"on": f"{row.created_at:%Y}"},
            {"on": day},
            {"on": day, "status": "sent"},
            {"on": day, "status": "failed", "type": "type1"},
            {"on": day, "before": f"{(row.created_at + timedelta(days=9)).isoformat()}~0"},
            {"on": f"{row.created_at:%Y}", "before": f"{row.created_at.isoformat()}~{row.pk}", "status": "sent"},
            {"batch": row.batch},
            {"batch": BATCHES[1]},
            {"batch": BATCHES[1], "status": "sent"},
            {"batch": BATCHES[1], "on": f"{row.created_at:%Y-%m}"},
            {"batch": BATCHES[1], "before": f"{row.created_at.isoformat()}~{row.pk}"},
            {"user": row.user_id},
            {"user": row.user_id, "status": "sent"},
            {"subscription": row.subscription_id},
            {"template": row.template_id},
            {"before": f"{row.created_at.isoformat()}~{row.pk}"},
            {"q": row.user.username},
            {"q": "crowd"},
            {"q": row.pk},
            {"q": row.batch},
            {"q": BATCHES[1]},
            {"q": row.subscription.endpoint},
            {"q": "title:Hello"},
            {"q": "title:nothing"},
        ],
        subscriptions: [
            {},
            {"p": 2},
            {"is_active": 0},
            {"is_active": 1},
            {"service": "updates.push.services.mozilla.com"},
            {"service": "nowhere"},
            {"created_at__gte": f"{timezone.now():%Y-%m-%d} 00:00:00Z"},
            {"user": row.user_id},
            {"q": row.user.username},
            {"q": row.subscription.endpoint},
            {"q": row.subscription_id},
        ],
        events: [
            {},
            {"p": 2},
            {"action_type__exact": "clicked"},
            {"action_type__exact": "dismissed"},
            {"notification": row.pk},
            {"on": day},
            {"q": row.pk},
            {"q": row.batch},
            {"q": BATCHES[1]},
        ],
    }
    found = {
        f"{model._meta.model_name} {query}": (url_of(model, "changelist"), query)
        for model, wanted in queries.items()
        for query in wanted
    }
    details = (row, row.subscription, row.analytics.get(), notifications.objects.filter(batch=BATCHES[1])[0])
    return found | {f"{shown!r}": (url_of(type(shown), "change", shown.pk), {}) for shown in details}


def test_no_page_grows_with_the_rows(admin_client, add, make_user, make_subscription):
    subscription = make_subscription(make_user(username="alice", email="alice@example.com"))
    row = make_notification(subscription, days_ago=15, template=make_template("alone"))
    make_event(row, "clicked")

    def measured() -> dict[str, int]:
        costs = {}
        for name, (url, query) in pages(row).items():
            admin_client.get(url, query)  # what is read once is read
            costs[name] = steps(lambda url=url, query=query: admin_client.get(url, query))
        return costs

    add(FEW)
    few = measured()
    add(MANY - FEW)
    grown = {name: (few[name], cost) for name, cost in measured().items() if cost > few[name] * MOST}
    assert not grown, "\n".join(f"{name}: {costs}" for name, costs in grown.items())

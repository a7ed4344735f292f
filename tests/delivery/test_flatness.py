"""What a worker does for a row costs the same however many other rows there are. Counted in SQLite's own steps.

SQLite keeps no statistics by itself: it takes any index for a good one, and may read every row that has a status.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.delivery import claiming, manual_pause
from django_webpush_kit.delivery.breaker import BreakerKey, Fault
from django_webpush_kit.delivery.breakers import Breakers
from django_webpush_kit.delivery.claiming import shorten_leases
from django_webpush_kit.delivery.engine import claim, deliver_due, return_lapsed
from django_webpush_kit.delivery.manual_pause import ALL_SERVICES, PAUSED_BY_HAND, pause, resume
from django_webpush_kit.models import PushServiceState, get_notification_model, get_subscription_model
from django_webpush_kit.options import RowOptions
from django_webpush_kit.outbox.audiences import audience
from django_webpush_kit.outbox.pages import parts
from django_webpush_kit.outbox.recipients import find_recipients
from django_webpush_kit.protocol.endpoints import endpoint_hash
from django_webpush_kit.rollups.bounds import Bounds
from django_webpush_kit.rollups.building import find_days, roll_up
from tests.conftest import new_keys
from tests.factories import new_notification

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'sqlite'", reason="counts SQLite's steps"),
]

FEW, MANY = 600, 4000
MOST = 1.5
"""An index that is a level deeper takes a little longer to look into."""

_numbers = itertools.count()


def steps(action: Any) -> int:
    """How many times ten instructions SQLite's virtual machine executes."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.connection.set_progress_handler(step, 10)
    try:
        action()
    finally:
        connection.connection.set_progress_handler(None, 0)
    return count


def write(number: int, subscription: Any, status: str, **fields: Any) -> None:
    """Write so many rows of the outbox at once."""
    get_notification_model().objects.bulk_create(
        new_notification(subscription, status, **fields) for _ in range(number)
    )


def subscribe(number: int) -> None:
    """Write so many users and a browser of each."""
    user_model, model, keys = get_user_model(), get_subscription_model(), new_keys()
    users = user_model.objects.bulk_create(user_model(username=f"crowd-{next(_numbers)}") for _ in range(number))
    endpoints = [f"https://updates.push.services.mozilla.com/wpush/v2/{user.username}" for user in users]
    model.objects.bulk_create(
        model(
            user=user,
            endpoint=endpoint,
            endpoint_hash=endpoint_hash(endpoint),
            p256dh_key=keys["p256dh"],
            auth_key=keys["auth"],
        )
        for user, endpoint in zip(users, endpoints, strict=True)
    )


def grows(action: Any, add: Any) -> float:
    """How many times the steps are, with many more rows, what they are with few."""
    add(FEW)
    action()  # what is read once is read
    few = steps(action)
    add(MANY - FEW)
    return steps(action) / few


@pytest.mark.thorough
def test_a_claim_does_not_grow_with_the_pending_rows(subscription: Any) -> None:
    assert grows(lambda: claim(10), lambda number: write(number, subscription, "pending")) < MOST


@pytest.mark.thorough
def test_recording_does_not_grow_with_the_rows_of_other_workers(subscription: Any) -> None:
    later = timezone.now() + timedelta(hours=1)

    def deliver_some() -> None:
        for _ in range(10):
            services.send(subscription, "Hello")
        assert deliver_due().sent == 10

    assert grows(deliver_some, lambda number: write(number, subscription, "sending", next_attempt_at=later)) < MOST


@pytest.mark.thorough
def test_caps_and_topics_do_not_grow_with_the_sent_rows(
    push_settings: Callable[..., None], make_user: Any, make_subscription: Any
) -> None:
    push_settings(NOTIFICATION_TYPES={"news": {"label": "News", "max_per_day": 9}})
    busy, anonymous = make_subscription(make_user()), make_subscription()
    readers = [make_subscription(owner) for owner in (make_user(), make_user(), None, None)]

    def deliver_some() -> None:
        services.send(readers, "Hello", type="news", topic=f"topic-{next(_numbers)}")
        assert deliver_due().sent == len(readers)

    def add(number: int) -> None:
        write(number, busy, "sent", type="news")
        write(number, anonymous, "sent", type="offers")

    assert grows(deliver_some, add) < MOST


@pytest.mark.thorough
def test_finding_lapsed_leases_does_not_grow_with_the_outbox(subscription: Any) -> None:
    def add(number: int) -> None:
        for status in ("pending", "sent", "failed"):
            write(number, subscription, status)

    assert grows(return_lapsed, add) < MOST


@pytest.mark.thorough
def test_the_end_of_a_pause_costs_the_same_for_each_row(subscription: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manual_pause, "MOVED_AT_ONCE", 100)
    waits = {"failure_reason": PAUSED_BY_HAND, "next_attempt_at": timezone.now() + timedelta(seconds=200)}

    def steps_of(number: int) -> float:
        write(number, subscription, "pending", **waits)
        pause()
        return steps(lambda: resume([ALL_SERVICES])) / number

    assert steps_of(MANY) / steps_of(FEW) < MOST


@pytest.mark.thorough
def test_ending_long_leases_costs_the_same_for_each_row(subscription: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "LAPSED_AT_ONCE", 100)
    later = timezone.now() + timedelta(days=900)

    def steps_of(number: int) -> float:
        write(number, subscription, "sending", next_attempt_at=later)
        return steps(shorten_leases) / number

    assert steps_of(MANY) / steps_of(FEW) < MOST


@pytest.mark.thorough
def test_finding_changed_days_does_not_grow_with_the_rows(subscription: Any) -> None:
    def add(number: int) -> None:
        write(number, subscription, "sent", created_at=timezone.now() - timedelta(days=9))

    roll_up(Bounds())
    assert grows(find_days, add) < MOST


@pytest.mark.thorough
@pytest.mark.parametrize("model", [get_user_model, get_subscription_model], ids=["users", "subscriptions"])
def test_a_page_of_recipients_does_not_grow_with_their_number(db: None, model: Any) -> None:
    everybody = model().objects.exclude(pk=0)
    assert grows(lambda: next(find_recipients(everybody).pages()), subscribe) < MOST


@pytest.mark.thorough
@pytest.mark.parametrize("model", [get_user_model, get_subscription_model], ids=["users", "subscriptions"])
def test_a_page_of_an_audience_does_not_grow_with_its_size(
    push_settings: Callable[..., None], db: None, model: Any
) -> None:
    push_settings(AUDIENCES={"some": lambda: model().objects.exclude(pk=0)})
    assert grows(lambda: next(parts(audience("some", ""), size=100)), subscribe) < MOST


@pytest.mark.thorough
def test_a_fault_at_a_rare_push_service_does_not_grow_with_the_subscriptions(make_subscription: Any) -> None:
    alone = make_subscription(endpoint="https://web.push.apple.com/alone")
    former_key = make_subscription(vapid_key_id="former")

    def blame() -> None:
        PushServiceState.objects.all().delete()
        for subscription in (alone, former_key):
            key = BreakerKey(subscription.push_service, subscription.vapid_key_id)
            row: Any = SimpleNamespace(pk=1, subscription_id=subscription.pk, options=RowOptions())
            now = timezone.now()
            verdict = Breakers().blame(key, row, Fault.OUTAGE, reason="HTTP 500", retry_after=None, now=now)
            assert verdict.paused_until is not None  # nobody else is there

    assert grows(blame, subscribe) < MOST

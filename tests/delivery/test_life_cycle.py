"""The life of outbox rows under any order of events, with a simulated clock.

Workers claim, deliver, die and oversleep; browsers unsubscribe and change hands; push services answer anything; time
passes. Whatever happens: an ended row stays ended, nothing is sent too late or to the wrong person, and in the end
every row has come to an end with a reason.
"""

import os
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.utils import timezone as django_timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from django_webpush_kit import services
from django_webpush_kit.delivery import engine
from django_webpush_kit.models import (
    PushBroadcast,
    PushServiceState,
    get_notification_model,
    get_subscription_model,
)
from django_webpush_kit.transports import PushResponse, Transport
from tests.conftest import new_keys

pytestmark = pytest.mark.django_db(transaction=True)

ENDED = {"sent", "failed", "expired", "suppressed", "cancelled"}

START = datetime(2026, 3, 28, 20, tzinfo=timezone.utc)

ANSWERS = st.sampled_from(
    [
        PushResponse(id=None, status=201),
        PushResponse(id=None, status=410),
        PushResponse(id=None, status=413),
        PushResponse(id=None, status=403),
        PushResponse(id=None, status=500),
        PushResponse(id=None, status=429, headers={"retry-after": "90"}),
        PushResponse(id=None, status=503),
        PushResponse(id=None, error="timed out"),
    ]
)

QUIET = {"quiet_hours": {"enabled": True, "start": "22:00", "end": "07:30", "timezone": "Europe/Berlin"}}

world = SimpleNamespace(answers=[], requests=[], outage=None)


class WorldTransport(Transport):
    """Answers as the machine says, and notes what was sent to whom and when."""

    def send(self, requests):
        for request in requests:
            response = world.outage or (world.answers.pop() if world.answers else PushResponse(id=None, status=201))
            row = get_notification_model().objects.select_related("subscription").get(pk=request.id)
            world.requests.append((row, row.subscription, django_timezone.now(), response.status))
            yield PushResponse(id=request.id, status=response.status, headers=response.headers, error=response.error)


class LifeCycle(RuleBasedStateMachine):
    """The machine; its rules are the events named above."""

    def __init__(self):
        super().__init__()
        for model in (get_notification_model(), get_subscription_model(), get_user_model(), PushServiceState):
            model.objects.all().delete()
        world.answers.clear()
        world.requests.clear()
        self.travel = time_machine.travel(START, tick=False)
        self.clock = self.travel.start()
        self.ended = {}
        self.sleepers = []
        self.keys = None

    @initialize()
    def subscribe(self):
        self.users = [get_user_model().objects.create(username=name) for name in ("ada", "grace")]
        self.subscriptions = [
            services.subscribe(
                endpoint=f"https://updates.push.services.mozilla.com/wpush/v2/{number}", user=user, **new_keys()
            )
            for number, user in enumerate(self.users)
        ]

    @rule(
        who=st.integers(0, 1),
        ttl=st.sampled_from([0, 60, 3600, 86400]),
        delay=st.sampled_from([None, 30, 7200]),
        urgency=st.sampled_from(["low", "normal", "high"]),
        topic=st.sampled_from([None, "score"]),
        critical=st.booleans(),
        max_retries=st.integers(0, 2),
    )
    def send(self, who, ttl, delay, urgency, topic, critical, max_retries):
        scheduled = django_timezone.now() + timedelta(seconds=delay) if delay else None
        services.send(
            self.subscriptions[who],
            "Hello",
            ttl=ttl,
            scheduled_for=scheduled,
            urgency=urgency,
            topic=topic,
            critical=critical,
            max_retries=max_retries,
        )

    @rule(answers=st.lists(ANSWERS, max_size=4))
    def deliver(self, answers):
        world.answers[:] = answers
        engine.deliver_due(limit=20)

    @rule(size=st.integers(1, 3))
    def claim_and_die(self, size):
        engine.claim(size)

    @rule(size=st.integers(1, 3))
    def claim_and_oversleep(self, size):
        chunk = engine.claim(size)
        if chunk.rows:
            self.sleepers.append(chunk)

    @precondition(lambda self: self.sleepers)
    @rule()
    def wake_from_sleep(self):
        """A sleeper that wakes within its lease delivers; one that overslept must change nothing."""
        chunk = self.sleepers.pop(0)
        lapsed = chunk.lease.ends_at <= django_timezone.now()
        if lapsed:
            engine.return_lapsed()
        state = get_notification_model().objects.order_by("pk").values("pk", "status", "lease_token", "retry_count")
        before = list(state)
        recorder = engine.Recorder(engine.DeliveryReport().outcomes)
        recorder.take(chunk.lease, chunk.rows)
        for row in chunk.rows:
            recorder.answered(row, PushResponse(id=row.pk, status=201 if not lapsed else 413))
        recorder.flush()
        if lapsed:
            assert list(state.all()) == before

    @rule(seconds=st.sampled_from([1, 45, 100, 301, 3600, 36000]))
    def time_passes(self, seconds):
        self.clock.shift(timedelta(seconds=seconds))

    @rule(who=st.integers(0, 1))
    def quiet_hours(self, who):
        services.update_preferences(self.subscriptions[who], QUIET)

    @rule(who=st.integers(0, 1), owner=st.integers(0, 1))
    def change_hands(self, who, owner):
        get_subscription_model().objects.filter(pk=self.subscriptions[who].pk).update(user=self.users[owner])
        self.subscriptions[who].refresh_from_db()

    @rule(who=st.integers(0, 1))
    def unsubscribe(self, who):
        services.unsubscribe(self.subscriptions[who])

    @rule(who=st.integers(0, 1))
    def subscribe_again(self, who):
        row = self.subscriptions[who]
        services.subscribe(endpoint=row.endpoint, p256dh=row.p256dh_key, auth=row.auth_key, user=row.user)
        row.refresh_from_db()

    @rule()
    def cancel_the_oldest_batch(self):
        row = get_notification_model().objects.filter(status="pending").order_by("pk").first()
        if row:
            services.cancel(row.batch)

    @invariant()
    def ended_rows_stay_ended(self):
        for row in get_notification_model().objects.all():
            assert self.ended.get(row.pk, row.status) == row.status
            if row.status in ENDED:
                self.ended[row.pk] = row.status
                assert row.status == "sent" or row.failure_reason
            assert (row.status == "sending") == (row.lease_token is not None)
            assert row.retry_count <= max(row.max_retries, 1)

    @invariant()
    def requests_were_right_when_they_were_made(self):
        while world.requests:
            row, subscription, moment, _status = world.requests.pop()
            assert subscription.is_active
            assert subscription.user_id == row.user_id
            if not self.is_judged(row):
                continue
            ttl = row.options["ttl"]
            due = row.scheduled_for or row.created_at
            assert moment >= due
            assert ttl == 0 or moment < due + timedelta(seconds=ttl)
            if subscription.preferences and not row.options.get("critical"):
                local = moment + timedelta(hours=1 if moment < datetime(2026, 3, 29, 1, tzinfo=timezone.utc) else 2)
                assert "07:30" <= f"{local:%H:%M}" < "22:00"

    def is_judged(self, row):
        """Whether the row is as it was written, so that its options say when it may be sent."""
        return True

    def teardown(self):
        """Give every row the time to end: nothing may be left behind."""
        world.answers.clear()
        open_rows = get_notification_model().objects.exclude(status__in=ENDED)
        open_broadcasts = PushBroadcast.objects.filter(status__in=["pending", "running"])
        for _ in range(40):
            is_last = not open_rows.exists() and not open_broadcasts.exists()
            self.clock.shift(timedelta(hours=4))
            engine.deliver_due()
            if is_last:  # nothing was open before this call, and it must not open anything again
                break
        left = list(open_rows.values("status", "options", "scheduled_for"))
        self.travel.stop()
        assert left == []


def run_machine(examples, steps, machine=LifeCycle):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize="CI" in os.environ,
            suppress_health_check=list(HealthCheck),
            database=None,
            phases=[Phase.generate],
        ),
    )


@pytest.fixture(autouse=True)
def _world(push_settings):
    push_settings(TRANSPORT=f"{__name__}.WorldTransport")


def test_every_short_sequence_keeps_the_promises():
    run_machine(examples=15, steps=20)


@pytest.mark.slow
def test_every_long_sequence_keeps_the_promises():
    run_machine(examples=150, steps=40)

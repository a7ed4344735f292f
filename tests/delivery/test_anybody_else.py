"""The life of rows while one user's rows, and the project's code that is called for them, misbehave in every way.

The machine of `test_life_cycle` with more events. Ada is the culprit: whatever happens to her, Grace's rows end as they
would without her.
"""

from contextlib import suppress
from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from benchmarks.chaos.oddities import GIVEN, KINDS, STORED, store
from django_webpush_kit import services, signals
from django_webpush_kit.delivery import manual_pause
from django_webpush_kit.exceptions import InvalidSubscription, KeyMismatch
from django_webpush_kit.models import (
    PushBroadcast,
    get_notification_model,
    get_subscription_model,
    get_template_model,
)
from django_webpush_kit.protocol.message import Message
from django_webpush_kit.transports import PushResponse
from tests.conftest import new_keys
from tests.delivery import test_life_cycle
from tests.delivery.test_life_cycle import LifeCycle, run_machine, world

pytestmark = pytest.mark.django_db(transaction=True)

CULPRIT = "ada"
SERVICE = "updates.push.services.mozilla.com"

ERRORS = st.none() | st.sampled_from(KINDS)
RETURNED = st.none() | st.sampled_from(range(len(GIVEN)))
ATTRIBUTES = st.sampled_from(sorted(Message.__dataclass_fields__))

ODD = st.sampled_from([value for value in STORED if not isinstance(value, bytes)])
"""What a text column may hold so that this test can read it, too."""

ROW_COLUMNS = st.sampled_from(["title", "body", "type", "language", "data", "options"])
SUBSCRIPTION_COLUMNS = st.sampled_from(
    ["p256dh_key", "auth_key", "preferences", "language", "timezone", "user_agent", "deactivation_reason"]
)

OUTAGES = st.sampled_from(
    [
        None,
        PushResponse(id=None, status=500),
        PushResponse(id=None, status=503, headers={"retry-after": "86400"}),
        PushResponse(id=None, status=429),
        PushResponse(id=None, status=403),
        PushResponse(id=None, error="timed out"),
    ]
)

code = {"error": None, "value": None, "attribute": ("title", None)}


def raise_for_culprit(user):
    if user.username != CULPRIT:
        return {"first_name": user.username}
    if code["error"] is not None:
        raise code["error"]()
    return {"first_name": user.username if code["value"] is None else GIVEN[code["value"]]}


def pre_send_receiver(notification, message, **kwargs):
    if notification.user is None or notification.user.username != CULPRIT:
        return
    if code["error"] is not None:
        raise code["error"]()
    name, number = code["attribute"]
    if number is not None:
        setattr(message, name, GIVEN[number])


def post_send_receiver(**kwargs):
    if code["error"] is not None:
        raise code["error"]()


def some():
    """An audience that fails as long as the other code does."""
    if code["error"] is not None:
        raise code["error"]()
    return get_subscription_model().objects.all()


class AnybodyElse(LifeCycle):
    """One user's data and the code of the project raise; the other user is a neighbour."""

    def __init__(self):
        super().__init__()
        self.is_odd, self.visits = False, 0
        world.outage = None
        code.update(error=None, value=None, attribute=("title", None))
        PushBroadcast.objects.all().delete()
        get_template_model().objects.all().delete()
        get_template_model().objects.create(type="news", title_template="News for {{ recipient.first_name }}")

    @rule(error=ERRORS)
    def code_raises_for_the_culprit(self, error):
        code["error"] = error

    @rule(value=RETURNED, name=ATTRIBUTES, number=RETURNED)
    def code_returns_odd_values_for_the_culprit(self, value, name, number):
        code.update(value=value, attribute=(name, number))

    @rule(column=ROW_COLUMNS, value=ODD)
    def a_row_of_the_culprit_is_odd(self, column, value):
        rows = get_notification_model().objects.filter(user__username=CULPRIT, status="pending").order_by("pk")
        for key in rows.values_list("pk", flat=True)[:1]:
            store(get_notification_model(), column, key, value)

    @rule(lane=st.sampled_from([0, 2, 9]), retries=st.sampled_from([0, 32_767]))
    def a_row_of_the_culprit_is_out_of_bounds(self, lane, retries):
        rows = get_notification_model().objects.filter(user__username=CULPRIT, status="pending").order_by("pk")
        rows.filter(pk__in=list(rows.values_list("pk", flat=True)[:1])).update(lane=lane, max_retries=retries)

    @rule(column=SUBSCRIPTION_COLUMNS, value=ODD)
    def the_subscription_of_the_culprit_is_odd(self, column, value):
        self.is_odd = store(get_subscription_model(), column, self.subscriptions[0].pk, value) or self.is_odd

    @precondition(lambda self: not self.is_odd)
    @rule(who=st.integers(0, 1), owner=st.integers(0, 1))
    def change_hands(self, who, owner):
        """A browser whose stored values are odd stays with the culprit."""
        super().change_hands(who, owner)

    @rule(who=st.integers(0, 1))
    def subscribe_again(self, who):
        """Keys that differ from stored ones, which may be odd, are refused."""
        expected = (InvalidSubscription, KeyMismatch) if self.is_odd and who == 0 else ()
        with suppress(*expected):
            super().subscribe_again(who)

    @rule()
    def the_culprit_is_erased_and_comes_back(self):
        services.erase_user(self.users[0])
        self.visits += 1
        endpoint = f"https://{SERVICE}/wpush/v2/again-{self.visits}"
        self.subscriptions[0] = services.subscribe(endpoint=endpoint, user=self.users[0], **new_keys())
        if self.subscriptions[1].user_id == self.users[0].pk:
            endpoint = f"https://{SERVICE}/wpush/v2/other-{self.visits}"
            self.subscriptions[1] = services.subscribe(endpoint=endpoint, user=self.users[1], **new_keys())
        self.is_odd = False

    @rule(
        urgency=st.sampled_from(["low", "high"]),
        audience=st.sampled_from(["all", "some"]),
        delay=st.sampled_from([None, 3600]),
    )
    def broadcast(self, urgency, audience, delay):
        due = timezone.now() + timedelta(seconds=delay) if delay else None
        services.broadcast("news", audience, urgency=urgency, ttl=86400, scheduled_for=due)

    @rule(change=st.sampled_from([services.pause_broadcast, services.resume_broadcast, services.cancel]))
    def change_the_newest_broadcast(self, change):
        newest = PushBroadcast.objects.order_by("pk").last()
        if newest is not None:
            change(newest)

    @rule(who=st.integers(0, 1), key=st.sampled_from(["order-1", "Größe 😀"]))
    def send_once(self, who, key):
        services.send(self.subscriptions[who], "Once", idempotency_key=key, ttl=86400)

    @rule(key=st.sampled_from(["order-1", "Größe 😀"]))
    def cancel_what_is_sent_once(self, key):
        services.cancel(idempotency_key=key)

    @rule(answer=OUTAGES)
    def the_push_service_answers_everybody_the_same(self, answer):
        world.outage = answer

    @rule(is_paused=st.booleans())
    def somebody_pauses_the_push_service(self, is_paused):
        if is_paused:
            manual_pause.pause(SERVICE)
        else:
            manual_pause.resume([SERVICE])

    @invariant()
    def nothing_that_raises_ends_a_row_of_the_neighbour(self):
        reasons = (
            get_notification_model().objects.exclude(user__username=CULPRIT).values_list("failure_reason", flat=True)
        )
        assert [reason for reason in reasons if "raised" in reason or "Invalid" in reason] == []

    def is_judged(self, row):
        return row.user_id != self.users[0].pk

    def teardown(self):
        code.update(error=None, value=None, attribute=("title", None))
        world.outage = None
        manual_pause.resume([SERVICE])
        super().teardown()


@pytest.fixture(autouse=True)
def _world(push_settings):
    push_settings(
        TRANSPORT=f"{test_life_cycle.__name__}.WorldTransport",
        RECIPIENT_CONTEXT=raise_for_culprit,
        AUDIENCES={"some": some},
    )
    signals.pre_send.connect(pre_send_receiver)
    signals.post_send.connect(post_send_receiver)
    yield
    signals.pre_send.disconnect(pre_send_receiver)
    signals.post_send.disconnect(post_send_receiver)


def test_every_short_sequence_spares_the_neighbour():
    run_machine(examples=10, steps=20, machine=AnybodyElse)


@pytest.mark.slow
def test_every_long_sequence_spares_the_neighbour():
    run_machine(examples=100, steps=40, machine=AnybodyElse)

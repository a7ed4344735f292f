"""The life of rows while one user's rows, and the project's code that is called for them, misbehave in every way.

The machine of `test_life_cycle` with more events. Ada is the culprit: whatever happens to her, Grace's rows end as they
would without her.
"""

import pytest
from django.db import IntegrityError, OperationalError
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from django_webpush_kit import services, signals
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_template_model
from tests.delivery import test_life_cycle
from tests.delivery.test_life_cycle import LifeCycle, run_machine

pytestmark = pytest.mark.django_db(transaction=True)

CULPRIT = "ada"

ERRORS = st.sampled_from(
    [None, KeyError("name"), ValueError("\x00"), StopIteration(), OperationalError("away"), IntegrityError("twice")]
)

ODD_VALUES = st.sampled_from(
    [
        {"options": []},
        {"options": {"ttl": "x"}},
        {"options": {"actions": ["x"]}},
        {"data": 5},
        {"data": ["x"]},
        {"language": "../x"},
        {"max_retries": 32_767},
        {"lane": 77},
    ]
)

code = {"error": None}


def raise_for_culprit(user):
    if code["error"] is not None and user.username == CULPRIT:
        raise code["error"]
    return {"first_name": user.username}


def pre_send_receiver(notification, **kwargs):
    if code["error"] is not None and notification.user and notification.user.username == CULPRIT:
        raise code["error"]


def post_send_receiver(**kwargs):
    if code["error"] is not None:
        raise code["error"]


class AnybodyElse(LifeCycle):
    """One user's data and the code of the project raise; the other user is a neighbour."""

    def __init__(self):
        super().__init__()
        code.update(error=None)
        PushBroadcast.objects.all().delete()
        get_template_model().objects.all().delete()
        get_template_model().objects.create(type="news", title_template="News for {{ recipient.first_name }}")

    @rule(error=ERRORS)
    def code_raises_for_the_culprit(self, error):
        code["error"] = error

    @rule(values=ODD_VALUES)
    def a_row_of_the_culprit_is_odd(self, values):
        rows = get_notification_model().objects.filter(user__username=CULPRIT, status="pending")
        rows.filter(pk__in=list(rows.order_by("pk").values_list("pk", flat=True)[:1])).update(**values)

    @rule(urgency=st.sampled_from(["low", "high"]))
    def broadcast(self, urgency):
        services.broadcast("news", urgency=urgency, ttl=86400)

    @invariant()
    def nothing_that_raises_ends_a_row_of_the_neighbour(self):
        reasons = (
            get_notification_model().objects.exclude(user__username=CULPRIT).values_list("failure_reason", flat=True)
        )
        assert [reason for reason in reasons if "raised" in reason or "Invalid" in reason] == []

    def is_judged(self, row):
        return row.user_id != self.users[0].pk

    def teardown(self):
        code.update(error=None)
        get_notification_model().objects.filter(lane=77).delete()  # a lane that there is not is never looked into
        super().teardown()


@pytest.fixture(autouse=True)
def _world(push_settings):
    push_settings(TRANSPORT=f"{test_life_cycle.__name__}.WorldTransport", RECIPIENT_CONTEXT=raise_for_culprit)
    signals.pre_send.connect(pre_send_receiver)
    signals.post_send.connect(post_send_receiver)
    yield
    signals.pre_send.disconnect(pre_send_receiver)
    signals.post_send.disconnect(post_send_receiver)


def test_any_short_life_beside_a_culprit_ends_well():
    run_machine(examples=10, steps=20, machine=AnybodyElse)


@pytest.mark.slow
def test_any_long_life_beside_a_culprit_ends_well():
    run_machine(examples=100, steps=40, machine=AnybodyElse)

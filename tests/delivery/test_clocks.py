"""A clock that jumps while rows wait and while they are sent: each scheduled row is sent once."""

from datetime import datetime, timedelta, timezone
from uuid import uuid4

import pytest
import time_machine
from django.utils import timezone as django_timezone

from django_webpush_kit import services
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.delivery.claiming import shorten_leases
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.pruning import clean_up
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.testing import outbox
from django_webpush_kit.transports import LocmemTransport

pytestmark = pytest.mark.django_db(transaction=True)

START = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
JUMPS = [timedelta(hours=2), timedelta(hours=-2), timedelta(days=-400)]


class JumpingTransport(LocmemTransport):
    """The clock jumps while a request is under way."""

    clock = None
    jump = timedelta()

    def send(self, requests):
        for response in super().send(requests):
            self.clock.shift(self.jump)
            yield response


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as clock:
        yield clock


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_while_rows_wait(subscription, clock, jump):
    for hours in range(6):
        services.send(subscription, f"at {hours}", scheduled_for=START + timedelta(hours=hours))
    for move in (jump, -jump, timedelta(hours=1), jump, -jump, timedelta(hours=5)):
        clock.shift(move)
        deliver_due()
    assert sorted(message.title for message in outbox) == [f"at {hours}" for hours in range(6)]
    assert set(get_notification_model().objects.values_list("status", flat=True)) == {"sent"}


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_while_they_are_sent(subscription, clock, jump, push_settings, monkeypatch):
    push_settings(TRANSPORT=f"{__name__}.JumpingTransport")
    monkeypatch.setattr(JumpingTransport, "clock", clock)
    monkeypatch.setattr(JumpingTransport, "jump", jump)
    for number in range(3):
        services.send(subscription, f"Message {number}", scheduled_for=START)
    deliver_due()
    clock.move_to(START + timedelta(days=1))
    deliver_due()
    assert sorted(message.title for message in outbox) == [f"Message {number}" for number in range(3)]
    assert set(get_notification_model().objects.values_list("status", flat=True)) == {"sent"}


def test_a_lease_of_a_worker_whose_clock_is_years_ahead_ends(subscription):
    """Its rows would wait for years. What another worker has in hand stays there."""
    model, now = get_notification_model(), django_timezone.now()
    ends = {"ahead": now + timedelta(days=900), "long": now + timedelta(days=1), "usual": now + timedelta(minutes=4)}
    for title, end in ends.items():
        services.send(subscription, title)
        leased = {"status": "sending", "lease_token": uuid4(), "next_attempt_at": end}
        model.objects.filter(title=title).update(**leased)
    clean_up()
    found = dict(model.objects.values_list("title", "next_attempt_at"))
    assert found["ahead"] - django_timezone.now() <= timedelta(seconds=kit_settings.LEASE_SECONDS)
    assert (found["long"], found["usual"]) == (ends["long"], ends["usual"])
    model.objects.filter(title="ahead").update(next_attempt_at=now)
    deliver_due()
    assert [message.title for message in outbox] == ["ahead"]


def test_a_wrong_clock_of_the_clean_up_ends_no_lease(subscription, monkeypatch):
    """The clock of the database decides: this machine's is years behind, and every lease seems too long."""
    services.send(subscription, "in hand")
    end = django_timezone.now() + timedelta(minutes=4)
    get_notification_model().objects.update(status="sending", lease_token=uuid4(), next_attempt_at=end)
    monkeypatch.setattr("django_webpush_kit.delivery.claiming.clock_difference", lambda: -400 * 86_400.0)
    with time_machine.travel(django_timezone.now() - timedelta(days=400), tick=True):
        shorten_leases()
    assert get_notification_model().objects.get().next_attempt_at == end

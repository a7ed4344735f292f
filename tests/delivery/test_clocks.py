"""A clock that jumps while rows wait and while they are sent: each scheduled row is sent once."""

from datetime import datetime, timedelta, timezone

import pytest
import time_machine

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
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

"""Sending that is paused by hand: nothing goes out, nothing is lost, and the breakers leave the pause alone."""

from datetime import timedelta

import pytest
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.delivery import manual_pause
from django_webpush_kit.delivery.breaker import BreakerKey
from django_webpush_kit.delivery.breakers import Breakers
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.manual_pause import PAUSED_BY_HAND, pause, paused_by_hand, resume
from django_webpush_kit.models import PushServiceState, get_notification_model
from django_webpush_kit.transports import PushResponse, locmem
from tests.factories import make_template

pytestmark = pytest.mark.django_db(transaction=True)

MOZILLA = "updates.push.services.mozilla.com"
GOOGLE = "fcm.googleapis.com"


@pytest.fixture
def both(user, make_subscription):
    """A subscription at each of two push services."""
    return make_subscription(user), make_subscription(user, endpoint=f"https://{GOOGLE}/fcm/send/some-browser")


def statuses():
    rows = get_notification_model().objects.order_by("pk")
    return [(row.subscription.push_service, row.status) for row in rows]


def test_nothing_is_sent_while_all_is_paused(both, user):
    assert pause() is True
    assert pause() is False
    services.send(user, "Hello")
    report = deliver_due()
    assert (report.claimed, report.more) == (0, False)
    assert {status for _service, status in statuses()} == {"pending"}
    assert resume(paused_by_hand()) == 1
    assert deliver_due().sent == 2


def test_broadcasts_do_not_fan_out_while_all_is_paused(both):
    pause()
    make_template("news")
    services.broadcast("news", context={"number": 7})
    deliver_due()
    assert statuses() == []
    resume([manual_pause.ALL_SERVICES])
    assert deliver_due().sent == 2


def test_a_paused_service_does_not_delay_others(both, user):
    pause(GOOGLE)
    services.send(user, "Hello")
    deliver_due()
    assert statuses() == [(MOZILLA, "sent"), (GOOGLE, "pending")]
    row = get_notification_model().objects.get(status="pending")
    assert (row.failure_reason, row.retry_count, row.claims) == (PAUSED_BY_HAND, 0, 0)
    assert row.next_attempt_at > timezone.now() + timedelta(seconds=200)
    assert resume([GOOGLE]) == 1
    assert deliver_due().sent == 1, "it is due at once"


def test_resuming_makes_exactly_the_waiting_rows_due(both, user, monkeypatch):
    monkeypatch.setattr(manual_pause, "MOVED_AT_ONCE", 2)
    pause(MOZILLA)
    for _ in range(5):
        services.send(both[0], "Hello")
    later = services.send(both[0], "Later", scheduled_for=timezone.now() + timedelta(seconds=60)).notifications.get()
    deliver_due()
    assert resume([MOZILLA]) == 1
    assert deliver_due().sent == 5
    later.refresh_from_db()
    assert later.status == "pending"


def test_a_service_stays_paused_when_another_is_resumed(both, user):
    pause(GOOGLE)
    pause(MOZILLA)
    assert resume([GOOGLE]) == 1
    assert resume([GOOGLE]) == 0
    services.send(user, "Hello")
    deliver_due()
    assert statuses() == [(MOZILLA, "pending"), (GOOGLE, "sent")]
    assert list(paused_by_hand()) == [MOZILLA]


@pytest.mark.parametrize("ttl", [3600, 100, 0])
def test_a_message_of_any_ttl_waits(both, ttl):
    pause(MOZILLA)
    row = services.send(both[0], "Hello", ttl=ttl).notifications.get()
    deliver_due()
    row.refresh_from_db()
    assert row.status == "pending"


def test_a_message_expires_at_its_own_deadline(both, time_machine):
    now = timezone.now()
    time_machine.move_to(now, tick=False)
    pause(MOZILLA)
    row = services.send(both[0], "Hello", ttl=100).notifications.get()
    for second in (1, 60, 90):
        time_machine.move_to(now + timedelta(seconds=second), tick=False)
        deliver_due()
        row.refresh_from_db()
        assert row.status == "pending"
    time_machine.move_to(now + timedelta(seconds=101), tick=False)
    deliver_due()
    row.refresh_from_db()
    assert row.status == "expired"


def test_a_closing_breaker_does_not_end_the_pause(both, user):
    locmem.answers += [PushResponse(id=None, status=503)]
    services.send(both[0], "Hello")
    deliver_due()
    assert PushServiceState.objects.filter(push_service=MOZILLA, vapid_key_id=both[0].vapid_key_id).exists()
    pause(MOZILLA)
    get_notification_model().objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    deliver_due()
    assert list(paused_by_hand()) == [MOZILLA]
    resume([MOZILLA])
    assert deliver_due().claimed == 1


def test_the_pause_survives_a_breaker_with_the_same_key(both, user):
    """Subscriptions that were imported have no VAPID key id."""
    type(both[0]).objects.filter(pk=both[0].pk).update(vapid_key_id="")
    row = services.send(both[0], "Hello")
    locmem.answers += [PushResponse(id=None, status=503)]
    deliver_due()
    state = PushServiceState.objects.get(push_service=MOZILLA, vapid_key_id="")
    assert state.reason
    breakers = Breakers()
    pause(MOZILLA)
    breakers.accept(BreakerKey(MOZILLA, ""), row.notifications.get(), timezone.now())
    breakers.write()
    assert list(paused_by_hand()) == [MOZILLA]

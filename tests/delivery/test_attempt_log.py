"""What a worker writes into the log of a row: nothing if the first attempt is accepted."""

from datetime import timedelta

import pytest
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.attempt_log import Step, attempts
from django_webpush_kit.delivery.engine import claim, deliver_due, return_lapsed
from django_webpush_kit.delivery.outcomes import Recorder
from django_webpush_kit.models import PushServiceState, get_notification_model
from django_webpush_kit.outbox.retries import retry_failed
from django_webpush_kit.transports import PushResponse, locmem

pytestmark = pytest.mark.django_db(transaction=True)


def steps():
    """The kinds, statuses and reasons in the log of the only row."""
    log = get_notification_model().objects.get().attempt_log
    return [(step.step, step.status, step.reason) for step in attempts(log)]


def answer(*statuses):
    locmem.answers.extend(PushResponse(id=None, status=status) for status in statuses)


def is_due():
    """Make the row due, and let no pause of its push service stand in its way."""
    PushServiceState.objects.all().delete()
    get_notification_model().objects.update(next_attempt_at=timezone.now())


def test_an_accepted_message_has_no_log(subscription):
    services.send(subscription, "Hello")
    assert deliver_due().sent == 1
    assert steps() == []


def test_each_refused_attempt_is_logged_with_the_time_of_the_next(subscription):
    answer(503, 500)
    services.send(subscription, "Hello")
    deliver_due()
    row = get_notification_model().objects.get()
    (step,) = attempts(row.attempt_log)
    assert abs(step.until - row.next_attempt_at) < timedelta(seconds=1)
    for _ in range(2):
        is_due()
        deliver_due()
    assert steps() == [(Step.ANSWER, 503, "HTTP 503"), (Step.ANSWER, 500, "HTTP 500")]
    assert get_notification_model().objects.get().status == "sent"


def test_the_final_outcome_and_a_manual_retry_are_logged(subscription):
    answer(413)
    services.send(subscription, "Hello")
    deliver_due()
    assert retry_failed(get_notification_model().objects.all()) == 1
    services.cancel(get_notification_model().objects.get())
    assert steps() == [
        (Step.ANSWER, 413, "HTTP 413"),
        (Step.RETRY, None, ""),
        (Step.CANCEL, None, "Cancelled by the application"),
    ]


def test_rows_that_are_never_sent_are_logged(subscription):
    services.send(subscription, "Hello", expires_at=timezone.now() + timedelta(hours=1))
    get_notification_model().objects.update(expires_at=timezone.now())
    deliver_due()
    assert steps() == [(Step.END, None, "Not sent before its deadline")]


def test_quiet_hours_are_logged_when_the_row_is_written(make_user, make_subscription, time_machine):
    time_machine.move_to("2026-03-01 23:00:00+00:00")
    quiet = {"quiet_hours": {"enabled": True, "start": "22:00", "end": "08:00"}}
    services.send(make_subscription(make_user(), preferences=quiet, timezone="UTC"), "Hello")
    row = get_notification_model().objects.get()
    (step,) = attempts(row.attempt_log)
    assert (step.step, step.reason) == (Step.WAIT, "Quiet hours")
    assert abs(step.until - row.next_attempt_at) < timedelta(seconds=1)


def test_a_lapsed_lease_is_logged(subscription):
    services.send(subscription, "Hello")
    claim(1)
    is_due()
    assert return_lapsed() == 1
    assert steps() == [(Step.LAPSE, None, "")]


def test_isolating_a_row_is_logged(subscription):
    services.send(subscription, "Hello")
    chunk = claim(1)
    recorder = Recorder(outcomes={})
    recorder.take(chunk.lease, chunk.rows)
    recorder.isolate([row.pk for row in chunk.rows])
    assert steps() == [(Step.LAPSE, None, "")]


def test_a_short_wait_without_a_reason_is_not_logged(subscription):
    services.send(subscription, "Hello")
    chunk = claim(1)
    recorder = Recorder(outcomes={"deferred": 0})
    recorder.take(chunk.lease, chunk.rows)
    recorder.put_back(chunk.rows[0], timezone.now() + timedelta(seconds=1))
    recorder.flush()
    assert get_notification_model().objects.get().status == "pending"
    assert steps() == []

"""Observers: what they are told, and that they harm nobody."""

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit import observers, services
from django_webpush_kit.api.events import Event, record
from django_webpush_kit.apps import _connect_observers
from django_webpush_kit.checks import TAG
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.observers import Observer, make_observer
from django_webpush_kit.transports import PushResponse, locmem

pytestmark = pytest.mark.django_db(transaction=True)

NOTING = "tests.test_observers.Noting"

seen = []


class Noting(Observer):
    """Notes everything."""

    def __init__(self, *, name="noting"):
        self.name = name

    def on_queued(self, batch, result):
        seen.append(("queued", batch, result.queued))

    def on_chunk(self, report):
        seen.append(("chunk", report))

    def on_event(self, notification, event):
        seen.append(("event", notification.pk, event))


class Raising(Observer):
    """Raises each time."""

    def on_chunk(self, report):
        raise RuntimeError("the metrics server is away")


@pytest.fixture(autouse=True)
def _connected(push_settings):
    seen.clear()
    push_settings(OBSERVERS=["tests.test_observers.Raising", {"BACKEND": NOTING, "OPTIONS": {"name": "one"}}])
    _connect_observers()
    yield
    observers.disconnect()


def test_every_step_is_observed(subscription, caplog):
    locmem.answers.append(PushResponse(id=None, status=413))
    batch = services.send(subscription, "Hello", type="news").batch
    deliver_due()
    row = get_notification_model().objects.get()
    record([Event(row.pk, row.batch, "clicked")])
    (queued, chunk, event) = seen
    assert queued == ("queued", batch, 1)
    assert event == ("event", row.pk, "clicked")
    report = chunk[1]
    assert (report.claimed, report.outcomes, report.batches) == (1, {"failed": 1}, {batch})
    (request,) = report.requests
    assert (request.notification, request.batch, request.type) == (row.pk, batch, "news")
    assert (request.push_service, request.status, request.outcome) == (
        "updates.push.services.mozilla.com",
        413,
        "failed",
    )
    assert 0 <= request.seconds <= report.seconds
    assert caplog.records[0].message == "Raising raised in on_chunk"


def test_rows_that_are_not_sent_have_no_request_event(subscription):
    services.send(subscription, "Hello")
    services.unsubscribe(subscription)
    deliver_due()
    assert seen[-1][1].outcomes == {"suppressed": 1}
    assert seen[-1][1].requests == []


def test_observers_are_created_once():
    assert observers.observers() is observers.observers()
    assert observers.observers()[1].name == "one"


def test_without_observers_nothing_is_recorded(push_settings):
    push_settings(OBSERVERS=[])
    observers.disconnect()
    _connect_observers()
    assert observers.observers() == ()
    assert not observers.event_recorded.has_listeners(None)


def test_base_class_ignores_everything():
    observer = Observer()
    assert [observer.on_queued(None, None), observer.on_chunk(None), observer.on_event(None, "")] == [None] * 3


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("tests.nowhere.Metrics", "cannot be used: No module named 'tests.nowhere'"),
        ({"BACKEND": NOTING, "OPTIONS": {"colour": "red"}}, "unexpected keyword argument 'colour'"),
        ({"PATH": NOTING}, "cannot be used: 'BACKEND'"),
        ("collections.Counter", "is not a subclass of observers.Observer"),
    ],
)
def test_an_observer_that_cannot_be_created_is_reported_and_skipped(push_settings, caplog, subscription, spec, problem):
    push_settings(OBSERVERS=[spec, NOTING])
    with pytest.raises(ImproperlyConfigured, match="OBSERVERS") as raised:
        make_observer(spec)
    assert problem in str(raised.value)
    assert [message.id for message in run_checks(tags=[TAG]) if "OBSERVERS" in message.msg] == ["webpush_kit.E018"]
    services.send(subscription, "Hello")
    deliver_due()
    assert [name for name, *_rest in seen] == ["queued", "chunk"]
    assert problem in caplog.text


class Unreadable(list):
    """A value that cannot even be shown."""

    def __repr__(self):
        raise KeyError("no name")


@pytest.mark.parametrize("given", [7, True, Unreadable([1])], ids=type)
def test_a_setting_of_the_wrong_type_stops_nothing(push_settings, caplog, subscription, given):
    push_settings(OBSERVERS=given)
    services.send(subscription, "Hello")
    deliver_due()
    assert get_notification_model().objects.get().status == "sent"
    assert 'WEBPUSH_KIT["OBSERVERS"] cannot be read' in caplog.text


def test_settings_that_are_not_a_dict_are_left_to_the_checks(settings):
    settings.WEBPUSH_KIT = 7
    _connect_observers()

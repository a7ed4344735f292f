"""A push service that accepts connections and never answers slows only itself."""

import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from django.db import connection
from django.db.transaction import TransactionManagementError

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.flow import Flow
from django_webpush_kit.delivery.worker import Worker
from django_webpush_kit.models import get_notification_model, get_subscription_model
from django_webpush_kit.transports import PyWebPushTransport
from tests.conftest import new_keys
from tests.transports.conftest import needs_pycurl
from tests.transports.fault_server import FaultServer

pytestmark = pytest.mark.django_db(transaction=True)

TRANSPORTS = [pytest.param("CurlTransport", marks=needs_pycurl), "PyWebPushTransport"]


@pytest.fixture
def servers():
    with FaultServer() as hanging, FaultServer() as working:
        yield hanging, working


@pytest.fixture(params=TRANSPORTS)
def network(request, push_settings):
    transport = {
        "BACKEND": f"django_webpush_kit.transports.{request.param}",
        "OPTIONS": {"timeout": 8, "max_in_flight": 40},
    }
    push_settings(ALLOW_PRIVATE_ENDPOINTS=True, CHUNK_SIZE=50, TRANSPORT=transport)
    return transport


def subscribe(user, server, path, push_service, number):
    model = get_subscription_model()
    keys = new_keys()
    for count in range(number):
        row = model(user=user, endpoint=f"{server.url(path)}?{count}", p256dh_key=keys["p256dh"], auth_key=keys["auth"])
        row.save()
        model.objects.filter(pk=row.pk).update(push_service=push_service)


def rows_to(user):
    return get_notification_model().objects.filter(user=user)


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def working(worker, hung_server):
    """Let a worker run in a thread; at the end the server that hangs is stopped, so that nobody waits for it."""

    def work():
        try:
            worker.run_for_ever(0.2)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        worker._is_stopped = True
        hung_server.stop()
        thread.join()


@pytest.mark.thorough
@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("urgency", ["high", "normal"])
def test_rows_of_another_service_are_sent_while_one_hangs(servers, make_user, urgency):
    hung, other = make_user(), make_user()
    subscribe(hung, servers[0], "/silent", "hung.example.com", 200)
    subscribe(other, servers[1], "/status/201", "other.example.com", 1)
    services.send(hung, "Hello")
    with working(Worker(seconds=60), servers[0]):
        wait_until(lambda: rows_to(hung).filter(status="sending").count() >= 20)
        for number in range(1, 4):
            services.send(other, "Your code", urgency=urgency)
            wait_until(lambda number=number: rows_to(other).filter(status="sent").count() == number)
        assert not rows_to(hung).filter(failure_reason="timed out").exists(), "nothing waited for the time-out"


@pytest.mark.usefixtures("network")
def test_a_hung_service_does_not_stop_a_busy_worker(servers, make_user, push_settings, monkeypatch):
    push_settings(CHUNK_SIZE=5)
    monkeypatch.setattr("django_webpush_kit.delivery.worker.CHUNKS_AT_ONCE", 1)
    hung, other = make_user(), make_user()
    subscribe(hung, servers[0], "/silent", "hung.example.com", 1)
    subscribe(other, servers[1], "/status/201", "other.example.com", 60)
    services.send(hung, "Hello")
    with working(Worker(seconds=60), servers[0]):
        wait_until(lambda: servers[0].received)
        services.send(other, "News")
        wait_until(lambda: rows_to(other).filter(status="sent").count() == 60)
        assert rows_to(hung).get().status == "sending", "its answer is still outstanding"


BOUNDED_CALLS = {
    "limit": lambda: deliver_due(limit=90),
    "seconds": lambda: deliver_due(seconds=0.5),
    "signal": lambda: deliver_due(is_stopped=lambda: get_notification_model().objects.filter(status="sent").exists()),
}


@pytest.mark.parametrize("call", BOUNDED_CALLS)
def test_a_call_that_ends_while_a_service_hangs_releases_all_its_rows(servers, make_user, push_settings, network, call):
    push_settings(TRANSPORT={**network, "OPTIONS": {**network["OPTIONS"], "timeout": 1}})
    hung, other = make_user(), make_user()
    subscribe(hung, servers[0], "/silent", "hung.example.com", 100)
    subscribe(other, servers[1], "/status/201", "other.example.com", 20)
    services.send(other, "Hello")
    services.send(hung, "Hello")
    report = BOUNDED_CALLS[call]()
    assert report.more
    assert report.sent == rows_to(other).filter(status="sent").count()
    states = get_notification_model().objects.exclude(status="sent").values_list("status", "lease_token", "claims")
    assert set(states) == {("pending", None, 0)}
    paths = [one.path for server in servers for one in server.received]
    assert len(paths) == len(set(paths)), "nothing was sent twice"
    tried = rows_to(hung).filter(failure_reason="timed out").count()
    assert len(servers[0].received) <= tried <= 40, "a request that never reached the server timed out, too"


@pytest.mark.usefixtures("network")
def test_rows_above_the_share_of_their_service_are_sent_when_there_is_room(servers, make_user):
    user = make_user()
    subscribe(user, servers[1], "/status/201", "busy.example.com", 90)
    services.send(user, "Hello")
    assert deliver_due().sent == 90
    assert len(servers[1].received) == 90


def test_a_parked_request_does_not_start_shortly_before_its_lease_ends():
    flow = Flow(PyWebPushTransport(max_in_flight=2))
    row = SimpleNamespace(pk=1, push_service="busy.example.com")
    flow.park(row, None, stop_at=time.monotonic() - 1)
    flow.park(row, None, stop_at=time.monotonic() + 60)
    assert len(list(flow.unparked())) == 1
    assert flow.is_empty


def test_with_autocommit_off_the_call_is_refused(subscription):
    services.send(subscription, "Hello")
    connection.set_autocommit(False)
    try:
        with pytest.raises(TransactionManagementError, match="autocommit"):
            deliver_due()
    finally:
        connection.rollback()
        connection.set_autocommit(True)
    assert get_notification_model().objects.get().status == "pending"


class TestExcess:
    """Which parked rows are put back, so that rows of others can be claimed."""

    @pytest.fixture
    def flow(self, monkeypatch):
        monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
        return Flow(PyWebPushTransport(max_in_flight=40))

    def park(self, flow, push_service, number):
        rows = [SimpleNamespace(pk=f"{push_service}{count}", push_service=push_service) for count in range(number)]
        for row in rows:
            flow.park(row, None, stop_at=time.monotonic() + 60)
        return rows

    def answer(self, flow, push_service, number):
        for count in range(number):
            row = SimpleNamespace(pk=("answered", push_service, count), push_service=push_service)
            flow.start(row)
            flow.finish(row.pk)

    def test_a_service_that_does_not_answer_keeps_no_parked_rows(self, flow):
        rows = self.park(flow, "hung.example.com", 5)
        flow.note_look()
        assert sorted(row.pk for row in flow.give_up_excess()) == [row.pk for row in rows]
        assert flow.is_empty

    def test_a_service_that_answers_keeps_the_oldest_rows_it_can_handle(self, flow):
        rows = self.park(flow, "busy.example.com", 50)
        self.park(flow, "hung.example.com", 5)
        flow.note_look()
        self.answer(flow, "busy.example.com", 10)  # 20 a second, for looks are half a second apart
        given_up = flow.give_up_excess()
        assert {row.pk for row in given_up if row.push_service == "busy.example.com"} == {row.pk for row in rows[20:]}
        assert len(given_up) == 35

    def test_answers_before_the_last_look_do_not_count(self, flow):
        self.park(flow, "hung.example.com", 5)
        self.answer(flow, "hung.example.com", 10)
        flow.note_look()
        assert len(flow.give_up_excess()) == 5

"""Writing the outbox: what a page leaves behind."""

import gc
import threading
import weakref

import pytest

from django_webpush_kit import services
from django_webpush_kit.delivery import enqueue
from django_webpush_kit.delivery.collector import Resting
from django_webpush_kit.exceptions import TemplateRenderError
from tests.factories import make_template

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[True, False], ids=["collecting", "not-collecting"])
def collector(request):
    was_enabled = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if was_enabled else gc.disable)()


@pytest.fixture(autouse=True)
def _every_page_is_large(monkeypatch):
    monkeypatch.setattr(enqueue, "LARGE_PAGE", 1)


def test_a_small_page_leaves_the_garbage_collector_alone(subscription, monkeypatch):
    monkeypatch.setattr(enqueue, "LARGE_PAGE", 2)
    monkeypatch.setattr(enqueue, "collector", None)
    assert services.send(subscription, "Hello").queued == 1


def test_the_garbage_collector_works_again_when_the_last_thread_has_left(collector):
    resting = Resting()
    first_is_in, first_may_leave = threading.Event(), threading.Event()

    def first():
        with resting.while_any():
            first_is_in.set()
            first_may_leave.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    first_is_in.wait(10)
    with resting.while_any():
        first_may_leave.set()
        thread.join()
        assert not gc.isenabled()
    assert gc.isenabled() is collector


def test_a_thread_that_leaves_others_behind_collects_what_is_young(collector):
    class Ring:
        pass

    resting = Resting()
    with resting.while_any():
        with resting.while_any():
            ring = Ring()
            ring.itself, gone = ring, weakref.ref(ring)
            del ring
            assert gone() is not None
        assert (gone() is None) is collector


def test_the_garbage_collector_is_left_as_it_was_found(subscription, collector):
    assert services.send(subscription, "Hello").queued == 1
    assert gc.isenabled() is collector


def test_the_garbage_collector_is_left_as_it_was_found_when_a_row_cannot_be_written(user, subscription, collector):
    type(user).objects.update(first_name="x" * 150)
    make_template("greeting", title_template="{{ recipient.first_name }} {{ recipient.first_name }}")
    with pytest.raises(TemplateRenderError):
        services.send_templated("greeting", to=subscription)
    assert gc.isenabled() is collector

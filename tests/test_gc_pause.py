"""Pausing the garbage collector: in a worker's own process, and never in a request."""

import gc
import threading
import weakref

import pytest

from django_webpush_kit import services
from django_webpush_kit.delivery.worker import Worker
from django_webpush_kit.gc_pause import GarbageCollectorPause
from django_webpush_kit.signals import pre_send
from tests.factories import make_template


@pytest.fixture(params=[True, False], ids=["collecting", "not-collecting"])
def collector(request):
    was_enabled = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if was_enabled else gc.disable)()


def test_the_garbage_collector_resumes_after_the_last_thread(collector):
    garbage_collector = GarbageCollectorPause()
    first_is_in, first_may_leave = threading.Event(), threading.Event()

    def first():
        with garbage_collector.pause():
            first_is_in.set()
            first_may_leave.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    first_is_in.wait(10)
    with garbage_collector.pause():
        first_may_leave.set()
        thread.join()
        assert not gc.isenabled()
    assert gc.isenabled() is collector


def test_each_leaving_thread_collects_the_young_generations(collector):
    class Ring:
        pass

    garbage_collector = GarbageCollectorPause()
    with garbage_collector.pause():
        with garbage_collector.pause():
            ring = Ring()
            ring.itself, gone = ring, weakref.ref(ring)
            del ring
            assert gone() is not None
        assert (gone() is None) is collector


@pytest.mark.django_db
def test_only_a_worker_pauses_the_collector(subscription, collector, push_settings):
    seen = []

    def recipient_context(user):
        seen.append(gc.isenabled())
        return {"first_name": user.first_name}

    def look(**_arguments):
        seen.append(gc.isenabled())

    push_settings(RECIPIENT_CONTEXT=recipient_context)
    make_template("greeting", title_template="Hello {{ recipient.first_name }}")
    services.send_templated("greeting", to=subscription)
    pre_send.connect(look)
    try:
        Worker().run_once()
    finally:
        pre_send.disconnect(look)
    assert seen == [collector, False]
    assert gc.isenabled() is collector

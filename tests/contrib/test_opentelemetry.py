"""Traces with the real OpenTelemetry SDK: one trace from `send()` to the click."""

import uuid
from collections import Counter

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from django_webpush_kit import observers, services
from django_webpush_kit.api.events import Event, record
from django_webpush_kit.contrib.opentelemetry import Traces
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.observers import ChunkReport
from django_webpush_kit.transports import PushResponse, locmem

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "django_webpush_kit.contrib.opentelemetry.Traces"


@pytest.fixture(scope="module")
def exporter():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exporter, push_settings):
    """The finished spans; observers are connected."""
    push_settings(OBSERVERS=[PATH])
    exporter.clear()
    observers._made.cache_clear()
    observers.connect()
    yield exporter.get_finished_spans
    observers.disconnect()


def named(spans, name):
    return [span for span in spans() if span.name == name]


def test_one_trace_leads_from_send_to_the_click(subscription, spans):
    with trace.get_tracer("project").start_as_current_span("POST /orders") as caller:
        batch = services.send(subscription, "Private title", "Private body", type="order").batch
    locmem.answers.append(PushResponse(id=None, status=201))
    deliver_due()
    row = get_notification_model().objects.get()
    record([Event(row.pk, row.batch, "clicked")])

    ours = [span for span in spans() if span.name.startswith("webpush.")]
    assert [span.name for span in ours] == ["webpush.send", "webpush.request", "webpush.chunk", "webpush.event"]
    assert {span.context.trace_id for span in ours} == {batch.int}
    (send,), (request,), (chunk,), (event,) = (named(spans, span.name) for span in ours)
    assert send.links[0].context.span_id == caller.get_span_context().span_id
    assert send.attributes == {"webpush.batch": str(batch), "webpush.queued": 1}
    assert caller.attributes["webpush.batch"] == str(batch)
    assert request.attributes["webpush.notification"] == str(row.pk)
    assert request.attributes["http.response.status_code"] == 201
    assert request.attributes["server.address"] == subscription.push_service
    assert request.links[0].context.span_id == chunk.context.span_id
    assert chunk.attributes == {"webpush.claimed": 1, "webpush.outcome.sent": 1}
    assert chunk.start_time <= request.start_time <= request.end_time <= chunk.end_time + 1_000_000
    assert event.attributes == {"webpush.notification": str(row.pk), "webpush.event": "clicked"}
    written = " ".join(str(span.to_json()) for span in ours)
    assert subscription.endpoint not in written
    assert "Private" not in written


def test_a_request_without_an_answer_is_an_error(subscription, spans):
    services.send(subscription, "Hello")
    locmem.answers.append(PushResponse(id=None, error="timed out"))
    deliver_due()
    (request,) = named(spans, "webpush.request")
    assert "http.response.status_code" not in request.attributes
    assert (request.status.status_code.name, request.status.description) == ("ERROR", "retried")


def test_a_chunk_of_several_batches_has_links_to_them(subscription, spans):
    batches = {services.send(subscription, f"Number {number}").batch for number in range(3)}
    deliver_due()
    (chunk,) = named(spans, "webpush.chunk")
    assert {link.context.trace_id for link in chunk.links} == {batch.int for batch in batches}
    assert chunk.context.trace_id not in {batch.int for batch in batches}
    assert {span.context.trace_id for span in named(spans, "webpush.request")} == {batch.int for batch in batches}


def test_spans_of_requests_are_bounded(subscription, spans, push_settings):
    push_settings(OBSERVERS=[{"BACKEND": PATH, "OPTIONS": {"max_requests": 2}}])
    for number in range(5):
        services.send(subscription, f"Number {number}")
    deliver_due()
    assert Counter(span.name for span in spans()) == {"webpush.send": 5, "webpush.request": 2, "webpush.chunk": 1}


def test_unsampled_batches_record_nothing(subscription, spans, push_settings):
    push_settings(OBSERVERS=[{"BACKEND": PATH, "OPTIONS": {"ratio": 0}}])
    services.send(subscription, "Hello")
    deliver_due()
    assert spans() == ()


def test_the_sampling_ratio_is_kept_approximately():
    traces = Traces(ratio=0.25)
    chosen = sum(traces._root(uuid.uuid4()).trace_flags.sampled for _ in range(2000))
    assert 350 < chosen < 650


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_ratio_outside_0_to_1_is_refused(ratio):
    with pytest.raises(ValueError, match="ratio must be from 0 to 1"):
        Traces(ratio=ratio)


def test_without_a_parent_and_without_rows_there_are_no_links(subscription, spans):
    services.send(subscription, "Hello")
    (send,) = named(spans, "webpush.send")
    assert send.links == ()
    Traces().on_chunk(ChunkReport(0, Counter(), [], 0.0, 0.0))
    assert named(spans, "webpush.chunk")[-1].links == ()


def test_without_a_provider_nothing_happens(subscription):
    traces = Traces()
    traces._tracer = trace.NoOpTracer()
    batch = services.send(subscription, "Hello").batch
    traces.on_queued(batch, type("Result", (), {"queued": 1})())
    traces.on_chunk(ChunkReport(1, Counter(sent=1), [], 0.0, 0.1, frozenset([batch])))

"""Traces for OpenTelemetry, with the package `opentelemetry-api`.

    WEBPUSH_KIT = {"OBSERVERS": ["django_webpush_kit.contrib.opentelemetry.Traces"]}

The trace id of a message is its batch: the UUID without hyphens. So `send()`, the requests of workers and the events
of browsers are in one trace, although they happen in different processes and on different days. Nothing is stored.

    webpush.send      the batch was committed; links to the span of your request
    webpush.chunk     a worker claimed rows together and sent them; linked to its batches if there are several
    webpush.request   one request to a push service; links to its chunk
    webpush.event     a browser showed it, or somebody clicked it
"""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from django_webpush_kit.observers import ChunkReport, Observer, RequestReport

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace import (
        Link,
        NonRecordingSpan,
        SpanContext,
        SpanKind,
        Status,
        StatusCode,
        TraceFlags,
        set_span_in_context,
    )
except ImportError as error:  # pragma: no cover  # run by the environment without extras
    raise ImportError('Install "django-webpush-kit[opentelemetry]" to use OpenTelemetry here.') from error

MAX_REQUESTS = 25
"""Maximum number of requests of a chunk that get a span: all of a small batch, a sample of a broadcast."""

MAX_LINKS = 20


class Traces(Observer):
    """Writes spans with the tracer provider of the process. Without one, nothing is recorded.

    `ratio` is the share of batches that are traced, from 0 to 1. All processes choose the same batches.
    `max_requests` bounds the spans of requests of one chunk.
    """

    def __init__(self, *, ratio: float = 1.0, max_requests: int = MAX_REQUESTS) -> None:
        if not 0 <= ratio <= 1:
            raise ValueError(f"ratio must be from 0 to 1, not {ratio!r}")
        self._ratio = ratio
        self._max_requests = max_requests
        self._tracer = trace.get_tracer("django_webpush_kit")

    def on_queued(self, batch: UUID, result: Any) -> None:
        """Write a span in the trace of the batch, and name the batch in the span of the caller."""
        caller = trace.get_current_span()
        if caller.is_recording():
            caller.set_attribute("webpush.batch", str(batch))
        caller_context = caller.get_span_context()
        now = time.time_ns()
        span = self._tracer.start_span(
            "webpush.send",
            context=self._context(batch),
            kind=SpanKind.PRODUCER,
            attributes={"webpush.batch": str(batch), "webpush.queued": result.queued},
            links=[Link(caller_context)] if caller_context.is_valid else [],
            start_time=now,
        )
        span.end(end_time=now)

    def on_chunk(self, report: ChunkReport) -> None:
        """Write a span for the chunk, and one for each of its first requests."""
        batches = sorted(report.batches)
        is_single = len(batches) == 1
        span = self._tracer.start_span(
            "webpush.chunk",
            context=self._context(batches[0]) if is_single else Context(),
            kind=SpanKind.CONSUMER,
            attributes={
                "webpush.claimed": report.claimed,
                **{f"webpush.outcome.{name}": count for name, count in report.outcomes.items()},
            },
            links=[] if is_single else [Link(self._root(batch)) for batch in batches[:MAX_LINKS]],
            start_time=_nanoseconds(report.started_at),
        )
        for request in report.requests[: self._max_requests]:
            self._write_request(request, span.get_span_context())
        span.end(end_time=_nanoseconds(report.started_at + report.seconds))

    def on_event(self, notification: Any, event: str) -> None:
        """Write a span for what a browser reported."""
        now = time.time_ns()
        attributes = {"webpush.notification": str(notification.pk), "webpush.event": event}
        span = self._tracer.start_span(
            "webpush.event", context=self._context(notification.batch), attributes=attributes, start_time=now
        )
        span.end(end_time=now)

    def _write_request(self, request: RequestReport, chunk: SpanContext) -> None:
        attributes: dict[str, str | int] = {
            "webpush.notification": str(request.notification),
            "webpush.batch": str(request.batch),
            "webpush.type": request.type,
            "webpush.outcome": request.outcome,
            "server.address": request.push_service,
            "http.request.method": "POST",
        }
        if request.status is not None:
            attributes["http.response.status_code"] = request.status
        span = self._tracer.start_span(
            "webpush.request",
            context=self._context(request.batch),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            links=[Link(chunk)] if chunk.is_valid else [],
            start_time=_nanoseconds(request.started_at),
        )
        if request.outcome != "sent":
            span.set_status(Status(StatusCode.ERROR, request.outcome))
        span.end(end_time=_nanoseconds(request.started_at + request.seconds))

    def _context(self, batch: UUID) -> Context:
        return set_span_in_context(NonRecordingSpan(self._root(batch)), Context())

    def _root(self, batch: UUID) -> SpanContext:
        """Return the parent of all spans of a batch. Its ids come from the batch; the span itself is never recorded."""
        is_sampled = batch.int % 10_000 < self._ratio * 10_000
        flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
        return SpanContext(batch.int, (batch.int & 0xFFFFFFFFFFFFFFFF) or 1, is_remote=True, trace_flags=flags)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)

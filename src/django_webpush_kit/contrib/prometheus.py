"""Metrics for Prometheus, with the package `prometheus-client`.

    # urls.py
    path("metrics/push", metrics),                         # from django_webpush_kit.contrib.prometheus import metrics

    # settings.py
    WEBPUSH_KIT = {"OBSERVERS": ["django_webpush_kit.contrib.prometheus.Metrics"]}

The view returns the state of the outbox, read from the database, and the counters of the processes. With
`PROMETHEUS_MULTIPROC_DIR` the counters are those of all processes that share the directory, workers included.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from hmac import compare_digest
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from django_webpush_kit import overview
from django_webpush_kit.health import DEGRADED, HEALTHY, UNHEALTHY, get_health
from django_webpush_kit.observers import ChunkReport, Observer

try:
    from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.multiprocess import MultiProcessCollector
except ImportError as error:  # pragma: no cover  # run by the environment without extras
    raise ImportError('Install "django-webpush-kit[prometheus]" to use Prometheus here.') from error

TOKEN_VARIABLE = "WEBPUSH_KIT_METRICS_TOKEN"  # noqa: S105  # a name
"""Environment variable with the bearer token that the view accepts; without it, only staff may see the metrics."""

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Upper bounds of the durations of requests, in seconds."""


class Metrics(Observer):
    """Counts what this process sends: `webpush_notifications_total` and `webpush_request_duration_seconds`."""

    def on_chunk(self, report: ChunkReport) -> None:
        """Count a chunk."""
        counter, histogram = _instruments()
        answered: dict[str, int] = {}
        for request in report.requests:
            counter.labels(request.outcome, request.push_service).inc()
            histogram.labels(request.push_service).observe(request.seconds)
            answered[request.outcome] = answered.get(request.outcome, 0) + 1
        for outcome, count in report.outcomes.items():
            rest = count - answered.get(outcome, 0)
            if rest:
                counter.labels(outcome, "").inc(rest)


class OutboxCollector:
    """Queries the database when it is collected. Register it with a registry of prometheus_client, or use `metrics`."""

    def collect(self) -> Iterator[Any]:
        """Yield the metrics. All queries are bounded; health is cached."""
        health = get_health(details=True)
        status = _gauge("webpush_health", "1 for the current status of delivery", "status")
        for name in (HEALTHY, DEGRADED, UNHEALTHY):
            status.add_metric([name], float(health["status"] == name))
        yield status
        problems = _gauge("webpush_problems", "Problems that health reports", "area", "level")
        for finding in _counted((one["area"], one["level"]) for one in health["findings"]):
            problems.add_metric(*finding)
        yield problems
        if health["active_subscriptions"] is not None:  # 0 would be an alarm
            active = _gauge("webpush_active_subscriptions", "Active subscriptions")
            active.add_metric([], health["active_subscriptions"])
            yield active
        if health["success_rate"] is not None:
            ratio = _gauge("webpush_accepted_ratio", "Part of the messages of 24 hours that was accepted, 0 to 1")
            ratio.add_metric([], health["success_rate"] / 100)
            yield ratio
        if health["oldest_due_seconds"] is None:
            return  # the database does not answer
        for part in (_outbox, _services, _broadcasts, _workers):
            with suppress(DatabaseError):  # it may be down while health is cached
                yield from part()

    def describe(self) -> list[Any]:
        """Return nothing, so that registering the collector runs no query."""
        return []


@login_not_required
@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Return all metrics, for staff or for the bearer token in `WEBPUSH_KIT_METRICS_TOKEN`."""
    if not _is_allowed(request):
        return HttpResponse("Only staff, or the bearer of the token, may see this.\n", "text/plain", 403)
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)
        text = generate_latest(registry)
    else:
        text = generate_latest(REGISTRY)
    own = CollectorRegistry()
    own.register(OutboxCollector())
    return HttpResponse(text + generate_latest(own), content_type=CONTENT_TYPE_LATEST)


def _is_allowed(request: HttpRequest) -> bool:
    token = os.environ.get(TOKEN_VARIABLE, "")
    given = request.headers.get("Authorization", "")
    if token and compare_digest(given.encode(), f"Bearer {token}".encode()):
        return True
    user: Any = getattr(request, "user", None)
    return bool(user is not None and user.is_active and user.is_staff)


@lru_cache(maxsize=1)
def _instruments() -> tuple[Any, Any]:
    """The counter and the histogram of this process, in prometheus_client's registry."""
    counter = Counter(
        "webpush_notifications_total", "Notifications handled by this process", ["outcome", "push_service"]
    )
    histogram = Histogram(
        "webpush_request_duration_seconds", "Duration of requests to push services", ["push_service"], buckets=BUCKETS
    )
    return counter, histogram


def _outbox() -> Iterator[Any]:
    due = _gauge("webpush_due", f"Due notifications by lane, {overview.COUNT_LIMIT:,} at most", "lane")
    oldest = _gauge("webpush_oldest_due_seconds", "How long the oldest due notification has waited", "lane")
    backlog = overview.backlog()
    for state in backlog.lanes:
        due.add_metric([state.lane.name.lower()], state.due)
        oldest.add_metric([state.lane.name.lower()], state.oldest_seconds)
    yield from (due, oldest)
    unfinished = _gauge("webpush_unfinished", f"Unfinished notifications, {overview.COUNT_LIMIT:,} at most", "status")
    for status, count in backlog.unfinished.items():
        unfinished.add_metric([status], count)
    yield unfinished


def _services() -> Iterator[Any]:
    breaker = _gauge("webpush_breaker_open", "Push services that are paused", "push_service", "kind")
    rate = _gauge("webpush_rate_limit_per_minute", "The rate that a push service is sent to", "push_service")
    kinds = []
    for state in overview.service_states():
        if state.state != "limited":
            kinds.append((state.name or "all", state.state))
        if state.limit is not None:
            rate.add_metric([state.name], state.limit.per_minute)
    for labels, _count in _counted(kinds):
        breaker.add_metric(labels, 1)
    yield from (breaker, rate)


def _broadcasts() -> Iterator[Any]:
    processed = _gauge("webpush_broadcast_processed", "Processed recipients", "broadcast", "type", "status")
    total = _gauge("webpush_broadcast_recipients", "Recipients of a broadcast", "broadcast", "type", "status")
    for broadcast in overview.open_broadcasts():
        labels = [str(broadcast.pk), broadcast.type, broadcast.status]
        processed.add_metric(labels, broadcast.processed)
        total.add_metric(labels, broadcast.total)
    yield from (processed, total)


def _workers() -> Iterator[Any]:
    states = _gauge("webpush_workers", "Worker processes of the last day", "state")
    seen = _gauge("webpush_worker_last_seen_seconds", "Since a worker was last seen")
    found = dict.fromkeys(("running", "idle", "silent", "ended"), 0)
    for worker in overview.workers():
        found[worker.state] += 1
    for state, count in found.items():
        states.add_metric([state], count)
    # not only of the last day: an alert must go on for as long as no worker runs
    if (seconds := overview.last_worker_seconds()) is not None:
        seen.add_metric([], seconds)
    yield from (states, seen)
    scraped = _gauge("webpush_scraped_at_seconds", "When these figures were read, in seconds since 1970")
    scraped.add_metric([], timezone.now().timestamp())
    yield scraped


def _gauge(name: str, text: str, *labels: str) -> Any:
    return GaugeMetricFamily(name, text, labels=labels)


def _counted(keys: Any) -> list[tuple[list[str], int]]:
    counts: dict[tuple[str, ...], int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return [(list(key), count) for key, count in counts.items()]

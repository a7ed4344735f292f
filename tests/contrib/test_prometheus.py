"""Metrics for Prometheus, with the real client."""

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError
from django.test import RequestFactory
from django.urls import path
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import PushBroadcast, PushServiceState, WorkerHeartbeat, get_notification_model
from django_webpush_kit.transports import PushResponse, locmem
from tests.admin.test_dashboard import busy, make_worker  # noqa: F401  # a fixture
from tests.factories import make_notification, new_notification

prometheus_client = pytest.importorskip("prometheus_client")

from prometheus_client.parser import text_string_to_metric_families  # noqa: E402  # the package is optional

from django_webpush_kit.contrib import prometheus  # noqa: E402  # the package is optional

pytestmark = pytest.mark.django_db

DOCS = Path(__file__).resolve().parents[2] / "docs/monitoring"


@pytest.fixture
def scrape(monkeypatch):
    """The metrics as a dict: (name, sorted labels) -> value."""
    monkeypatch.setenv(prometheus.TOKEN_VARIABLE, "secret")

    def ask():
        request = RequestFactory().get("/metrics", headers={"authorization": "Bearer secret"})
        response = prometheus.metrics(request)
        assert response.status_code == 200
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(response.content.decode())
            for sample in family.samples
        }

    return ask


urlpatterns = [path("metrics/push", prometheus.metrics)]


@pytest.mark.urls(__name__)
def test_the_token_works_on_a_site_that_requires_login_everywhere(client, settings, monkeypatch):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    monkeypatch.setenv(prometheus.TOKEN_VARIABLE, "secret")
    assert client.get("/metrics/push", headers={"authorization": "Bearer secret"}).status_code == 200
    assert client.get("/metrics/push", headers={"authorization": "Bearer guess"}).status_code == 403
    assert client.get("/metrics/push").status_code == 403


def test_the_state_of_the_outbox(busy, scrape):  # noqa: F811  # the fixture
    found = scrape()
    assert found["webpush_due", ("lane", "normal")] == 1
    assert found["webpush_oldest_due_seconds", ("lane", "normal")] == pytest.approx(90, abs=60)
    assert found["webpush_unfinished", ("status", "pending")] == 1
    assert found["webpush_breaker_open", ("kind", "open"), ("push_service", "updates.push.services.mozilla.com")] == 1
    assert found["webpush_breaker_open", ("kind", "refused"), ("push_service", "fcm.googleapis.com")] == 1
    assert found["webpush_breaker_open", ("kind", "paused"), ("push_service", "all")] == 1
    assert found["webpush_rate_limit_per_minute", ("push_service", "fcm.googleapis.com")] == pytest.approx(950, abs=1)
    broadcast = PushBroadcast.objects.get()
    labels = (("broadcast", str(broadcast.pk)), ("status", "running"), ("type", "autumn"))
    assert found[("webpush_broadcast_processed", *labels)] == 321
    assert found[("webpush_broadcast_recipients", *labels)] == 1000
    assert found["webpush_workers", ("state", "running")] == 1
    assert found["webpush_workers", ("state", "silent")] == 1
    assert found["webpush_worker_last_seen_seconds",] < 60
    assert found["webpush_health", ("status", "healthy")] == 0
    assert found["webpush_active_subscriptions",] == 1
    assert found["webpush_accepted_ratio",] == 0


def test_without_traffic_unknown_values_have_no_samples(scrape):
    found = scrape()
    assert ("webpush_accepted_ratio",) not in found
    assert ("webpush_worker_last_seen_seconds",) not in found
    assert found["webpush_health", ("status", "healthy")] == 1


def test_an_unreachable_database_is_reported_as_a_metric(scrape, monkeypatch):
    def raise_it(*arguments):
        raise OperationalError

    monkeypatch.setattr("django_webpush_kit.health._recent", raise_it)
    found = scrape()
    assert found["webpush_health", ("status", "unhealthy")] == 1
    assert found["webpush_problems", ("area", "database"), ("level", "unhealthy")] == 1
    assert ("webpush_active_subscriptions",) not in found  # 0 would say that all subscribers are lost


@pytest.mark.django_db(transaction=True)
def test_messages_sent_by_this_process_are_counted(subscription, push_settings, scrape):
    push_settings(OBSERVERS=["django_webpush_kit.contrib.prometheus.Metrics"])
    service = ("push_service", "updates.push.services.mozilla.com")
    before = scrape()
    locmem.answers.extend([PushResponse(id=None, status=201), PushResponse(id=None, status=413)])
    for number in range(2):
        services.send(subscription, f"Number {number}")
    deliver_due()
    services.send(subscription, "Never sent")
    services.unsubscribe(subscription)
    deliver_due()
    after = scrape()

    def growth(*key):
        return after.get(key, 0) - before.get(key, 0)

    assert growth("webpush_notifications_total", ("outcome", "sent"), service) == 1
    assert growth("webpush_notifications_total", ("outcome", "failed"), service) == 1
    assert growth("webpush_notifications_total", ("outcome", "suppressed"), ("push_service", "")) == 1
    assert growth("webpush_request_duration_seconds_count", service) == 2


def test_a_scrape_runs_a_small_constant_number_of_queries(subscription, scrape, django_assert_max_num_queries):
    get_notification_model().objects.bulk_create(
        [make_unsaved(subscription, status) for status in ("pending", "failed") for _ in range(200)]
    )
    for number in range(60):
        make_worker()
        PushServiceState.objects.create(push_service=f"push{number}.example.com", reason="outage", paused_until=now())
    with django_assert_max_num_queries(20):
        scrape()


def make_unsaved(subscription, status):
    return new_notification(subscription, status)


def now():
    return timezone.now()


class TestAccess:
    def ask(self, user=None, **headers):
        request = RequestFactory().get("/metrics", headers=headers)
        if user is not None:
            request.user = user
        return prometheus.metrics(request).status_code

    def test_anonymous_requests_are_refused(self, user, monkeypatch):
        assert [self.ask(), self.ask(AnonymousUser()), self.ask(user)] == [403, 403, 403]
        assert self.ask(authorization="Bearer ") == 403
        monkeypatch.setenv(prometheus.TOKEN_VARIABLE, "secret")
        assert self.ask(authorization="Bearer secrèt") == 403
        assert self.ask(authorization="Bearer secret") == 200

    def test_staff_are_allowed(self, make_user):
        assert self.ask(make_user(is_staff=True)) == 200
        assert self.ask(make_user(is_staff=True, is_active=False)) == 403

    def test_a_scrape_writes_nothing(self):
        assert prometheus.metrics(RequestFactory().post("/metrics")).status_code == 405


@pytest.mark.thorough
def test_multiprocess_mode_adds_up_all_processes(tmp_path):
    """Two processes count, a third one answers for both."""
    count = (
        "import django; django.setup()\n"
        "from collections import Counter\n"
        "from django_webpush_kit.contrib.prometheus import Metrics\n"
        "from django_webpush_kit.observers import ChunkReport\n"
        "Metrics().on_chunk(ChunkReport(5, Counter(sent=5), [], 0.0, 0.1))\n"
    )
    ask = (
        "import django; django.setup()\n"
        "from unittest.mock import patch\n"
        "from django.test import RequestFactory\n"
        "from django_webpush_kit.contrib import prometheus\n"
        "prometheus.OutboxCollector.collect = lambda self: iter(())\n"
        "request = RequestFactory().get('/', headers={'authorization': 'Bearer secret'})\n"
        "print(prometheus.metrics(request).content.decode())\n"
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        prometheus.TOKEN_VARIABLE: "secret",
    }
    for code in (count, count, ask):
        result = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
    assert 'webpush_notifications_total{outcome="sent",push_service=""} 10.0' in result.stdout


def documented_metrics(text):
    return set(re.findall(r"\bwebpush_[a-z_]+", text))


def test_the_alert_about_workers_goes_on_for_as_long_as_none_runs(scrape):
    assert ("webpush_worker_last_seen_seconds",) not in scrape()
    for days in (5, 3):
        moment = timezone.now() - timedelta(days=days)
        WorkerHeartbeat.objects.create(name=f"w{days}", command="deliver_push", started_at=moment, seen_at=moment)
    found = scrape()
    assert found["webpush_worker_last_seen_seconds",] == pytest.approx(3 * 86_400, rel=0.01)
    assert found["webpush_workers", ("state", "silent")] == 0


@pytest.mark.parametrize("name", ["grafana.json", "alerts.yml"])
@pytest.mark.django_db(transaction=True)
def test_every_metric_of_the_dashboard_and_the_alerts_exists(name, busy, subscription, push_settings, scrape):  # noqa: F811  # the fixture
    push_settings(OBSERVERS=["django_webpush_kit.contrib.prometheus.Metrics"])
    PushServiceState.objects.all().delete()
    PushBroadcast.objects.all().delete()
    services.send(subscription, "Hello")
    deliver_due()
    make_notification(subscription)
    PushBroadcast.objects.create(type="news", status="paused")
    named = documented_metrics((DOCS / name).read_text())
    assert named
    assert named <= {key[0] for key in scrape()} | {"webpush_breaker_open", "webpush_rate_limit_per_minute"}


def test_the_dashboard_is_json_with_queries():
    board = json.loads((DOCS / "grafana.json").read_text())
    assert all(target["expr"] for panel in board["panels"] for target in panel["targets"])
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_a_database_outage_with_cached_health_keeps_the_other_metrics(scrape, monkeypatch):
    def away(*arguments):
        raise OperationalError("server closed the connection")

    monkeypatch.setattr("django_webpush_kit.overview.backlog", away)
    monkeypatch.setattr("django_webpush_kit.overview.service_states", away)
    found = scrape()
    assert found["webpush_health", ("status", "healthy")] == 1
    assert found["webpush_workers", ("state", "running")] == 0
    assert ("webpush_due", ("lane", "normal")) not in found

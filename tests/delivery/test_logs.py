"""The log during good and bad times: stable event names, the documented configuration, and no secrets."""

import ast
import io
import logging
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

import django_webpush_kit
from django_webpush_kit import health as health_module
from django_webpush_kit import services
from django_webpush_kit.delivery.chunk_watch import ChunkWatch
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.manual_pause import pause, resume
from django_webpush_kit.delivery.pacing import forget_rates
from django_webpush_kit.error_reports import log_event
from django_webpush_kit.health import get_health
from django_webpush_kit.models import PushServiceState, get_notification_model, get_subscription_model
from django_webpush_kit.transports import PushResponse, locmem

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(django_webpush_kit.__file__).parent
PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/loggers.md").read_text(encoding="utf-8")
SERVICE = "updates.push.services.mozilla.com"


@pytest.fixture(autouse=True)
def _no_earlier_status():
    health_module._last.clear()


@pytest.fixture
def browsers(user, make_subscription):
    made = [make_subscription(user) for _ in range(5)]
    get_subscription_model().objects.update(created_at=timezone.now() - timedelta(days=1))
    return made


@pytest.fixture
def events(caplog):
    """The events so far: [(level, event)]."""
    caplog.set_level(logging.DEBUG, logger="django_webpush_kit")
    return lambda: [(record.levelname, record.event) for record in caplog.records if getattr(record, "event", "") != ""]


def answer(*statuses):
    locmem.answers.extend(PushResponse(id=None, status=status) for status in statuses)


def deliver(user, *statuses):
    answer(*statuses)
    services.send(user, "Private title", "Private body")
    deliver_due()
    locmem.answers.clear()


def end_pause():
    past = timezone.now() - timedelta(seconds=1)
    PushServiceState.objects.update(paused_until=past)
    get_notification_model().objects.filter(status="pending").update(next_attempt_at=past)


def test_events_of_good_and_bad_times(user, browsers, events, caplog, push_settings):
    """201, 410, 503 for one, 503 for all, a probe that fails, the service recovers, 401 for everybody."""
    push_settings(RETRY_BASE_SECONDS=10**6, RETRY_CAP_SECONDS=10**6)
    deliver(user, 201, 201, 410, 413, 503)
    assert events() == [("DEBUG", "webpush.chunk")]
    line = caplog.records[-1]
    assert (line.claimed, line.accepted, line.retried, line.failed, line.other) == (5, 2, 1, 2, 0)
    assert re.fullmatch(r"Chunk done: 5 claimed, 2 accepted, 1 retried, 2 failed, 0 other in \d+ ms", line.message)

    caplog.clear()
    deliver(user, 503, 503, 503, 503)
    assert ("WARNING", "webpush.breaker_opened") in events()
    end_pause()
    caplog.clear()
    answer(503)
    deliver_due()
    assert ("INFO", "webpush.probe_failed") in events()
    end_pause()
    caplog.clear()
    deliver_due()
    assert ("INFO", "webpush.breaker_closed") in events()
    assert get_health()["status"] != "unhealthy"

    caplog.clear()
    deliver(user, 401, 401, 401, 401)
    assert ("ERROR", "webpush.alarm") in events()
    (alarm,) = [record for record in caplog.records if getattr(record, "event", "") == "webpush.alarm"]
    assert (alarm.push_service, alarm.reason) == (SERVICE, "credentials: HTTP 401")
    get_health()
    get_health()
    (unhealthy,) = [record for record in caplog.records if getattr(record, "event", "") == "webpush.unhealthy"]
    assert (unhealthy.levelname, unhealthy.areas) == ("ERROR", ["services"])
    PushServiceState.objects.all().delete()
    get_health()
    assert events()[-1] == ("INFO", "webpush.recovered")


def test_no_secrets_are_logged(user, browsers, events, caplog):
    secrets = {user.username, user.email, "Private title", "Private body"}
    for browser in browsers:
        secrets |= {browser.endpoint, browser.p256dh_key, browser.auth_key, browser.endpoint.rpartition("/")[2]}
    deliver(user, 201, 410, 503, 503, 503)
    end_pause()
    deliver(user, 401, 401, 401)
    get_health(details=True)
    written = "\n".join(f"{record.getMessage()} {sorted(vars(record).items(), key=str)}" for record in caplog.records)
    assert len(events()) > 4
    assert not [secret for secret in secrets if secret and secret in written]


def test_manual_pauses_are_logged(events):
    assert pause(SERVICE)
    assert not pause(SERVICE)
    resume([SERVICE])
    resume([SERVICE])
    assert pause()
    assert events() == [("WARNING", "webpush.paused"), ("INFO", "webpush.resumed"), ("WARNING", "webpush.paused")]


def test_learning_and_resetting_a_rate_are_logged(user, browsers, events, push_settings, monkeypatch):
    push_settings(RETRY_BASE_SECONDS=10**6, RETRY_CAP_SECONDS=10**6)
    monkeypatch.setattr("django_webpush_kit.delivery.pacing._accepted_in_last_minute", lambda *arguments: 1000)
    deliver(user, 429, 429, 429, 201, 201)
    assert ("WARNING", "webpush.rate_learned") in events()
    assert PushServiceState.objects.get(vapid_key_id="").rate == 950
    assert forget_rates([SERVICE]) == 1
    assert forget_rates([SERVICE]) == 0
    assert PushServiceState.objects.get(vapid_key_id="").rate is None


def test_without_debug_level_chunks_are_not_observed(user, browsers, caplog):
    caplog.set_level(logging.INFO, logger="django_webpush_kit")
    deliver(user, 201)
    assert caplog.records == []


def test_a_handler_that_raises_stops_nothing(capsys):
    class Broken(logging.Handler):
        def handle(self, record):
            raise RuntimeError("the log server is away")

    logger = logging.getLogger("tests.broken")
    handler = Broken()
    logger.addHandler(handler)
    try:
        log_event(logger, logging.WARNING, "webpush.paused", "Hello")
    finally:
        logger.removeHandler(handler)
    assert "the log server is away" in capsys.readouterr().err


def test_a_chunk_with_an_unanswered_row_is_logged(caplog):
    caplog.set_level(logging.DEBUG, logger="django_webpush_kit")
    watch = ChunkWatch()
    rows = [type("Row", (), {"pk": number})() for number in range(3)]
    watch.take(rows)
    watch.answered(rows[2], 201)
    watch.recorded(2, "sent")
    watch.recorded(99, "sent")
    watch.close([0])
    assert caplog.records[-1].message.startswith("Chunk done: 3 claimed, 1 accepted, 0 retried, 0 failed, 2 other")


def test_every_event_is_documented():
    documented = set(re.findall(r"`(webpush\.\w+)`", PAGE))
    used = {
        node.value
        for path in ROOT.rglob("*.py")
        if "contrib" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"webpush\.\w+", node.value)
    }
    assert documented == used - {"webpush.example"}


def test_every_logger_is_documented_and_no_other():
    modules = [path for path in ROOT.rglob("*.py") if "logging.getLogger(__name__)" in path.read_text()]
    names = [".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in modules]
    documented = re.findall(r"^\| `(django_webpush_kit[\w.]*)`", PAGE, re.MULTILINE)
    assert sorted(documented) == sorted(name.removesuffix(".__init__") for name in names)


def test_logged_counts_add_up_to_the_report(user, browsers, events, caplog, push_settings):
    """Many chunks: their lines add up."""
    push_settings(CHUNK_SIZE=2)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(event)s %(claimed)d %(accepted)d"))
    logger = logging.getLogger("django_webpush_kit.delivery.chunk_watch")
    logger.addHandler(handler)
    try:
        deliver(user)
    finally:
        logger.removeHandler(handler)
    lines = Counter(stream.getvalue().splitlines())
    assert lines == {"webpush.chunk 2 2": 2, "webpush.chunk 1 1": 1}

"""`manage.py push_doctor`."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from io import StringIO
from pathlib import Path
from weakref import WeakSet

import pytest
from django.apps import apps
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.management import CommandError, call_command
from django.db import connection
from django.http import HttpResponse, JsonResponse
from django.urls import path

from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.management.commands.push_doctor import package_version
from django_webpush_kit.management.findings import failure
from django_webpush_kit.models import (
    PushServiceState,
    WorkerHeartbeat,
    get_notification_model,
    get_subscription_model,
    get_template_model,
)
from django_webpush_kit.protocol.vapid import generate_vapid_keys
from django_webpush_kit.subscriptions.deactivation import deactivate_subscriptions
from tests.factories import make_notification, make_template

pytestmark = pytest.mark.django_db

REFUSED = "Browsers refuse the scope / of the service worker: {}"

DJANGO_Q = "django_webpush_kit.task_backends.DjangoQBackend"


@pytest.fixture(autouse=True)
def _production(settings, push_settings, tmp_path, subscription):
    """Settings without findings of their own."""
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(tmp_path)}
    }
    push_settings(VAPID_SUBJECT="mailto:ops@shop.eu", TRANSPORT="django_webpush_kit.transports.PyWebPushTransport")


def run(*arguments):
    """What is printed, and the error at the end, "" without one."""
    out = StringIO()
    try:
        call_command("push_doctor", *arguments, stdout=out, no_color=True)
    except CommandError as error:
        return out.getvalue(), str(error)
    return out.getvalue(), ""


def findings():
    report = json.loads(run("--json")[0])
    return [(finding["level"], finding["area"], finding["text"]) for finding in report["findings"]]


def test_a_correct_installation_has_no_findings():
    printed, error = run()
    assert error == ""
    last = "1 active subscription. No message was accepted by a push service yet."
    assert printed.endswith(f"\nNo problems found. {last}\n")
    assert f"vapid key id: {vapid_keyring().current.key_id}" in printed


def test_json_has_the_findings_the_figures_and_the_environment(subscription):
    report = json.loads(run("--json")[0])
    assert (report["ok"], report["findings"]) == (True, [])
    assert (report["active_subscriptions"], report["last_accepted_at"]) == (1, None)
    row = make_notification(subscription)
    assert json.loads(run("--json")[0])["last_accepted_at"] == row.sent_at.isoformat()
    assert report["environment"]["transport"] == "django_webpush_kit.transports.PyWebPushTransport"
    assert report["environment"]["database"] == connection.vendor


def test_errors_make_it_fail_and_have_a_hint(push_settings):
    push_settings(VAPID_SUBJECT="nobody", STORE_CLIENT_INFO=True)
    printed, error = run()
    assert error == "1 error found."
    assert 'ERROR settings: WEBPUSH_KIT["VAPID_SUBJECT"]' in printed
    assert "mailto:you@your-site.org" in printed
    assert "WARNING settings" in printed


def test_warnings_do_not_make_it_fail(push_settings):
    push_settings(STORE_CLIENT_INFO=True)
    printed, error = run()
    assert error == ""
    assert printed.splitlines()[-1].startswith("No errors. 1 active subscription.")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (5, "less than a minute ago"),
        (60, "1 minute ago"),
        (150, "2 minutes ago"),
        (7200, "2 hours ago"),
        (86_500, "1 day ago"),
        (864_000, "10 days ago"),
    ],
)
def test_the_last_line_tells_when_a_message_was_accepted(subscription, make_subscription, seconds, words):
    make_subscription()
    make_notification(subscription, days_ago=seconds / 86_400)
    make_notification(subscription, days_ago=20)
    make_notification(subscription, "failed")
    assert f"2 active subscriptions. Last message accepted {words}." in run()[0].splitlines()[-1]


def test_the_last_line_comes_with_errors_too(push_settings):
    push_settings(VAPID_SUBJECT="nobody")
    printed, error = run()
    assert error == "1 error found."
    assert printed.splitlines()[-1].startswith("1 active subscription.")


def test_without_a_subscription_it_says_how_to_get_one(subscription):
    deactivate_subscriptions(type(subscription).objects.all(), "test")
    assert findings() == [("hint", "subscriptions", "No browser is subscribed any more.")]
    type(subscription).objects.all().delete()
    printed, error = run()
    assert error == ""
    assert "HINT subscriptions: No browser has subscribed yet.\n    Open a page with the switch" in printed
    assert printed.splitlines()[-1].startswith("No errors. 0 active subscriptions.")


def test_silenced_checks_stay_silent(push_settings, settings):
    settings.SILENCED_SYSTEM_CHECKS = ["webpush_kit.W034"]
    push_settings(STORE_CLIENT_INFO=True)
    assert findings() == []


def test_settings_that_are_not_a_dict_stop_it(settings):
    settings.WEBPUSH_KIT = 7
    assert [area for _level, area, _text in findings()] == ["settings"]


def test_unusable_settings_do_not_stop_it(push_settings):
    push_settings(VAPID_PRIVATE_KEY="nonsense", TASK_BACKEND={"X": 1}, TRANSPORT={"X": 1})
    assert {area for _level, area, _text in findings()} == {"settings"}
    environment = json.loads(run("--json")[0])["environment"]
    assert (environment["transport"], environment["task_backend"]) == ("unusable", "unusable")
    assert environment["vapid_key_id"] == "none"


def test_urls_that_are_not_included_are_an_error(settings):
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    text = "django_webpush_kit.urls is not included in the URLconf, so browsers cannot subscribe."
    assert findings() == [("error", "urls", text)]


@pytest.mark.django_db(transaction=True)
def test_missing_migrations_are_an_error_and_skip_the_table_checks():
    call_command("migrate", "webpush_kit", "zero", verbosity=0)
    try:
        (finding,) = findings()
    finally:
        call_command("migrate", "webpush_kit", verbosity=0)
    assert finding == (
        "error",
        "database",
        "Migrations are missing: webpush_kit.0001_initial, webpush_kit.0002_relations.",
    )


@pytest.mark.thorough
def test_an_unreachable_database_is_an_error():
    """In a process of its own, with a database file where none can be."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TEST_DATABASE": "sqlite",
        "TEST_DATABASE_NAME": "/nowhere/at/all.sqlite3",
    }
    command = [sys.executable, "-m", "django", "push_doctor", "--json"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    (finding,) = [finding for finding in json.loads(result.stdout)["findings"] if finding["area"] != "settings"]
    assert (finding["level"], finding["area"]) == ("error", "database")
    assert finding["text"].startswith("The database does not answer")


def test_subscriptions_of_a_lost_key_are_counted_until_it_is_back(push_settings, subscription, settings):
    old = settings.WEBPUSH_KIT["VAPID_PRIVATE_KEY"]
    push_settings(VAPID_PRIVATE_KEY=generate_vapid_keys()["private_key"])
    ((level, area, text),) = findings()
    assert (level, area) == ("error", "keys")
    assert text.startswith("1 active subscription was")
    push_settings(VAPID_FALLBACK_PRIVATE_KEYS=[old])
    assert findings() == []


def test_a_missing_key_is_an_error(push_settings, subscription):
    subscription.delete()
    push_settings(VAPID_PRIVATE_KEY="")
    assert [(level, area) for level, area, _text in findings() if level == "error"] == [("error", "settings")]


def test_missing_schedules_are_an_error(push_settings):
    pytest.importorskip("django_q")
    push_settings(TASK_BACKEND=DJANGO_Q)
    levels = {area: level for level, area, _text in findings()}
    assert levels["schedules"] == "error"
    call_command("push_schedule", stdout=StringIO())
    assert "schedules" not in {area for _level, area, _text in findings()}


def areas():
    return {area: (level, text) for level, area, text in findings()}


def test_a_urlconf_that_cannot_be_imported_is_an_error(settings):
    settings.ROOT_URLCONF = "nowhere.urls"
    level, text = areas()["urls"]
    assert level == "error"
    assert "No module named 'nowhere'" in text


def test_the_url_finding_can_be_silenced_for_workers_without_urls(settings):
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    settings.SILENCED_SYSTEM_CHECKS = ["webpush_kit.W009"]
    assert findings() == []


@pytest.mark.thorough
def test_an_unreachable_cache_is_an_error(settings):
    pytest.importorskip("redis")
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
    }
    level, text = areas()["cache"]
    assert level == "error"
    assert "ConnectionError" in text


def test_a_cache_that_stores_nothing_is_an_error(settings):
    settings.CACHES = {"default": {"BACKEND": "tests.commands.test_push_doctor.ForgetfulCache"}}
    assert "does not return what was stored" in areas()["cache"][1]


def test_a_cache_that_cannot_be_created_is_an_error_and_hides_no_other_finding(settings, push_settings):
    settings.CACHES = {"default": {"BACKEND": "tests.commands.test_push_doctor.BrokenCache", "LOCATION": ""}}
    push_settings(STORE_CLIENT_INFO=True)
    assert areas()["cache"] == (
        "error",
        "The default cache does not work: LookupError: no client. Rate limits and wake-ups depend on it.",
    )
    assert "STORE_CLIENT_INFO" in areas()["settings"][1]


class BrokenCache(BaseCache):
    """Its library is not installed."""

    def __init__(self, _location, _params):
        raise LookupError("no client")


class ForgetfulCache(BaseCache):
    """Takes everything, keeps nothing, and is not one of Django's that say so."""

    def __init__(self, _location, params):
        super().__init__(params)

    def get(self, key, default=None, version=None):
        return default

    def set(self, key, value, timeout=None, version=None):
        pass

    def delete(self, key, version=None):
        return False

    def clear(self):
        pass


def test_the_wait_for_a_silent_service_is_bounded(monkeypatch):
    monkeypatch.setattr("django_webpush_kit.management.findings.ANSWER_SECONDS", 0.05)
    released = threading.Event()
    assert failure(released.wait) == "no answer within 0.05 seconds"
    released.set()
    assert failure(lambda: None) == ""


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "127.0.0.1:1", "https://127.0.0.1:1"])
def test_an_unreachable_proxy_is_an_error(push_settings, proxy):
    transport = "django_webpush_kit.transports.PyWebPushTransport"
    push_settings(TRANSPORT={"BACKEND": transport, "OPTIONS": {"proxy": proxy}})
    level, text = areas()["proxy"]
    assert level == "error"
    assert text.startswith("The proxy 127.0.0.1:1 of TRANSPORT does not accept connections: ConnectionRefusedError")


def test_a_reachable_proxy_is_no_finding(push_settings):
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        transport = "django_webpush_kit.transports.PyWebPushTransport"
        push_settings(TRANSPORT={"BACKEND": transport, "OPTIONS": {"proxy": proxy}})
        assert findings() == []


def test_tenants_without_a_scope_are_a_warning(push_settings, monkeypatch):
    real = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda name: name == "django_tenants" or real(name))
    assert areas()["scope"][0] == "warning"
    push_settings(SCOPE="shop-a")
    assert "scope" not in areas()


def test_a_few_subscriptions_of_a_lost_key_are_a_warning(make_subscription, subscription):
    for _ in range(10):
        make_subscription()
    get_subscription_model().objects.filter(pk=subscription.pk).update(vapid_key_id="lost")
    ((level, area, _text),) = findings()
    assert (level, area) == ("warning", "keys")


@pytest.mark.parametrize(
    ("seconds", "level", "words"),
    [(10, "warning", "ahead of"), (3600, "error", "ahead of"), (-10, "warning", "behind"), (-3600, "error", "behind")],
)
def test_a_clock_that_differs_from_the_database_clock_is_as_serious_as_for_health(seconds, level, words, time_machine):
    time_machine.move_to(datetime.now(timezone.utc) + timedelta(seconds=seconds))
    found, text = areas()["clock"]
    assert found == level
    assert f" s {words} the clock of the database" in text


def test_the_clock_of_an_unknown_database_is_not_queried(monkeypatch):
    monkeypatch.setattr("django_webpush_kit.database.CLOCK_QUERIES", {})
    assert findings() == []


def test_pruning_that_does_not_run_is_a_warning(subscription):
    make_notification(subscription, "sent", days_ago=91)
    assert "retention" not in areas()
    make_notification(subscription, "sent", days_ago=93)
    level, text = areas()["retention"]
    assert level == "warning"
    assert "RETENTION_DAYS (90)" in text


def test_a_worker_that_was_never_started_is_an_error_with_its_command(push_settings, subscription):
    make_notification(subscription, "pending", next_attempt_at=datetime.now(timezone.utc) - timedelta(seconds=40))
    printed, error = run()
    assert error == "1 error found."
    assert re.search(r"ERROR health: 1 notification has been due for 4\d s, and no worker runs\.", printed)
    assert "python manage.py deliver_push --loop" in printed


@pytest.mark.django_db(transaction=True)
def test_a_queue_without_tables_is_an_error(push_settings):
    pytest.importorskip("django_q")
    push_settings(TASK_BACKEND=DJANGO_Q)
    call_command("migrate", "django_q", "zero", verbosity=0)
    try:
        found = areas()["schedules"]
    finally:
        call_command("migrate", "django_q", verbosity=0)
    assert found == ("error", "The tables of django_q do not exist.")


def test_a_queue_that_is_not_installed_is_left_to_the_checks(push_settings, settings):
    pytest.importorskip("django_q")
    push_settings(TASK_BACKEND=DJANGO_Q)
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_q"]
    assert set(areas()) == {"settings"}


def test_an_unreachable_django_q2_broker_is_an_error(push_settings, monkeypatch):
    pytest.importorskip("redis")
    conf = pytest.importorskip("django_q.conf").Conf
    push_settings(TASK_BACKEND=DJANGO_Q)
    call_command("push_schedule", stdout=StringIO())
    monkeypatch.setattr(conf, "ORM", None)
    monkeypatch.setattr(conf, "REDIS", "redis://127.0.0.1:1/0")
    level, text = areas()["broker"]
    assert level == "error"
    assert "does not answer" in text


class TestCelery:
    @pytest.fixture
    def app(self, push_settings, monkeypatch):
        """The only app of the project, its broker and beat schedule to be chosen by the test."""
        celery = pytest.importorskip("celery")
        monkeypatch.setattr("celery._state._apps", WeakSet())
        push_settings(TASK_BACKEND="django_webpush_kit.task_backends.CeleryBackend")
        before = celery.current_app._get_current_object()
        app = celery.Celery("tests-doctor", broker="memory://")
        app.set_current()
        app.conf.beat_schedule = {"sweep": {"task": "send_scheduled_notifications", "schedule": 60.0}}
        yield app
        before.set_current()
        app.close()

    def test_a_reachable_broker_and_a_schedule_are_no_finding(self, app):
        assert findings() == []

    def test_an_unreachable_broker_is_an_error(self, app):
        app.conf.broker_url = "amqp://guest@127.0.0.1:1//"
        level, text = areas()["broker"]
        assert level == "error"
        assert "does not answer" in text

    def test_a_missing_sweep_is_an_error(self, app):
        app.conf.beat_schedule = {}
        assert areas()["schedules"][0] == "error"
        app.conf.beat_scheduler = "django_celery_beat.schedulers:DatabaseScheduler"
        assert findings() == []

    def test_the_default_app_is_left_to_the_checks(self, app):
        app.main, app.set_as_current, app.conf.broker_url = "default", False, None
        assert set(areas()) == {"settings"}


@pytest.mark.django_db(transaction=True)
def test_a_model_setting_that_was_changed_after_migrate_is_an_error():
    """Which is what a renamed table looks like: the settings name one, the database has another."""
    table = get_template_model()._meta.db_table
    with connection.schema_editor(atomic=True) as editor:
        editor.alter_db_table(get_template_model(), table, f"{table}_old")
    try:
        found = [text for _level, area, text in findings() if area == "database"]
    finally:
        with connection.schema_editor(atomic=True) as editor:
            editor.alter_db_table(get_template_model(), f"{table}_old", table)
    assert any(f"The table {table} of WEBPUSH_KIT_TEMPLATE_MODEL" in text for text in found)
    assert any(f"references the table {table}_old, but the settings say {table}" in text for text in found)


def test_an_examination_that_raises_is_a_finding_and_stops_no_other(monkeypatch, push_settings):
    def broken(**options):
        raise LookupError("first line\nsecond line")

    monkeypatch.setattr("django_webpush_kit.management.diagnosis.get_health", broken)
    monkeypatch.setattr("django_webpush_kit.management.diagnosis.lint_templates", lambda templates: 1 / 0)
    found = areas()
    assert found["health"] == ("error", "This part cannot be examined: LookupError: first line")
    assert "ZeroDivisionError" in found["templates"][1]


BROKEN = {
    "swapped model": "WEBPUSH_KIT_TEMPLATE_MODEL = 'nowhere.Template'",
    "router": "DATABASE_ROUTERS = ['broken_settings.Router']\n"
    "class Router:\n    def db_for_write(self, model, **hints):\n        return 'nowhere'",
    "no URLconf": "del ROOT_URLCONF",
    "no cache": "CACHES = {'default': {'BACKEND': 'nowhere.Cache'}}",
    "no dict": "WEBPUSH_KIT = 7",
    "scope": "WEBPUSH_KIT['SCOPE'] = lambda: 1 / 0",
    "wrong types": "WEBPUSH_KIT = dict.fromkeys(['PUSH_SERVICES', 'TRANSPORT', 'RETENTION_DAYS', 'SCOPE'], 7)",
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_installation_has_findings_and_no_traceback(tmp_path, name):
    (tmp_path / "broken_settings.py").write_text(f"from tests.settings import *\n{BROKEN[name]}\n")
    root = str(Path(__file__).resolve().parent.parent.parent)
    command = [sys.executable, "-m", "django", "push_doctor", "--json", "--settings", "broken_settings"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), root])}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr.replace('Traceback (most recent call last):\n  File "<frozen', "")
    assert result.returncode == 1
    assert json.loads(result.stdout)["findings"]


def test_templates_and_health_are_examined(subscription):
    make_template("a", body_template="{% debug %}")
    make_notification(subscription, "pending", days_ago=1)
    found = findings()
    assert {(level, area) for level, area, _text in found} == {("warning", "templates"), ("error", "health")}
    assert "WARNING templates: a: body_template" in run()[0]


def test_a_low_success_rate_is_a_warning(subscription):
    make_notification(subscription, "failed")
    assert [finding[:2] for finding in findings()] == [("warning", "health")]


def test_missing_packages_have_no_version():
    assert package_version("no-such-package-at-all") == "not installed"


def test_it_sends_nothing_and_changes_nothing(subscription, push_outbox):
    make_notification(subscription, "pending")
    run()
    assert len(push_outbox) == 0
    assert get_notification_model().objects.get().status == "pending"
    assert get_subscription_model().objects.get().is_active


@pytest.mark.django_db(transaction=True)
class TestLinks:
    """The doctor fetches the links of payloads from outside."""

    def findings(self, push_settings, **values):
        return [found["text"] for found in self.all_findings(push_settings, **values)]

    def all_findings(self, push_settings, **values):
        push_settings(**values)
        output = StringIO()
        with suppress(SystemExit, CommandError):
            call_command("push_doctor", "--json", stdout=output)
        return [found for found in json.loads(output.getvalue())["findings"] if found["area"] == "urls"]

    @pytest.mark.parametrize(
        ("status", "word"),
        [
            (301, "SECURE_PROXY_SSL_HEADER"),
            (400, "ALLOWED_HOSTS"),
            (401, "without a login"),
            (403, "without a login"),
            (404, "API_PATH"),
            (410, "API_PATH"),
            (502, "Start the web server"),
        ],
    )
    def test_the_fix_depends_on_the_response(self, live_server, settings, push_settings, status, word):
        def config(request):
            headers = {"Location": request.build_absolute_uri()} if status == 301 else {}
            return HttpResponse(status=status, headers=headers)

        settings.ROOT_URLCONF = (path("push/config", config),)
        [found] = self.all_findings(push_settings, BASE_URL=live_server.url, API_PATH="/push/")
        assert found["text"].endswith(f"/push/config answers {status}.")
        assert word in found["fix"]

    def test_working_links_are_no_finding(self, live_server, push_settings):
        assert self.findings(push_settings, BASE_URL=live_server.url) == []

    def test_a_broken_link_is_an_error(self, live_server, push_settings):
        [text] = self.findings(push_settings, BASE_URL=live_server.url, API_PATH="/elsewhere/")
        assert text == f"Links in messages are broken: {live_server.url}/elsewhere/config answers 404."

    def test_a_link_to_another_page_is_an_error(self, live_server, settings, push_settings):
        settings.ROOT_URLCONF = (path("other/config", lambda request: JsonResponse({})),)
        [text] = self.findings(push_settings, BASE_URL=live_server.url, API_PATH="/other/")
        assert text.endswith("is not the push API.")

    @pytest.mark.parametrize(
        ("status", "content_type", "allowed", "wanted"),
        [
            (200, "text/javascript", "/", None),
            (200, "application/javascript; charset=utf-8", "/", None),
            (404, "text/html", "/", "Browsers cannot subscribe: {} answers 404."),
            (200, "text/html", "/", "Browsers cannot subscribe: {} is text/html, not JavaScript."),
            (
                200,
                "text/javascript",
                None,
                f"{REFUSED} allows /push/, because its header Service-Worker-Allowed is missing.",
            ),
            (200, "text/javascript", "/app/", f"{REFUSED} allows /app/."),
        ],
    )
    def test_the_service_worker_is_fetched(
        self, live_server, settings, push_settings, status, content_type, allowed, wanted
    ):
        def worker(request):
            headers = {"Service-Worker-Allowed": allowed} if allowed else {}
            return HttpResponse("// ours", status=status, content_type=content_type, headers=headers)

        settings.ROOT_URLCONF = (
            path("push/config", lambda request: JsonResponse({"public_key": "x"})),
            path("push/service-worker.js", worker),
        )
        found = self.findings(push_settings, BASE_URL=live_server.url, API_PATH="/push/")
        url = f"{live_server.url}/push/service-worker.js"
        assert found == ([wanted.format(url)] if wanted else [])

    def test_a_scope_below_the_worker_needs_no_header(self, live_server, settings, push_settings):
        settings.ROOT_URLCONF = (
            path("push/config", lambda request: JsonResponse({"public_key": "x"})),
            path("push/service-worker.js", lambda request: HttpResponse("", content_type="text/javascript")),
        )
        values = {"BASE_URL": live_server.url, "API_PATH": "/push/", "SERVICE_WORKER_SCOPE": "/push/app/"}
        assert self.findings(push_settings, **values) == []

    def test_an_unreachable_site_is_a_warning(self, push_settings):
        [found] = self.all_findings(push_settings, BASE_URL="http://127.0.0.1:9")
        assert found["text"].startswith("Links in messages could not be checked: http://127.0.0.1:9/")
        assert found["fix"].startswith("Start the web server, or correct BASE_URL.")


def test_a_push_service_with_a_learned_rate_is_a_warning():
    PushServiceState.objects.create(
        push_service="fcm.googleapis.com", rate=950, rate_changed_at=datetime.now(tz=timezone.utc)
    )
    level, area, text = findings()[-1]
    assert (level, area) == ("warning", "rates")
    # the learned rate grows while nothing is refused
    assert re.match(r"fcm.googleapis.com is sent at most 95\d messages a minute, because it limits this site", text)


def test_a_configured_rate_is_no_finding(push_settings):
    push_settings(SEND_RATES={"fcm.googleapis.com": "900/m"})
    assert findings() == []


def test_missing_workers_are_an_error_once_rows_are_due(subscription):
    gone = datetime.now(timezone.utc) - timedelta(minutes=10)
    WorkerHeartbeat.objects.create(name="web1:7", is_loop=True, started_at=gone, seen_at=gone)
    level, text = areas()["health"]
    assert (level, text[:29]) == ("warning", "No worker has been seen for 6")
    caches["default"].clear()
    make_notification(subscription, "pending", next_attempt_at=datetime.now(timezone.utc) - timedelta(minutes=1))
    printed, error = run()
    assert error == "1 error found."
    assert "deliver_push --loop`, or run `deliver_push` every minute from cron. If workers run, they hang" in printed


class TestStaticFiles:
    """Pages load the browser modules from the collected files."""

    @pytest.fixture
    def root(self, settings, tmp_path):
        settings.STATIC_ROOT = str(tmp_path / "static")
        return Path(settings.STATIC_ROOT)

    def findings(self):
        return [found for found in findings() if found[1] == "static files"]

    @pytest.mark.thorough
    def test_files_that_were_not_collected_are_a_warning(self, root, settings):
        [(level, _area, text)] = self.findings()
        assert level == "warning"
        assert text == "STATIC_ROOT has no django_webpush_kit/webpush-kit.js, so pages cannot load it."
        call_command("collectstatic", "--no-input", verbosity=0)
        assert self.findings() == []
        settings.DEBUG = True
        (root / "django_webpush_kit" / "webpush-kit.js").unlink()
        assert self.findings() == []

    @pytest.mark.thorough
    @pytest.mark.parametrize("storage", ["AggregatingStorage", "HashedOnlyStorage"])
    def test_a_manifest_without_them_is_an_error(self, root, settings, storage):
        settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": f"tests.hashed_files.{storage}"}}
        [(level, _area, text)] = self.findings()
        assert level == "error"
        assert text.startswith("Pages with {% webpush_kit_head %} fail: Missing staticfiles manifest entry")
        call_command("collectstatic", "--no-input", verbosity=0)
        assert self.findings() == []

    def test_files_that_are_served_in_another_way_are_not_looked_for(self, settings):
        settings.STORAGES = {
            **settings.STORAGES,
            "staticfiles": {"BACKEND": "django.core.files.storage.InMemoryStorage", "OPTIONS": {"base_url": "/s/"}},
        }
        assert self.findings() == []

"""`manage.py push_doctor`."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.http import JsonResponse
from django.urls import path

from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.management.commands.push_doctor import package_version
from django_webpush_kit.models import get_notification_model, get_subscription_model
from django_webpush_kit.protocol.vapid import generate_vapid_keys
from tests.factories import make_notification, make_template

pytestmark = pytest.mark.django_db

DJANGO_Q = "django_webpush_kit.task_backends.DjangoQBackend"


@pytest.fixture(autouse=True)
def _production(settings, tmp_path):
    """Settings without findings of their own."""
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(tmp_path)}
    }
    settings.WEBPUSH_KIT = {
        **settings.WEBPUSH_KIT,
        "VAPID_SUBJECT": "mailto:ops@shop.eu",
        "TRANSPORT": "django_webpush_kit.transports.PyWebPushTransport",
    }


@pytest.fixture
def configure(settings):
    def apply(**values):
        settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, **values}

    return apply


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


def test_a_good_installation_has_nothing_wrong():
    printed, error = run()
    assert error == ""
    assert printed.endswith("Nothing is wrong.\n")
    assert f"vapid key id: {vapid_keyring().current.key_id}" in printed


def test_json_tells_the_same_and_the_environment():
    report = json.loads(run("--json")[0])
    assert (report["ok"], report["findings"]) == (True, [])
    assert report["environment"]["transport"] == "django_webpush_kit.transports.PyWebPushTransport"
    assert report["environment"]["database"] == connection.vendor


def test_errors_make_it_fail_and_come_with_their_mend(configure):
    configure(VAPID_SUBJECT="nobody", STORE_CLIENT_INFO=True)
    printed, error = run()
    assert error == "1 errors were found."
    assert 'ERROR settings: WEBPUSH_KIT["VAPID_SUBJECT"]' in printed
    assert "mailto:you@your-site.org" in printed
    assert "WARNING settings" in printed


def test_warnings_do_not_make_it_fail(configure):
    configure(STORE_CLIENT_INFO=True)
    printed, error = run()
    assert error == ""
    assert "Nothing is wrong" not in printed


def test_silenced_checks_stay_silent(configure, settings):
    settings.SILENCED_SYSTEM_CHECKS = ["webpush_kit.W034"]
    configure(STORE_CLIENT_INFO=True)
    assert findings() == []


def test_settings_that_are_no_dict_end_the_examination(settings):
    settings.WEBPUSH_KIT = 7
    assert [area for _level, area, _text in findings()] == ["settings"]


def test_unusable_settings_do_not_end_it(configure):
    configure(VAPID_PRIVATE_KEY="nonsense", TASK_BACKEND={"X": 1}, TRANSPORT={"X": 1})
    assert {area for _level, area, _text in findings()} == {"settings"}
    environment = json.loads(run("--json")[0])["environment"]
    assert (environment["transport"], environment["task_backend"]) == ("unusable", "unusable")
    assert environment["vapid_key_id"] == "none"


def test_urls_that_are_not_included_are_an_error(settings):
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    assert findings() == [("error", "urls", "Browsers cannot subscribe: our URLs are not included.")]


@pytest.mark.django_db(transaction=True)
def test_missing_migrations_are_an_error_and_stop_the_look_at_tables():
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


def test_a_database_that_does_not_answer_is_an_error():
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


def test_subscriptions_of_a_lost_key_are_counted_until_it_is_back(configure, subscription, settings):
    old = settings.WEBPUSH_KIT["VAPID_PRIVATE_KEY"]
    configure(VAPID_PRIVATE_KEY=generate_vapid_keys()["private_key"])
    ((level, area, text),) = findings()
    assert (level, area) == ("warning", "keys")
    assert text.startswith("1 active subscriptions")
    configure(VAPID_FALLBACK_PRIVATE_KEYS=[old])
    assert findings() == []


def test_missing_schedules_are_an_error(configure):
    pytest.importorskip("django_q")
    configure(TASK_BACKEND=DJANGO_Q)
    levels = {area: level for level, area, _text in findings()}
    assert levels["schedules"] == "error"
    call_command("push_schedule", stdout=StringIO())
    assert "schedules" not in {area for _level, area, _text in findings()}


def test_templates_and_health_are_looked_at(subscription):
    make_template("a", body_template="{% debug %}")
    make_notification(subscription, "pending", days_ago=1)
    found = findings()
    assert {(level, area) for level, area, _text in found} == {("warning", "templates"), ("error", "health")}
    assert "WARNING templates: a: body_template" in run()[0]


def test_a_low_success_rate_is_a_warning(subscription):
    make_notification(subscription, "failed")
    assert [finding[:2] for finding in findings()] == [("warning", "health")]


def test_what_is_not_installed_has_no_version():
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

    def findings(self, settings, **values):
        settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, **values}
        output = StringIO()
        with suppress(SystemExit, CommandError):
            call_command("push_doctor", "--json", stdout=output)
        return [found["text"] for found in json.loads(output.getvalue())["findings"] if found["area"] == "urls"]

    def test_links_that_work_are_no_finding(self, live_server, settings):
        assert self.findings(settings, BASE_URL=live_server.url) == []

    def test_a_link_that_leads_nowhere_is_an_error(self, live_server, settings):
        [text] = self.findings(settings, BASE_URL=live_server.url, API_PATH="/elsewhere/")
        assert text == f"Links in messages lead nowhere: {live_server.url}/elsewhere/config answers 404."

    def test_another_page_is_an_error(self, live_server, settings):
        settings.ROOT_URLCONF = (path("other/config", lambda request: JsonResponse({})),)
        [text] = self.findings(settings, BASE_URL=live_server.url, API_PATH="/other/")
        assert text.endswith("is not the push API.")

    def test_a_site_that_does_not_answer_is_a_warning(self, settings):
        [text] = self.findings(settings, BASE_URL="http://127.0.0.1:9")
        assert text.startswith("Links in messages could not be tried: http://127.0.0.1:9/")

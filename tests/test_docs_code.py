"""The code of the how-to and reference pages runs as it stands there."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ET  # files of this repository
from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command, get_commands, load_command_class
from django.core.management.base import CommandError
from django.core.signing import TimestampSigner
from django.template import engines
from django.test import RequestFactory, override_settings
from django.utils import timezone

from django_webpush_kit.api.authentication import AuthenticationFailed
from django_webpush_kit.checks import TAG
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model
from django_webpush_kit.services import broadcast, send
from django_webpush_kit.signals import post_send
from django_webpush_kit.subscriptions.preferences import check_preferences
from django_webpush_kit.task_backends import get_task_backend
from tests.factories import make_notification, make_template
from tests.push_settings import override_push_settings

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
BLOCKS = {
    f"{path.relative_to(DOCS)}:{number}": (language, dedent(code))
    for folder in ("how-to", "reference", "explanation")
    for path in sorted((DOCS / folder).glob("*.md"))
    for number, (_indent, language, code) in enumerate(BLOCK.findall(path.read_text()), start=1)
}
PYTHON = {name: code for name, (language, code) in BLOCKS.items() if language == "python"}
SETTINGS = {
    name: code
    for name, code in PYTHON.items()
    if code.startswith("# settings.py") or re.search(r"^WEBPUSH_KIT( =|\[)", code, re.MULTILINE)
}
# a setting that is unknown or of the wrong form; files and modules of the host are not there
MALFORMED = {f"webpush_kit.{number}" for number in ("E002", "E009", "E010", "E011", "E013", "E014", "W001", "W005")}
# a host's own modules, which need that host
HOST_MODULES = {name for name, code in PYTHON.items() if re.match(r"# (?:mypush|mysite|shop)/\S+\.py", code)}


def run(name):
    """Run one block and return what it defines."""
    namespace = {"__name__": "documented"}
    exec(compile(PYTHON[name], name, "exec"), namespace)
    return namespace


def given_by(name):
    """The `WEBPUSH_KIT` of a block of settings."""
    return settings_of(name)["WEBPUSH_KIT"]


def settings_of(name):
    """All settings of a block."""
    namespace = {"INSTALLED_APPS": [], "MIDDLEWARE": [], "WEBPUSH_KIT": {}, "DATABASES": {"default": {}}}
    exec(compile(SETTINGS[name], name, "exec"), namespace)
    return namespace


def find(page, word):
    """The name of a page's only block of Python that holds a word."""
    (name,) = [name for name, code in PYTHON.items() if name.startswith(page) and word in code]
    return name


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_known_and_usable(name):
    with override_push_settings(**given_by(name)):
        found = {message.id: message.msg for message in run_checks(tags=[TAG]) if message.id in MALFORMED}
    assert found == {}


@pytest.mark.parametrize(
    "name", [name for name, code in SETTINGS.items() if re.search(r'TASK_BACKEND"(?!\] = "shop\.)', code)]
)
def test_task_backends_take_their_options(name):
    needed = {"DjangoQBackend": "django_q", "CeleryBackend": "celery"}
    for module in [module for backend, module in needed.items() if backend in SETTINGS[name]]:
        pytest.importorskip(module)
    with override_settings(WEBPUSH_KIT=given_by(name)):
        assert type(get_task_backend()).__name__ in SETTINGS[name]


@pytest.mark.parametrize("name", sorted(HOST_MODULES))
def test_project_modules_compile(name):
    compile(PYTHON[name], name, "exec")


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(PYTHON.keys() - SETTINGS.keys() - HOST_MODULES))
def test_other_code_runs(name):
    run(name)


@pytest.mark.parametrize("name", [name for name, (language, _) in BLOCKS.items() if language == "json"])
def test_json_blocks_are_valid(name):
    json.loads(BLOCKS[name][1])


@pytest.mark.django_db
def test_the_templates_are_imported_and_sent(tmp_path, push_outbox, subscription, django_capture_on_commit_callbacks):
    (text,) = [code for name, (language, code) in BLOCKS.items() if "templates.md" in name and language == "json"]
    (tmp_path / "templates.json").write_text(text)
    call_command("push_templates", "import", str(tmp_path / "templates.json"))

    with django_capture_on_commit_callbacks(execute=True):
        run(find("how-to/templates", "def tell_shipped"))["tell_shipped"](subscription.user)

    assert push_outbox[0].title == "Order 4711 is on its way"
    assert push_outbox[0].body.endswith("arrives Friday.")


@pytest.mark.django_db
def test_the_newsletter_is_switched_off(subscription):
    run(find("how-to/preferences", "def stop_newsletter"))["stop_newsletter"](subscription.user)
    subscription.refresh_from_db()
    assert subscription.preferences["categories"] == {"newsletter": False}


def test_the_preferences_are_usable():
    (text,) = [code for name, (language, code) in BLOCKS.items() if "preferences.md" in name and language == "json"]
    assert check_preferences(json.loads(text)) == json.loads(text)


@pytest.mark.django_db
def test_a_link_in_an_e_mail_counts_the_click_and_leads_to_the_notifications_url(subscription, client):
    notification = make_notification(subscription, "failed", options={"url": "/orders/7"})
    link = run(find("reference/http-api", "def counted_link"))["counted_link"](notification)
    answer = client.get(link.removeprefix("https://www.example.com"))
    assert answer.headers["Location"] == "/orders/7"
    assert notification.analytics.get().action_type == "clicked"


@pytest.mark.django_db
def test_keys_in_use(subscription):
    current, active = run(find("how-to/rotate-keys", "def keys_in_use"))["keys_in_use"]()
    assert active == {current: 1}


@pytest.mark.django_db
def test_subscriptions_are_imported_from_a_file(subscription_keys, user, tmp_path):
    import_from_file = run(find("how-to/migrations", "def import_from_file("))["import_from_file"]
    keys = subscription_keys()
    endpoint = "https://fcm.googleapis.com/fcm/send/ada"
    lines = [
        "endpoint,p256dh,auth,user_id",
        f"{endpoint},{keys['p256dh']},{keys['auth']},{user.pk}",
        f"{endpoint}2,AAAA,{keys['auth']},",
    ]
    file = tmp_path / "subscriptions.csv"
    file.write_text("\n".join(lines))
    report = import_from_file(file)
    assert (report.imported, [*report.refused.values()]) == (1, [["line 3"]])
    assert get_subscription_model().objects.get().user == user


@pytest.mark.django_db
def test_the_test_case_passes():
    case = run(find("how-to/testing", "PushTestCaseMixin"))["WelcomeTests"]("test_a_welcome")
    result = unittest.TestResult()
    case(result)
    assert result.testsRun == 1
    assert result.wasSuccessful(), result.failures + result.errors


@pytest.mark.django_db
def test_the_test_with_an_outbox_passes(push_outbox, django_user_model, django_capture_on_commit_callbacks):
    test = run(find("how-to/testing", "def test_a_welcome(push_outbox"))["test_a_welcome"]
    test(push_outbox, django_user_model, django_capture_on_commit_callbacks)


@pytest.mark.django_db(transaction=True)
def test_the_test_with_a_browser_passes(fake_browser, fake_push_service, client, django_user_model):
    test = run(find("how-to/testing", "fake_push_service.script"))["test_a_push_service_that_refuses"]
    test(fake_browser, fake_push_service, client, django_user_model)


def blocks_in(*languages):
    return [name for name, (language, _code) in BLOCKS.items() if language in languages]


def calls_of_own_commands():
    """What the pages say to `manage.py`, as arguments: `["deliver_push", "--loop"]`."""
    own = {name for name, app in get_commands().items() if app == "django_webpush_kit"}
    for name in blocks_in("sh", "console", "ini", "text", "yaml"):
        for line in BLOCKS[name][1].splitlines():
            for call in re.findall(r"manage\.py ([a-z_]+[^;#]*)", line):
                arguments = shlex.split(call.partition(" | ")[0])
                if arguments[0] in own:
                    yield pytest.param(arguments, id=f"{name} {arguments[0]}")


@pytest.mark.parametrize("arguments", list(calls_of_own_commands()))
def test_commands_take_these_arguments(arguments):
    command = load_command_class("django_webpush_kit", arguments[0])
    try:
        command.create_parser("manage.py", arguments[0]).parse_args(arguments[1:])
    except CommandError as error:
        pytest.fail(f"{arguments}: {error}")


@pytest.mark.parametrize("name", blocks_in("sh"))
def test_shell_blocks_are_valid(name):
    finished = subprocess.run(["sh", "-n"], input=BLOCKS[name][1], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("name", [name for name in blocks_in("ini") if "/systemd/" in BLOCKS[name][1]])
def test_systemd_units_have_the_required_sections(name):
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read_string(BLOCKS[name][1])
    kind = "Timer" if ".timer" in BLOCKS[name][1].splitlines()[0] else "Service"
    assert {"Unit", kind} <= set(unit.sections())
    assert kind == "Timer" or unit["Service"]["ExecStart"].startswith("/")


@pytest.mark.parametrize("name", blocks_in("yaml"))
def test_yaml_blocks_are_valid(name):
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(BLOCKS[name][1])


@pytest.mark.parametrize("name", [name for name in blocks_in("html", "django") if "templates.md" not in name])
def test_html_blocks_are_valid_templates(name):
    engines["django"].from_string(BLOCKS[name][1])


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_javascript_blocks_are_valid():
    code = {name: BLOCKS[name][1] for name in blocks_in("js")}
    check = (
        "const vm = require('node:vm');"
        "for (const [name, code] of Object.entries(JSON.parse(require('fs').readFileSync(0, 'utf8'))))"
        "{ try { new vm.SourceTextModule(code) } catch (error) { console.log(name + ': ' + error.message) } }"
    )
    finished = subprocess.run(
        ["node", "--experimental-vm-modules", "--no-warnings", "-e", check],
        input=json.dumps(code),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


@pytest.mark.parametrize("path", sorted((DOCS / "images").glob("*.svg")), ids=lambda path: path.name)
def test_diagrams_are_valid(path):
    root = ET.fromstring(path.read_text())  # a file of this repository
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert root.get("aria-labelledby") == title.get("id")
    assert title.text
    assert "prefers-color-scheme: dark" in path.read_text()
    pages = "".join(page.read_text() for page in DOCS.rglob("*.md"))
    assert f"images/{path.name}" in pages


def test_the_logging_configuration_works():
    (name,) = [name for name, code in SETTINGS.items() if "LOGGING = {" in code]
    program = (
        "import json, logging, logging.config, sys\n"
        "logging.config.dictConfig(json.load(sys.stdin))\n"
        "logging.getLogger('django_webpush_kit.delivery.worker').warning('gone')\n"
        "logging.getLogger('django_webpush_kit.templating.renderer').warning('hidden')\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(settings_of(name)["LOGGING"]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stderr.rstrip().endswith("WARNING django_webpush_kit.delivery.worker gone")


@pytest.mark.django_db
def test_the_newest_rows_of_a_user(subscription):
    make_notification(subscription, "failed", failure_reason="HTTP 410")
    (row,) = run(find("how-to/troubleshooting", "def newest"))["newest"](subscription.user)
    assert row[:2] == ("failed", "HTTP 410")


@pytest.mark.django_db
def test_reasons_are_counted(subscription):
    for _ in range(2):
        make_notification(subscription, "failed", failure_reason="HTTP 410")
    assert run(find("how-to/runbook", "def reasons"))["reasons"]() == [("failed", "HTTP 410", 2)]


@pytest.mark.django_db
def test_failed_messages_are_sent_again_once(subscription, make_subscription, make_user):
    failed = make_notification(subscription, "failed", title="Your code")
    make_notification(make_subscription(make_user()), "sent", batch=failed.batch, title="Your code")
    send_again = run(find("how-to/runbook", "def send_again"))["send_again"]
    for _ in range(2):
        result = send_again(failed.batch)
    assert [row.subscription for row in result.notifications] == [subscription]
    assert result.notifications.get().title == "Your code"


@pytest.mark.django_db
def test_a_restored_database_sends_nothing_again_and_keeps_what_is_scheduled(subscription):
    now = timezone.now()
    due = make_notification(subscription, "pending")
    claimed = make_notification(subscription, "sending")
    scheduled = make_notification(subscription, "pending")
    rows = get_notification_model().objects
    rows.filter(pk=due.pk).update(next_attempt_at=now)
    rows.filter(pk=claimed.pk).update(next_attempt_at=now + timedelta(minutes=5), lease_token=uuid4())
    rows.filter(pk=scheduled.pk).update(next_attempt_at=now + timedelta(days=5))
    assert run(find("how-to/runbook", "since_the_backup"))["cancel_what_was_sent_since_the_backup"]() == 2
    assert list(rows.filter(status="pending")) == [scheduled]


def test_the_sentry_recipe_hides_what_receivers_of_signals_get():
    names = run(find("how-to/monitoring", "SECRET_NAMES"))
    received = {"notification", "message"}  # Django's dispatcher has them as variables when a receiver raises
    texts = {"title", "body"}
    assert received | texts <= {*names["SECRET_NAMES"], *names["TEXT_NAMES"]}


@pytest.mark.django_db
def test_gauges(subscription):
    make_notification(subscription, "pending", days_ago=1)
    gauges = run(find("how-to/monitoring", "def gauges"))["gauges"]()
    assert gauges == {"due": 1, "by_status": {"pending": 1}, "active_subscriptions": 1}


@pytest.mark.django_db(transaction=True)
def test_outcomes_are_counted(subscription):
    counted = run(find("how-to/monitoring", "def count_outcome"))
    try:
        send(subscription, "Hello")
        deliver_due()
    finally:
        post_send.disconnect(counted["count_outcome"])
    assert counted["outcomes"] == {("", "accepted"): 1}


@pytest.mark.django_db
def test_a_newsroom_may_start_broadcasts(user):
    if settings.WEBPUSH_KIT_TEMPLATE_MODEL != "webpush_kit.NotificationTemplate":
        pytest.skip("the codenames are those of the swapped model")
    user.groups.add(run(find("how-to/admin", "def make_newsroom"))["make_newsroom"]())
    for permission in ("add_pushbroadcast", "change_pushbroadcast", "change_notificationtemplate"):
        assert user.has_perm(f"webpush_kit.{permission}")


@pytest.mark.django_db
def test_running_broadcasts_are_stopped(subscription):
    make_template("news", title_template="{{ headline }}")
    announced = run(find("how-to/broadcasts", "def announce"))["announce"]("Cold noodles")
    run(find("how-to/broadcasts", "def good_morning"))["good_morning"]()
    run(find("how-to/broadcasts", "def stop_all"))["stop_all"]()
    assert set(PushBroadcast.objects.values_list("status", flat=True)) == {"paused"}
    assert announced.context == {"headline": "Cold noodles"}


@pytest.mark.django_db(transaction=True)
def test_audiences_are_reached(user, make_subscription, push_settings):
    functions = run(find("how-to/broadcasts", "def recently_active"))
    make_template("news", title_template="{{ headline }}")
    german = make_subscription(user, language="de")
    make_subscription(user, language="fr")
    push_settings(AUDIENCES={"german-speaking": functions["german_speaking"]})
    started = broadcast("news", "german-speaking", {"headline": "Hallo"})
    deliver_due()
    assert get_notification_model().objects.get(batch=started.batch).subscription == german
    assert list(functions["recently_active"]()) == []


@pytest.mark.django_db
def test_a_lazy_translation_is_sent_in_each_browsers_language(user, make_subscription):
    for language in ("de", "en"):
        make_subscription(user, language=language)
    run(find("how-to/languages", "def tell_cancelled"))["tell_cancelled"](user)
    assert set(get_notification_model().objects.values_list("language", flat=True)) == {"de", "en"}


@pytest.mark.django_db
def test_one_language_for_a_message(subscription):
    make_template("order_shipped")
    make_template("order_shipped", language="en", title_template="English {{ number }}")
    run(find("how-to/languages", "def tell_shipped_in_english"))["tell_shipped_in_english"](subscription.user)
    assert get_notification_model().objects.get().title == "English 4711"


@pytest.mark.django_db
def test_an_authenticator_of_your_own(user):
    by_signed_header = run(find("how-to/rest-framework", "def by_signed_header"))["by_signed_header"]

    def ask(**headers):
        return by_signed_header(RequestFactory().get("/", headers=headers))

    assert ask() is None
    assert ask(**{"X-User-Token": TimestampSigner(salt="push").sign(user.pk)}) == user
    with pytest.raises(AuthenticationFailed):
        ask(**{"X-User-Token": f"{user.pk}:forged"})


@pytest.mark.django_db(transaction=True)
def test_a_transport_of_your_own(subscription, tmp_path, monkeypatch, push_settings):
    transport = run(find("how-to/transports", "class LoggedTransport"))["LoggedTransport"]
    monkeypatch.setitem(sys.modules, "documented_transport", SimpleNamespace(LoggedTransport=transport))
    spec = {"BACKEND": "documented_transport.LoggedTransport", "OPTIONS": {"path": str(tmp_path / "push.log")}}
    push_settings(TRANSPORT=spec)
    send(subscription, "Hello")
    assert deliver_due().sent == 1
    endpoint = (tmp_path / "push.log").read_text().split()[0]
    assert urlsplit(endpoint).hostname == "updates.push.services.mozilla.com"


@pytest.mark.django_db
def test_errors_of_callers_are_handled(subscription, capsys):
    run(find("reference/exceptions", "def tell"))["tell"](subscription.user, SimpleNamespace(number=4711))
    assert "Order 4711: no notification" in capsys.readouterr().out


@pytest.mark.django_db
def test_data_protection_requests_are_answered(subscription):
    answers = run(find("explanation/privacy", "def answer_access_request"))
    assert len(answers["answer_access_request"](subscription.user)["subscriptions"]) == 1
    assert answers["answer_erasure_request"](subscription.user)["subscriptions"] == 1

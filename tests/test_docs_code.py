"""The code of the how-to and reference pages runs as it stands there."""

from __future__ import annotations

import json
import re
import unittest
from pathlib import Path
from textwrap import dedent

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command
from django.test import override_settings

from django_webpush_kit.checks import TAG
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.subscriptions.preferences import check_preferences
from django_webpush_kit.task_backends import get_task_backend
from tests.factories import make_notification

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
    name: code for name, code in PYTHON.items() if code.startswith("# settings.py") or "WEBPUSH_KIT = {" in code
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
    namespace = {"INSTALLED_APPS": [], "WEBPUSH_KIT": {}, "DATABASES": {"default": {}}}
    exec(compile(SETTINGS[name], name, "exec"), namespace)
    return namespace["WEBPUSH_KIT"]


def find(page, word):
    """The name of a page's only block of Python that holds a word."""
    (name,) = [name for name, code in PYTHON.items() if name.startswith(page) and word in code]
    return name


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_known_and_usable(name):
    with override_settings(WEBPUSH_KIT={**settings.WEBPUSH_KIT, **given_by(name)}):
        found = {message.id: message.msg for message in run_checks(tags=[TAG]) if message.id in MALFORMED}
    assert found == {}


@pytest.mark.parametrize("name", [name for name, code in SETTINGS.items() if "TASK_BACKEND" in code])
def test_task_backends_take_their_options(name):
    needed = {"DjangoQBackend": "django_q", "CeleryBackend": "celery"}
    for module in [module for backend, module in needed.items() if backend in SETTINGS[name]]:
        pytest.importorskip(module)
    with override_settings(WEBPUSH_KIT=given_by(name)):
        assert type(get_task_backend()).__name__ in SETTINGS[name]


@pytest.mark.parametrize("name", sorted(HOST_MODULES))
def test_a_hosts_modules_compile(name):
    compile(PYTHON[name], name, "exec")


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(PYTHON.keys() - SETTINGS.keys() - HOST_MODULES))
def test_other_code_runs(name):
    run(name)


@pytest.mark.parametrize("name", [name for name, (language, _) in BLOCKS.items() if language == "json"])
def test_json_is_json(name):
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
    test = run(find("how-to/testing", "fake_push_service.script"))["test_a_push_service_that_stumbles"]
    test(fake_browser, fake_push_service, client, django_user_model)

"""System checks: each mistake has its message, and none of them shows a key."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import call_command
from django.db import connections
from django.db.models import CharField
from django.test.utils import isolate_apps

import django_webpush_kit
from django_webpush_kit import task_backends, transports
from django_webpush_kit.base_models import AbstractPushSubscription
from django_webpush_kit.checks import check_deployment, check_settings
from django_webpush_kit.checks import models as model_checks
from django_webpush_kit.conf import known_settings
from django_webpush_kit.models import get_template_model
from django_webpush_kit.protocol.vapid import VapidKey, generate_vapid_keys

ROOT = Path(__file__).parent.parent
SOURCE = Path(django_webpush_kit.__file__).parent
REDIS = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}}

LIMITS = known_settings()["RATE_LIMITS"].default
BACKENDS = "django_webpush_kit.task_backends"
TRANSPORTS = "django_webpush_kit.transports"
PORTABLE = f"{TRANSPORTS}.PyWebPushTransport"

not_callable = "a string, not a function"


needs_tasks = pytest.mark.skipif(
    not (find_spec("django.tasks") or find_spec("django_tasks")), reason="Django tasks are not installed"
)

if find_spec("django.tasks"):
    from django.tasks.backends.immediate import ImmediateBackend
elif find_spec("django_tasks"):
    from django_tasks.backends.immediate import ImmediateBackend
else:
    ImmediateBackend = object


class Workers(ImmediateBackend):
    """Stands for a backend with workers."""


class Stranger:
    """Takes every option, and is neither a transport nor a task backend."""

    def __init__(self, **options):
        pass

    def close(self):
        pass


def found(*, deploy=False):
    """The messages, by id without the common prefix."""
    messages = check_deployment() if deploy else check_settings()
    return {message.id.removeprefix("webpush_kit."): message for message in messages}


@pytest.fixture(autouse=True)
def _with_pycurl(monkeypatch):
    """Let pycurl seem installed: without it, each check before a deployment has one message more."""
    monkeypatch.setattr("django_webpush_kit.checks.deployment.find_spec", lambda name: name)


def test_the_settings_of_this_suite_have_no_messages():
    assert found() == {}


def test_the_checks_are_registered():
    tags = checks.registry.registry
    assert check_settings in tags.get_checks()
    assert check_deployment not in tags.get_checks()
    assert check_deployment in tags.get_checks(include_deployment_checks=True)


@pytest.mark.parametrize(
    ("values", "message_id", "words"),
    [
        ({"VAPID_PRIVATE_KYE": "x"}, "W001", "VAPID_PRIVATE_KYE"),
        ({"CHUNK_SIZE": "many"}, "E002", '["CHUNK_SIZE"] must be int, not str'),
        ({"QUIET_HOURS": "never"}, "E002", "'defer', 'suppress'"),
        ({"MAX_RETRIES": -1}, "E002", "must be 0 or more"),
        ({"PAYLOAD_BUDGET": 3994}, "E002", '["PAYLOAD_BUDGET"] must be 3993 or less, not 3994'),
        ({"VAPID_PRIVATE_KEY": ""}, "W002", "notifications cannot be sent"),
        ({"VAPID_PRIVATE_KEY": "nonsense"}, "E004", '["VAPID_PRIVATE_KEY"]'),
        ({"VAPID_FALLBACK_PRIVATE_KEYS": ["nonsense"]}, "E004", '["VAPID_FALLBACK_PRIVATE_KEYS[0]"]'),
        ({"VAPID_FALLBACK_PRIVATE_KEYS": [7]}, "E004", "must contain strings only"),
        ({"VAPID_FALLBACK_PRIVATE_KEYS": [["x"]]}, "E004", "must contain strings only"),
        ({"VAPID_PUBLIC_KEY": generate_vapid_keys()["public_key"]}, "E005", "does not belong to"),
        ({"VAPID_SUBJECT": ""}, "E006", "is empty"),
        ({"VAPID_SUBJECT": "mailto:root@localhost"}, "E006", "public host"),
        ({"VAPID_SUBJECT": "", "VAPID_CONTACT_EMAIL": "nobody"}, "E006", "mailto:ops@example.com"),
        ({"TASK_BACKEND": "nowhere.Backend"}, "E007", "nowhere"),
        ({"TASK_BACKEND": {"BACKEND": f"{BACKENDS}.NullBackend", "OPTIONS": {"speed": 1}}}, "E007", "NullBackend"),
        ({"TASK_BACKEND": "builtins.dict"}, "E007", "not a TaskBackend subclass"),
        ({"TRANSPORT": "nowhere.Transport"}, "E008", "nowhere"),
        ({"TRANSPORT": {"BACKEND": "auto", "OPTIONS": {"speed": 1}}}, "E008", "speed"),
        ({"TRANSPORT": {"BACKEND": "auto", "OPTIONS": {"timeout": "long"}}}, "E008", "TRANSPORT"),
        ({"TRANSPORT": {"BACKEND": "auto", "OPTIONS": ["timeout"]}}, "E008", '"OPTIONS" (a dict)'),
        ({"TRANSPORT": "django.core.mail.EmailMessage"}, "E008", "TRANSPORT"),
        ({"TRANSPORT": f"{__name__}.Stranger"}, "E008", "is not a Transport subclass"),
        ({"TRANSPORT": {}}, "E008", "Found: nothing."),
        ({"RETENTION_DAYS": 10**9}, "E002", "must be 36500 or less"),
        ({"RETRY_BASE_SECONDS": float("nan")}, "E002", "must be 0 or more, not nan"),
        ({"RETRY_CAP_SECONDS": float("inf")}, "E002", "must be 2419200 or less, not inf"),
        (
            {"TRANSPORT": {"BACKEND": PORTABLE, "OPTIONS": {"timeout": 200}}},
            "W003",
            "200 s is lowered to 150 s",
        ),
        ({"DECLARATIVE": True}, "E009", "needs BASE_URL"),
        ({"BASE_URL": "www.example.com"}, "E009", "must be an origin"),
        ({"BASE_URL": "https://www.example.com/shop"}, "E009", "must be an origin"),
        ({"RATE_LIMITS": {"subscribe": "often"}}, "E010", "'often'"),
        ({"RATE_LIMITS": {"subscribe": 30}}, "E010", "30"),
        ({"RATE_LIMITS": {"subscribe": ["30/m"]}}, "E010", "30/m"),
        ({"SEND_RATES": {"fcm.googleapis.com": "fast"}}, "E017", "'fast'"),
        ({"SEND_RATES": {"fcm.googleapis.com": 900}}, "E017", "900"),
        ({"SEND_RATES": {"fcm.googleapis.com": "0/m"}}, "E017", "'0/m'"),
        ({"SEND_RATES": {".notify.windows.com": "900/m"}}, "E017", "not the name of a push service"),
        ({"SEND_RATES": {"sg2p.notify.windows.com": "900/m"}}, "E017", "not the name of a push service"),
        ({"SEND_RATES": {"https://fcm.googleapis.com": "900/m"}}, "E017", "not the name of a push service"),
        ({"SEND_RATES": {7: "900/m"}}, "E017", "not the name of a push service"),
        ({"SEND_RATES": ["fcm.googleapis.com"]}, "E002", "SEND_RATES"),
        ({"API_PATH": "api/push/"}, "E009", "API_PATH"),
        ({"API_PATH": "//evil.example/"}, "E009", "API_PATH"),
        ({"API_PATH": "http://api.example.com/push/"}, "E009", "API_PATH"),
        ({"API_PATH": "http://localhost.example.com/push/"}, "E009", "API_PATH"),
        ({"SERVICE_WORKER_SCOPE": "app/"}, "E009", "must be a path of your site"),
        ({"SERVICE_WORKER_SCOPE": "//evil.example/"}, "E009", "must be a path of your site"),
        ({"SERVICE_WORKER_SCOPE": "/app/\nX: y"}, "E009", "must be a path of your site"),
        ({"SCOPE": "tests.test_checks.no_such_function"}, "E012", "no_such_function"),
        ({"SCOPE": "tests.test_checks.not_callable"}, "E012", "is not callable"),
        ({"SCOPE": lambda: {}["tenant"]}, "W007", "raises KeyError outside a request"),
        ({"RATE_LIMITS": {"subscription": "30/m"}}, "W004", "'subscription'"),
        ({"NOTIFICATION_TYPES": {"x" * 51: {}}}, "E011", "50 characters"),
        ({"NOTIFICATION_TYPES": {7: {}}}, "E011", "50 characters"),
        ({"NOTIFICATION_TYPES": {"news": "News"}}, "E011", "must be a dict"),
        ({"NOTIFICATION_TYPES": {"news": {"default": "yes"}}}, "E011", "True or False"),
        ({"NOTIFICATION_TYPES": {"news": {"max_per_day": True}}}, "E011", "above 0"),
        ({"NOTIFICATION_TYPES": {"news": {"max_per_day": 0}}}, "E011", "above 0"),
        ({"NOTIFICATION_TYPES": {"news": {"label": 7}}}, "E011", "must be text"),
        ({"NOTIFICATION_TYPES": {"news": {"description": 7}}}, "E011", "must be text"),
        ({"NOTIFICATION_TYPES": {"news": {"lable": "News"}}}, "W005", "'lable'"),
        ({"RECIPIENT_CONTEXT": "nowhere.function"}, "E012", '["RECIPIENT_CONTEXT"]'),
        ({"AUTHENTICATORS": ["nowhere.function"]}, "E012", '["AUTHENTICATORS"]'),
        ({"AUDIENCES": {"staff": f"{__name__}.not_callable"}}, "E012", "is not callable"),
        ({"AUDIENCES": {"staff": 7}}, "E012", "is not callable"),
        ({"DEFAULTS": {"colour": "red"}}, "E013", "colour"),
        ({"DEFAULTS": {"ttl": "long"}}, "E013", "ttl"),
        ({"PUSH_SERVICES": ["https://push.example.com"]}, "E014", "is not a host"),
        ({"PUSH_SERVICES": ["*.example.com"]}, "E014", "is not a host"),
        ({"PUSH_SERVICES": ["push.example.com:port"]}, "E014", "is not a host"),
        ({"PUSH_SERVICES": [7]}, "E014", "7 is not a host"),
    ],
)
def test_a_mistake_has_its_message(push_settings, values, message_id, words):
    push_settings(**values)
    messages = found()
    assert set(messages) == {message_id}
    assert words in messages[message_id].msg
    assert messages[message_id].hint is None or messages[message_id].hint


@pytest.mark.parametrize(
    "values",
    [
        {"VAPID_SUBJECT": "", "VAPID_CONTACT_EMAIL": "ops@example.com"},
        {"VAPID_PRIVATE_KEY": "", "VAPID_SUBJECT": ""},
        {"BASE_URL": "https://www.example.com/", "DECLARATIVE": True},
        {"API_PATH": "https://api.example.com/push/"},
        {"API_PATH": "http://127.0.0.1:8000/push/"},
        {"RATE_LIMITS": {"subscribe": ""}},
        {"RATE_LIMITS": {"health": "60/m", "openapi": "60/m", "service-worker": "60/m"}},
        {"NOTIFICATION_TYPES": {"news": {"label": "News", "description": "", "default": False, "max_per_day": 3}}},
        {"AUDIENCES": {"staff": found}, "RECIPIENT_CONTEXT": found},
        {"PUSH_SERVICES": ["*"]},
        {"PUSH_SERVICES": [".example.com", "push.example.com"]},
        {"PUSH_SERVICES": [".example.com:8443", "push.example.com:8443"]},
        {"TRANSPORT": {"BACKEND": "auto", "OPTIONS": {"timeout": 20}}},
    ],
)
def test_valid_values_have_no_message(push_settings, values):
    push_settings(**values)
    assert set(found()) <= {"W002"}


def test_a_matching_public_key_is_accepted_in_any_base64(push_settings, settings):
    public_key = VapidKey.load(settings.WEBPUSH_KIT["VAPID_PRIVATE_KEY"]).public_key
    push_settings(VAPID_PUBLIC_KEY=public_key.replace("-", "+").replace("_", "/") + "=")
    assert found() == {}


def test_an_unknown_key_comes_with_the_nearest_known_one(push_settings):
    push_settings(vapid_private_kye="x", quite_something_else="x")
    hints = [message.hint for message in check_settings()]
    assert hints == ["Did you mean 'VAPID_PRIVATE_KEY'?", "Remove it."]


def test_settings_that_are_not_a_dict_are_one_error(settings):
    settings.WEBPUSH_KIT = ["VAPID_PRIVATE_KEY"]
    assert set(found()) == {"E001"}
    assert found(deploy=True) == {}


def test_use_tz_is_required(settings):
    settings.USE_TZ = False
    assert set(found()) == {"E003"}


def test_a_check_is_skipped_if_its_settings_have_the_wrong_type(push_settings):
    push_settings(PUSH_SERVICES="fcm.googleapis.com", VAPID_PRIVATE_KEY=7)
    assert [message.id for message in check_settings()] == ["webpush_kit.E002"] * 2
    assert "W031" not in found(deploy=True)


def test_no_message_shows_key_text(push_settings):
    secret = generate_vapid_keys()["private_key"]
    for values in (
        {"VAPID_PRIVATE_KEY": secret[:-20]},
        {"VAPID_PRIVATE_KEY": secret.encode()},
        {"VAPID_FALLBACK_PRIVATE_KEYS": [secret[5:]]},
        {"VAPID_PRIVATE_KEY": secret, "VAPID_PUBLIC_KEY": generate_vapid_keys()["public_key"]},
    ):
        push_settings(**values)
        messages = [*check_settings(), *check_deployment()]
        assert any(message.level >= checks.ERROR for message in messages)
        assert secret[10:40] not in repr(messages)


def test_a_missing_key_file_is_named_with_the_command_that_writes_it(push_settings, tmp_path):
    path = tmp_path / "my keys" / "vapid.pem"
    push_settings(VAPID_PRIVATE_KEY=str(path))
    message = found()["E004"]
    assert f"the path of a missing file: {path}." in message.msg
    path.parent.mkdir()
    advice, _, command = message.hint.partition(": ")
    assert advice == "Restore the file. On a new site, create it"
    program, _manage, *arguments = shlex.split(command)
    assert program == "python"
    call_command(*arguments, verbosity=0)
    assert found() == {}


def test_a_missing_file_of_a_former_key_is_not_replaced_by_a_new_one(push_settings):
    push_settings(VAPID_FALLBACK_PRIVATE_KEYS=["/run/secrets/former.pem"])
    message = found()["E004"]
    assert "a missing file: /run/secrets/former.pem." in message.msg
    assert "generate_vapid_keys" not in message.msg + message.hint
    assert "restore" in message.hint.lower()


class TestHints:
    """Hints are for deployment and `push_doctor`: migrate and runserver print nothing about a fresh project."""

    @pytest.fixture(autouse=True)
    def _fresh(self, push_settings, monkeypatch):
        monkeypatch.setattr("django_webpush_kit.checks.deployment.find_spec", lambda name: None)
        push_settings(TRANSPORT="auto", TASK_BACKEND=f"{BACKENDS}.ImmediateBackend")

    def test_development_is_quiet(self):
        assert found() == {}

    def test_deployment_hears_of_a_faster_transport_and_of_workers(self):
        messages = found(deploy=True)
        assert messages["I001"].level == messages["I002"].level == checks.INFO
        assert "100 notifications" in messages["I001"].msg
        assert "deliver_push --loop" in messages["I001"].hint
        assert messages["I002"].hint == "python -m pip install pycurl"

    def test_with_another_transport_and_a_queue_there_is_no_hint(self, push_settings):
        push_settings(TRANSPORT=PORTABLE, TASK_BACKEND=f"{BACKENDS}.NullBackend")
        assert not {"I001", "I002"} & set(found(deploy=True))

    def test_settings_that_cannot_be_used_are_left_to_the_other_checks(self, push_settings):
        push_settings(TRANSPORT={"X": 1}, TASK_BACKEND="nowhere.Backend")
        assert not {"I001", "I002"} & set(found(deploy=True))


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("WEBPUSH_KIT_TEMPLATE_MODEL", "nonsense", "app_label.ModelName"),
        ("WEBPUSH_KIT_TEMPLATE_MODEL", "nowhere.Template", "not installed"),
        ("WEBPUSH_KIT_TEMPLATE_MODEL", "auth.Group", "is not a subclass of AbstractNotificationTemplate"),
    ],
)
def test_an_unusable_model_setting_is_explained(settings, setting, value, words):
    setattr(settings, setting, value)
    messages = found()
    assert set(messages) == {"E015"}
    assert setting in messages["E015"].msg
    assert words in messages["E015"].msg


@pytest.mark.parametrize("is_unique", [False, True])
@isolate_apps("django_webpush_kit")
def test_a_model_whose_meta_has_lost_a_unique_constraint_is_refused(monkeypatch, is_unique):
    class Browser(AbstractPushSubscription):
        if is_unique:
            endpoint_hash = CharField(max_length=64, unique=True)

        class Meta:
            app_label = "webpush_kit"

    bases = (lambda: Browser, AbstractPushSubscription)
    monkeypatch.setitem(model_checks._BASES, "WEBPUSH_KIT_SUBSCRIPTION_MODEL", bases)
    errors = [message.msg for message in model_checks.model_settings() if message.id == "webpush_kit.E015"]
    wanted = [] if is_unique else ["webpush_kit.Browser has no unique constraint on endpoint_hash."]
    assert errors == wanted


def test_a_wrong_option_of_the_transport_does_not_suggest_another_transport(push_settings):
    push_settings(TRANSPORT={"BACKEND": "auto", "OPTIONS": {"ca_bundle": "/nowhere.pem"}})
    assert "/nowhere.pem" in found()["E008"].msg
    assert found()["E008"].hint is None


@pytest.mark.parametrize(
    ("name", "number", "given", "meant"),
    [
        ("TASK_BACKEND", "E007", f"{BACKENDS}.DjangoQ2Backend", f"{BACKENDS}.DjangoQBackend"),
        ("TASK_BACKEND", "E007", "django_webpush_kit.backends.CeleryBackend", f"{BACKENDS}.CeleryBackend"),
        ("TASK_BACKEND", "E007", "project.Backend", ""),
        ("TRANSPORT", "E008", f"{TRANSPORTS}.LocMemTransport", f"{TRANSPORTS}.LocmemTransport"),
        ("TRANSPORT", "E008", "curl", ""),
    ],
)
def test_a_class_that_does_not_exist_is_answered_with_those_that_do(push_settings, name, number, given, meant):
    push_settings(**{name: given})
    guess, _, listed = found()[number].hint.rpartition("Available: ")
    assert guess == (f"Did you mean {meant!r}? " if meant else "")
    module, base = (task_backends, "Backend") if name == "TASK_BACKEND" else (transports, "Transport")
    classes = {each for each in module.__all__ if each.endswith(base)} - {"QueueBackend", "TaskBackend", "Transport"}
    assert {path.rpartition(".")[2] for path in listed.rstrip(".").split(", ")} == classes
    assert all(path.startswith(module.__name__) for path in listed.split(", "))


def test_an_unknown_option_lists_the_known_ones(push_settings):
    push_settings(TASK_BACKEND={"BACKEND": f"{BACKENDS}.DjangoTasksBackend", "OPTIONS": {"speed": 1}})
    assert found()["E007"].hint.endswith("accepts these OPTIONS: backend, queue_name, seconds, workers.")
    push_settings(TASK_BACKEND=f"{BACKENDS}.NullBackend", TRANSPORT={"BACKEND": PORTABLE, "OPTIONS": {"speed": 1}})
    assert "timeout" in found()["E008"].hint
    push_settings(TRANSPORT={"BACKEND": f"{TRANSPORTS}.LocmemTransport", "OPTIONS": {"speed": 1}})
    assert found()["E008"].hint.endswith("accepts these OPTIONS: none.")


class TestProject:
    def test_missing_urls_are_a_warning(self, settings):
        settings.ROOT_URLCONF = "django.contrib.auth.urls"
        assert set(found()) == {"W009"}
        assert 'include("django_webpush_kit.urls")' in found()["W009"].hint

    def test_urls_may_be_inside_other_namespaces(self, settings):
        settings.ROOT_URLCONF = "tests.nested_urls"
        assert found() == {}

    def test_a_urlconf_that_cannot_be_imported_is_reported_by_django(self, settings):
        settings.ROOT_URLCONF = "nowhere.urls"
        assert found() == {}

    def test_urls_may_belong_to_another_host(self, settings, monkeypatch):
        """With django-hosts, whose module is stood in for here."""
        host = types.SimpleNamespace(urlconf="tests.urls")
        resolvers = types.ModuleType("django_hosts.resolvers")
        resolvers.get_host_patterns = lambda: [host]
        package = types.ModuleType("django_hosts")
        package.__spec__ = importlib.machinery.ModuleSpec("django_hosts", None)
        monkeypatch.setitem(sys.modules, "django_hosts", package)
        monkeypatch.setitem(sys.modules, "django_hosts.resolvers", resolvers)
        settings.ROOT_URLCONF = "django.contrib.auth.urls"
        settings.ROOT_HOSTCONF = "tests.hosts"
        assert found() == {}
        host.urlconf = "django.contrib.auth.urls"
        assert set(found()) == {"W009"}

    def test_any_csrf_header_name_is_accepted(self, settings):
        settings.CSRF_HEADER_NAME = "HTTP_X_XSRF_TOKEN"
        assert found() == {}

    @pytest.mark.parametrize("model", [get_user_model, get_template_model])
    def test_tables_in_several_databases(self, settings, model):
        settings.DATABASE_ROUTERS = [Routing(model()._meta.label)]
        assert set(found()) == {"E016"}
        assert "'elsewhere'" in found()["E016"].msg

    def test_all_tables_in_a_separate_database(self, settings):
        settings.DATABASE_ROUTERS = [Routing("auth"), Routing("webpush_kit"), Routing("swapped")]
        assert found() == {}


class Routing:
    """Sends an app, or a model, to another database."""

    def __init__(self, label):
        self.label = label

    def db_for_write(self, model, **hints):
        is_meant = self.label in (model._meta.app_label, model._meta.label)
        return "elsewhere" if is_meant else None


@pytest.mark.skipif(os.environ.get("TEST_DATABASE", "sqlite") != "sqlite", reason="about SQLite")
class TestSQLite:
    @pytest.fixture
    def options(self, push_settings):
        pytest.importorskip("django_q")
        push_settings(TASK_BACKEND=f"{BACKENDS}.DjangoQBackend")
        options = connections["default"].settings_dict["OPTIONS"]
        before = dict(options)
        yield options
        options.clear()
        options.update(before)

    def test_a_cluster_with_well_configured_sqlite_has_no_message(self, options):
        assert found() == {}

    def test_a_worker_without_a_queue_needs_them_too(self, options, push_settings):
        push_settings(TASK_BACKEND=f"{BACKENDS}.NullBackend")
        assert found() == {}
        options["transaction_mode"] = None
        assert set(found()) == {"W021"}

    @pytest.mark.parametrize(
        ("name", "value"),
        [("transaction_mode", None), ("timeout", None), ("timeout", 5), ("timeout", "long"), ("init_command", "")],
    )
    def test_each_missing_option_is_named(self, options, name, value):
        options[name] = value
        assert set(found()) == {"W021"}
        assert name in found()["W021"].msg
        assert "IMMEDIATE" in found()["W021"].hint

    def test_without_a_queue_it_is_told_before_a_deployment(self, options, push_settings):
        push_settings(TASK_BACKEND=f"{BACKENDS}.ImmediateBackend")
        assert "W021" not in found(deploy=True)
        options.clear()
        assert found() == {}
        assert "W021" in found(deploy=True)


class TestQueues:
    def check(self, tmp_path, code, *flags):
        """Run the checks in a process of its own, whose settings say more: apps of queues are one a process."""
        (tmp_path / "queue_settings.py").write_text("from tests.settings import *\n" + code)
        result = subprocess.run(
            [sys.executable, *flags, "-m", "django", "check", "--settings", "queue_settings"],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
                "TEST_DATABASE": "sqlite",  # the database of this process is for its tests alone
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return result.stderr

    @pytest.mark.thorough
    def test_the_default_app_of_celery_is_a_warning(self, tmp_path):
        pytest.importorskip("celery")
        code = f"WEBPUSH_KIT['TASK_BACKEND'] = '{BACKENDS}.CeleryBackend'\n"
        assert "webpush_kit.W022" in self.check(tmp_path, code)
        code += "import celery\napp = celery.Celery('mysite', broker='memory://')\napp.set_current()\n"
        assert "webpush_kit.W022" not in self.check(tmp_path, code)

    @pytest.mark.thorough
    def test_an_app_missing_from_installed_apps_is_reported(self, tmp_path):
        code = "INSTALLED_APPS.remove('django_webpush_kit')\n"
        printed = self.check(tmp_path, code)
        assert 'ImproperlyConfigured: Add "django_webpush_kit" to INSTALLED_APPS' in printed

    @needs_tasks
    def test_django_tasks_require_an_existing_asynchronous_backend(self, push_settings, settings):
        module = "django.tasks" if find_spec("django.tasks") else "django_tasks"
        settings.TASKS = {
            "default": {"BACKEND": f"{module}.backends.immediate.ImmediateBackend"},
            "dummy": {"BACKEND": f"{module}.backends.dummy.DummyBackend"},
            "workers": {"BACKEND": f"{__name__}.Workers"},
        }
        for alias, message_id, words in (
            ("default", "W023", "runs every wake-up in the request"),
            ("dummy", "W023", "runs no task"),
            ("nowhere", "E007", "nowhere"),
        ):
            push_settings(TASK_BACKEND={"BACKEND": f"{BACKENDS}.DjangoTasksBackend", "OPTIONS": {"backend": alias}})
            assert set(found()) == {message_id}
            assert words in found()[message_id].msg
        push_settings(TASK_BACKEND={"BACKEND": f"{BACKENDS}.DjangoTasksBackend", "OPTIONS": {"backend": "workers"}})
        assert found() == {}

    def test_without_django_tasks_the_extra_is_named(self, push_settings, monkeypatch):
        real = importlib.util.find_spec
        monkeypatch.setattr(
            "django_webpush_kit.task_backends.django_tasks.find_spec",
            lambda name: None if name in ("django.tasks", "django_tasks") else real(name),
        )
        push_settings(TASK_BACKEND=f"{BACKENDS}.DjangoTasksBackend")
        assert "django-webpush-kit[tasks]" in found()["E007"].msg


HOST_MODELS = """
from django_webpush_kit.base_models import AbstractNotificationTemplate
class Wording(AbstractNotificationTemplate):
    pass
"""
FIRST_MIGRATION = """
from django.db import migrations
class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = []
"""
LATER_MIGRATION = """
from django.db import migrations, models
class Migration(migrations.Migration):
    dependencies = [("zhost", "0001_initial")]
    run_before = {run_before}
    operations = [migrations.CreateModel("Wording", [("id", models.BigAutoField(primary_key=True))])]
"""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("run_before", "is_warned"),
    [([], True), ([("webpush_kit", "0002_relations")], False), ([("nowhere", "0001_initial")], False)],
    ids=["late", "early", "broken"],
)
def test_a_model_created_by_a_later_migration_needs_run_before(tmp_path, run_before, is_warned):
    """A host project of its own, because models and migrations are loaded once in a process."""
    app = tmp_path / "zhost"
    (app / "migrations").mkdir(parents=True)
    (app / "__init__.py").touch()
    (app / "migrations" / "__init__.py").touch()
    (app / "models.py").write_text(HOST_MODELS)
    (app / "migrations" / "0001_initial.py").write_text(FIRST_MIGRATION)
    (app / "migrations" / "0002_wording.py").write_text(LATER_MIGRATION.format(run_before=run_before))
    (tmp_path / "host_settings.py").write_text(
        "from tests.settings import *\n"
        "INSTALLED_APPS = [*INSTALLED_APPS, 'zhost']\n"
        "WEBPUSH_KIT_TEMPLATE_MODEL = 'zhost.Wording'\n"
    )
    result = subprocess.run(
        [sys.executable, "-m", "django", "check", "--tag", "webpush_kit", "--settings", "host_settings"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("webpush_kit.W006" in result.stderr) is is_warned
    assert ("run_before = [('webpush_kit', '0002_relations')]" in result.stderr) is is_warned


@pytest.fixture
def production(settings, push_settings):
    """Settings that are fine in production."""
    push_settings(VAPID_SUBJECT="mailto:ops@shop.eu", TRANSPORT="auto")
    settings.CACHES = REDIS
    return settings


def test_good_settings_have_no_warning_at_deployment(production):
    assert found(deploy=True) == {}


@pytest.mark.parametrize(
    ("values", "message_id", "words"),
    [
        ({"ALLOW_PRIVATE_ENDPOINTS": True}, "W030", "its own network"),
        ({"PUSH_SERVICES": ["*"]}, "W031", '"*"'),
        ({"PUSH_SERVICES": [".example.com", ".com"]}, "W031", '".com"'),
        ({"ALLOW_ANONYMOUS": True, "RATE_LIMITS": {**LIMITS, "subscribe": ""}}, "W032", "does not limit subscribe"),
        ({"TRANSPORT": f"{TRANSPORTS}.LocmemTransport"}, "W033", "LocmemTransport sends nothing"),
        ({"TRANSPORT": f"{TRANSPORTS}.ConsoleTransport"}, "W033", "ConsoleTransport sends nothing"),
        ({"STORE_CLIENT_INFO": True}, "W034", "IP address"),
        ({"VAPID_SUBJECT": "mailto:ops@example.com"}, "W035", "example.com"),
        ({"VAPID_SUBJECT": "https://shop.test/contact"}, "W035", "shop.test"),
        ({"TRUSTED_PROXIES": 1}, "W039", "visitors can forge"),
        ({"BASE_URL": "http://shop.eu"}, "W041", "not https"),
        (
            {"RATE_LIMITS": {}},
            "W042",
            "does not limit subscribe, unsubscribe, preferences, subscriptions, test, events, config, open,",
        ),
        ({"RATE_LIMITS": {**LIMITS, "events": ""}}, "W042", "does not limit events,"),
    ],
)
def test_dangerous_values_are_reported_only_with_deploy(production, push_settings, values, message_id, words):
    push_settings(**values)
    messages = found(deploy=True)
    assert set(messages) == {message_id}
    assert words in messages[message_id].msg
    assert messages[message_id].level == checks.WARNING
    assert message_id not in found()


def test_anonymous_subscriptions_with_a_rate_limit_have_no_message(production, push_settings):
    push_settings(ALLOW_ANONYMOUS=True)
    assert found(deploy=True) == {}


def test_a_cache_of_one_process_cannot_count_rates(production):
    production.CACHES = {"default": {"BACKEND": f"{LocMemCache.__module__}.LocMemCache"}}
    assert set(found(deploy=True)) == {"W037"}


def test_a_cache_of_one_process_cannot_prevent_duplicate_wake_ups(production, push_settings):
    production.CACHES = {"default": {"BACKEND": f"{LocMemCache.__module__}.LocMemCache"}}
    push_settings(TASK_BACKEND=f"{BACKENDS}.DjangoTasksBackend", RATE_LIMITS={})
    assert set(found(deploy=True)) == {"W036", "W042"}


def test_an_unusable_transport_is_reported_once(production, push_settings):
    push_settings(TRANSPORT={"PATH": "x"})
    assert found(deploy=True) == {}
    assert set(found()) == {"E008"}


def test_an_unusable_task_backend_is_reported_once(production, push_settings):
    production.CACHES = {"default": {"BACKEND": f"{LocMemCache.__module__}.LocMemCache"}}
    push_settings(TRANSPORT=PORTABLE, TASK_BACKEND="nowhere.Backend", RATE_LIMITS={})
    assert set(found(deploy=True)) == {"W042"}
    assert set(found()) == {"E007"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECURE_PROXY_SSL_HEADER", ("HTTP_X_FORWARDED_PROTO", "https")),
        ("USE_X_FORWARDED_HOST", True),
        ("USE_X_FORWARDED_PORT", True),
    ],
)
def test_a_proxy_in_other_settings_must_be_counted(production, push_settings, name, value):
    setattr(production, name, value)
    assert set(found(deploy=True)) == {"W038"}
    push_settings(TRUSTED_PROXIES=1)
    assert found(deploy=True) == {}


def test_a_key_file_that_others_can_read_is_a_warning(production, push_settings, tmp_path):
    path = tmp_path / "vapid.pem"
    path.write_text(VapidKey.generate().pem())
    path.chmod(0o644)
    push_settings(VAPID_PRIVATE_KEY=str(path))
    assert set(found(deploy=True)) == {"W040"}
    path.chmod(0o600)
    assert found(deploy=True) == {}


def test_missing_and_malformed_keys_are_not_taken_for_files(production, push_settings):
    push_settings(VAPID_PRIVATE_KEY="", VAPID_FALLBACK_PRIVATE_KEYS=[7, "x\0y"])
    assert found(deploy=True) == {}


def test_an_invalid_host_is_reported_by_one_check_only(production, push_settings):
    push_settings(PUSH_SERVICES=[7])
    assert found(deploy=True) == {}


def test_the_reference_lists_every_message_and_no_other():
    """Ids are found in the source as `webpush_kit.X000` or as the number given to a function of messages."""
    source = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    ids = set(re.findall(r"webpush_kit\.([EWI]\d{3})", source))
    ids |= {f"E{int(number):03}" for number in re.findall(r"messages\.error\(\s*(\d+)", source)}
    ids |= {f"W{int(number):03}" for number in re.findall(r"messages\.warning\(\s*(\d+)", source)}
    ids |= {f"I{int(number):03}" for number in re.findall(r"messages\.information\(\s*(\d+)", source)}
    page = (ROOT / "docs" / "reference" / "checks.md").read_text()
    listed = re.findall(r"^\| `webpush_kit\.([EWI]\d{3})` \|", page, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == ids

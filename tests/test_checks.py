"""System checks: each mistake has its message, and none of them shows a key."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core import checks
from django.core.cache.backends.locmem import LocMemCache

import django_webpush_kit
from django_webpush_kit.checks import check_deployment, check_settings
from django_webpush_kit.conf import known_settings
from django_webpush_kit.protocol.vapid import VapidKey, generate_vapid_keys

ROOT = Path(__file__).parent.parent
SOURCE = Path(django_webpush_kit.__file__).parent
REDIS = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}}

LIMITS = known_settings()["RATE_LIMITS"].default
BACKENDS = "django_webpush_kit.task_backends"
TRANSPORTS = "django_webpush_kit.transports"
PORTABLE = f"{TRANSPORTS}.PyWebPushTransport"

not_callable = "a string, not a function"


def found(*, deploy=False):
    """The messages, by id without the common prefix."""
    messages = check_deployment() if deploy else check_settings()
    return {message.id.removeprefix("webpush_kit."): message for message in messages}


@pytest.fixture
def configure(settings):
    def apply(**values):
        settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, **values}

    return apply


def test_the_settings_of_this_suite_are_fine():
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
        ({"VAPID_PRIVATE_KEY": ""}, "W002", "nothing can be sent"),
        ({"VAPID_PRIVATE_KEY": "nonsense"}, "E004", '["VAPID_PRIVATE_KEY"]'),
        ({"VAPID_FALLBACK_PRIVATE_KEYS": ["nonsense"]}, "E004", '["VAPID_FALLBACK_PRIVATE_KEYS[0]"]'),
        ({"VAPID_FALLBACK_PRIVATE_KEYS": [7]}, "E004", "must hold text only"),
        ({"VAPID_FALLBACK_PRIVATE_KEYS": [["x"]]}, "E004", "must hold text only"),
        ({"VAPID_PUBLIC_KEY": generate_vapid_keys()["public_key"]}, "E005", "does not belong to"),
        ({"VAPID_SUBJECT": ""}, "E006", "is empty"),
        ({"VAPID_SUBJECT": "mailto:root@localhost"}, "E006", "public host"),
        ({"VAPID_SUBJECT": "", "VAPID_CONTACT_EMAIL": "nobody"}, "E006", "mailto:ops@example.com"),
        ({"TASK_BACKEND": "nowhere.Backend"}, "E007", "nowhere"),
        ({"TASK_BACKEND": {"BACKEND": f"{BACKENDS}.NullBackend", "OPTIONS": {"speed": 1}}}, "E007", "NullBackend"),
        ({"TASK_BACKEND": "builtins.dict"}, "E007", "no task backend"),
        ({"TASK_BACKEND": f"{BACKENDS}.ImmediateBackend"}, "I001", "100"),
        ({"TRANSPORT": "nowhere.Transport"}, "E008", "nowhere"),
        ({"TRANSPORT": {"BACKEND": "auto", "OPTIONS": {"speed": 1}}}, "E008", "speed"),
        ({"TRANSPORT": {"BACKEND": "auto", "OPTIONS": {"timeout": "long"}}}, "E008", "TRANSPORT"),
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
        ({"SCOPE": "tests.test_checks.no_such_function"}, "E012", "no_such_function"),
        ({"SCOPE": "tests.test_checks.not_callable"}, "E012", "cannot be called"),
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
        ({"AUDIENCES": {"staff": f"{__name__}.not_callable"}}, "E012", "cannot be called"),
        ({"AUDIENCES": {"staff": 7}}, "E012", "cannot be called"),
        ({"DEFAULTS": {"colour": "red"}}, "E013", "colour"),
        ({"DEFAULTS": {"ttl": "long"}}, "E013", "ttl"),
        ({"PUSH_SERVICES": ["https://push.example.com"]}, "E014", "is not a host"),
        ({"PUSH_SERVICES": ["*.example.com"]}, "E014", "is not a host"),
    ],
)
def test_a_mistake_has_its_message(configure, values, message_id, words):
    configure(**values)
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
        {"RATE_LIMITS": {"subscribe": ""}},
        {"RATE_LIMITS": {"health": "60/m", "openapi": "60/m", "service-worker": "60/m"}},
        {"NOTIFICATION_TYPES": {"news": {"label": "News", "description": "", "default": False, "max_per_day": 3}}},
        {"AUDIENCES": {"staff": found}, "RECIPIENT_CONTEXT": found},
        {"PUSH_SERVICES": ["*"]},
        {"PUSH_SERVICES": [".example.com", "push.example.com"]},
        {"TRANSPORT": {"BACKEND": "auto", "OPTIONS": {"timeout": 20}}},
    ],
)
def test_what_is_right_has_none(configure, values):
    configure(**values)
    assert set(found()) <= {"W002", "I002"}


def test_a_matching_public_key_in_any_base64_is_right(configure, settings):
    public_key = VapidKey.load(settings.WEBPUSH_KIT["VAPID_PRIVATE_KEY"]).public_key
    configure(VAPID_PUBLIC_KEY=public_key.replace("-", "+").replace("_", "/") + "=")
    assert found() == {}


def test_an_unknown_key_comes_with_the_nearest_known_one(configure):
    configure(vapid_private_kye="x", quite_something_else="x")
    hints = [message.hint for message in check_settings()]
    assert hints == ["Did you mean 'VAPID_PRIVATE_KEY'?", "Remove it."]


def test_settings_that_are_no_dict_are_one_error(settings):
    settings.WEBPUSH_KIT = ["VAPID_PRIVATE_KEY"]
    assert set(found()) == {"E001"}
    assert found(deploy=True) == {}


def test_without_time_zones_nothing_works(settings):
    settings.USE_TZ = False
    assert set(found()) == {"E003"}


def test_a_check_is_left_out_where_its_settings_have_the_wrong_type(configure):
    configure(PUSH_SERVICES="fcm.googleapis.com", VAPID_PRIVATE_KEY=7)
    assert [message.id for message in check_settings()] == ["webpush_kit.E002"] * 2
    assert "W031" not in found(deploy=True)


def test_no_message_shows_key_text(configure):
    secret = generate_vapid_keys()["private_key"]
    for values in (
        {"VAPID_PRIVATE_KEY": secret[:-20]},
        {"VAPID_PRIVATE_KEY": secret.encode()},
        {"VAPID_FALLBACK_PRIVATE_KEYS": [secret[5:]]},
        {"VAPID_PRIVATE_KEY": secret, "VAPID_PUBLIC_KEY": generate_vapid_keys()["public_key"]},
    ):
        configure(**values)
        messages = [*check_settings(), *check_deployment()]
        assert any(message.level >= checks.ERROR for message in messages)
        assert secret[10:40] not in repr(messages)


def test_a_missing_pycurl_is_only_a_hint(configure, monkeypatch):
    monkeypatch.setattr("django_webpush_kit.checks.values.find_spec", lambda name: None)
    configure(TRANSPORT="auto")
    assert found()["I002"].level == checks.INFO


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("WEBPUSH_KIT_TEMPLATE_MODEL", "nonsense", "app_label.ModelName"),
        ("WEBPUSH_KIT_TEMPLATE_MODEL", "nowhere.Template", "not installed"),
        ("WEBPUSH_KIT_TEMPLATE_MODEL", "auth.Group", "is no AbstractNotificationTemplate"),
    ],
)
def test_a_model_setting_that_cannot_be_used_says_why(settings, setting, value, words):
    setattr(settings, setting, value)
    messages = found()
    assert set(messages) == {"E015"}
    assert setting in messages["E015"].msg
    assert words in messages["E015"].msg


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


@pytest.mark.parametrize(
    ("run_before", "is_warned"),
    [([], True), ([("webpush_kit", "0002_relations")], False), ([("nowhere", "0001_initial")], False)],
    ids=["late", "early", "broken"],
)
def test_a_model_that_a_later_migration_makes_must_say_that_it_comes_first(tmp_path, run_before, is_warned):
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
def production(settings):
    """Settings that are fine in production."""
    settings.WEBPUSH_KIT = {
        **settings.WEBPUSH_KIT,
        "VAPID_SUBJECT": "mailto:ops@shop.eu",
        "TRANSPORT": "auto",
    }
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
        ({"TRUSTED_PROXIES": 1}, "W039", "visitors choose"),
        ({"BASE_URL": "http://shop.eu"}, "W041", "not https"),
        (
            {"RATE_LIMITS": {}},
            "W042",
            "does not limit subscribe, unsubscribe, preferences, test, events, config, open:",
        ),
        ({"RATE_LIMITS": {**LIMITS, "events": ""}}, "W042", "does not limit events:"),
    ],
)
def test_what_is_dangerous_in_production_is_warned_of_at_deployment_only(
    production, configure, values, message_id, words
):
    configure(**values)
    messages = found(deploy=True)
    assert set(messages) == {message_id}
    assert words in messages[message_id].msg
    assert messages[message_id].level == checks.WARNING
    assert message_id not in found()


def test_anonymous_subscriptions_with_a_rate_limit_are_fine(production, configure):
    configure(ALLOW_ANONYMOUS=True)
    assert found(deploy=True) == {}


def test_a_cache_of_one_process_cannot_count_rates(production):
    production.CACHES = {"default": {"BACKEND": f"{LocMemCache.__module__}.LocMemCache"}}
    assert set(found(deploy=True)) == {"W037"}


def test_a_cache_of_one_process_cannot_hold_back_doubled_wake_ups(production, configure):
    production.CACHES = {"default": {"BACKEND": f"{LocMemCache.__module__}.LocMemCache"}}
    configure(TASK_BACKEND=f"{BACKENDS}.DjangoTasksBackend", RATE_LIMITS={})
    assert set(found(deploy=True)) == {"W036", "W042"}


def test_an_unusable_transport_is_not_said_twice(production, configure):
    configure(TRANSPORT={"PATH": "x"})
    assert found(deploy=True) == {}
    assert set(found()) == {"E008"}


def test_an_unusable_task_backend_is_not_said_twice(production, configure):
    production.CACHES = {"default": {"BACKEND": f"{LocMemCache.__module__}.LocMemCache"}}
    configure(TRANSPORT=PORTABLE, TASK_BACKEND="nowhere.Backend", RATE_LIMITS={})
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
def test_a_proxy_that_other_settings_know_of_should_be_counted(production, configure, name, value):
    setattr(production, name, value)
    assert set(found(deploy=True)) == {"W038"}
    configure(TRUSTED_PROXIES=1)
    assert found(deploy=True) == {}


def test_a_key_file_that_others_can_read_is_warned_of(production, configure, tmp_path):
    path = tmp_path / "vapid.pem"
    path.write_text(VapidKey.generate().pem())
    path.chmod(0o644)
    configure(VAPID_PRIVATE_KEY=str(path))
    assert set(found(deploy=True)) == {"W040"}
    path.chmod(0o600)
    assert found(deploy=True) == {}


def test_missing_and_malformed_keys_are_no_files(production, configure):
    configure(VAPID_PRIVATE_KEY="", VAPID_FALLBACK_PRIVATE_KEYS=[7, "x\0y"])
    assert found(deploy=True) == {}


def test_what_is_no_host_is_left_to_the_check_that_says_so(production, configure):
    configure(PUSH_SERVICES=[7])
    assert found(deploy=True) == {}


def test_the_reference_lists_every_message_and_no_other():
    """Ids are found in the source as `webpush_kit.X000` or as the number given to `error` and `warning`."""
    source = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    ids = set(re.findall(r"webpush_kit\.([EWI]\d{3})", source))
    ids |= {f"E{int(number):03}" for number in re.findall(r"messages\.error\(\s*(\d+)", source)}
    ids |= {f"W{int(number):03}" for number in re.findall(r"messages\.warning\(\s*(\d+)", source)}
    page = (ROOT / "docs" / "reference" / "checks.md").read_text()
    listed = re.findall(r"^\| `webpush_kit\.([EWI]\d{3})` \|", page, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == ids

"""The migrations say what the models say, whichever models a host uses."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

import django_webpush_kit

ROOT = Path(__file__).parent.parent
MIGRATIONS = Path(django_webpush_kit.__file__).parent / "migrations"

SWAPPABLE = {
    "SUBSCRIPTION": "PushSubscription",
    "TEMPLATE": "NotificationTemplate",
    "NOTIFICATION": "PushNotification",
    "ANALYTICS": "NotificationAnalytics",
}


def run_python(*arguments: str, settings: str, cwd: Path = ROOT) -> str:
    finished = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(cwd), "DJANGO_SETTINGS_MODULE": settings, "TEST_DATABASE": "sqlite"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.parametrize(("settings", "labels"), [("tests.settings", []), ("tests.settings_swapped", ["swapped"])])
def test_no_migration_is_missing(settings, labels):
    command = ["-m", "django", "makemigrations", "--check", "--dry-run", "webpush_kit", *labels]
    assert "No changes detected" in run_python(*command, settings=settings)


def test_the_first_migration_has_no_relations_among_the_four_models():
    tree = ast.parse((MIGRATIONS / "0001_initial.py").read_text(encoding="utf-8"))
    targets = [
        ast.unparse(keyword.value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "models.ForeignKey"
        for keyword in call.keywords
        if keyword.arg == "to"
    ]
    assert targets
    assert set(targets) == {"settings.AUTH_USER_MODEL"}


def write_host(folder: Path, label: str, swapped: tuple[str, ...]) -> None:
    """Write a project with one app `label` that swaps these models, each by a subclass with a field more."""
    app = folder / label
    app.mkdir()
    (app / "__init__.py").touch()
    models = [
        f"class Own{name}(base_models.Abstract{name}):\n    extra = models.CharField(max_length=9)" for name in swapped
    ]
    (app / "models.py").write_text(
        "\n\n".join(["from django.db import models\nfrom django_webpush_kit import base_models", *models]),
        encoding="utf-8",
    )
    names = {setting: f"{label}.Own{name}" for setting, name in SWAPPABLE.items() if name in swapped}
    (folder / "host_settings.py").write_text(
        "\n".join(
            [
                'SECRET_KEY = "host"',
                "USE_TZ = True",
                'DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"',
                'INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_webpush_kit"]',
                f'INSTALLED_APPS += ["{label}"]',
                'DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "host.sqlite3"}}',
                *(f'WEBPUSH_KIT_{setting}_MODEL = "{model}"' for setting, model in names.items()),
            ]
        ),
        encoding="utf-8",
    )


MIGRATE_AND_USE = """
import sys
from importlib import invalidate_caches
from uuid import uuid4

import django
from django.core.management import call_command

label, is_swapped = sys.argv[1], len(sys.argv) > 2
django.setup()
if is_swapped:
    call_command("makemigrations", label, verbosity=0)
    invalidate_caches()
call_command("makemigrations", check_changes=True, dry_run=True, verbosity=0)
call_command("migrate", interactive=False, verbosity=0)
call_command("migrate", check_unapplied=True)

from django_webpush_kit import models

row = models.get_subscription_model().objects.create(endpoint="https://fcm.googleapis.com/fcm/send/x")
template = models.get_template_model().objects.create(type="welcome", title_template="Hello")
sent = models.get_notification_model().objects.create(subscription=row, template=template, batch=uuid4(), title="Hi")
event = models.get_analytics_model().objects.create(notification=sent, action_type="delivered")
print(*(type(each).__name__ for each in (row, template, sent, event)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("label", ["aaa_host", "zzz_host"])
@pytest.mark.parametrize("choice", list(product([False, True], repeat=4)), ids=str)
def test_every_combination_of_swapped_models_migrates(tmp_path, label, choice):
    swapped = tuple(name for name, is_chosen in zip(SWAPPABLE.values(), choice, strict=True) if is_chosen)
    write_host(tmp_path, label, swapped)
    printed = run_python("-c", MIGRATE_AND_USE, label, *swapped, cwd=tmp_path, settings="host_settings")
    assert printed.split() == [f"Own{name}" if name in swapped else name for name in SWAPPABLE.values()]

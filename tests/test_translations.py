"""The package's texts in other languages: complete, compiled, and with the same placeholders."""

from __future__ import annotations

import gettext
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from django.contrib import admin
from django.urls import reverse
from django.utils import translation

import django_webpush_kit
from django_webpush_kit.models import PushBroadcast, WorkerHeartbeat
from tests.factories import make_notification, make_template

PACKAGE = Path(django_webpush_kit.__file__).parent
LANGUAGES = {"ar": "ar", "de": "de", "es": "es", "fr": "fr", "ja": "ja", "pt_BR": "pt-br"}

HOW_TO_UPDATE = (
    "Run `django-admin makemessages --all --no-location --no-wrap --no-obsolete` in src/django_webpush_kit, translate "
    "what is empty, then run `django-admin compilemessages`."
)

PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[sd]|\{\{.*?\}\}|\{%.*?%\}|%%")

needs_gettext = pytest.mark.skipif(not shutil.which("xgettext"), reason="needs GNU gettext")


def catalog_of(locale):
    with (PACKAGE / "locale" / locale / "LC_MESSAGES" / "django.mo").open("rb") as file:
        return gettext.GNUTranslations(file)._catalog


def test_the_languages_are_listed():
    assert {path.name for path in (PACKAGE / "locale").iterdir()} == set(LANGUAGES)


@pytest.mark.parametrize("locale", LANGUAGES)
def test_every_translation_has_the_placeholders_of_its_text(locale):
    catalog = catalog_of(locale)
    assert len(catalog) > 400
    for source, text in catalog.items():
        if not source:
            continue
        name, number = source if isinstance(source, tuple) else (source, 0)
        wanted, found = Counter(PLACEHOLDER.findall(name)), Counter(PLACEHOLDER.findall(text))
        # a singular may write the number as a word
        assert found == wanted or (number == 0 and isinstance(source, tuple) and not found - wanted), (name, text)
        assert text.strip(), name


@needs_gettext
@pytest.mark.parametrize("locale", LANGUAGES)
def test_compiled_files_are_up_to_date(locale, tmp_path):
    folder = PACKAGE / "locale" / locale / "LC_MESSAGES"
    compiled = tmp_path / "django.mo"
    subprocess.run(["msgfmt", "--check-format", "-o", compiled, folder / "django.po"], check=True)
    with compiled.open("rb") as file:
        assert gettext.GNUTranslations(file)._catalog == catalog_of(locale), HOW_TO_UPDATE


@pytest.mark.thorough
@needs_gettext
def test_all_texts_of_the_package_are_translated(tmp_path):
    copy = tmp_path / "django_webpush_kit"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "migrations"))
    command = [sys.executable, "-m", "django", "makemessages", "--all", "--no-location", "--no-obsolete"]
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "warning" not in run.stderr + run.stdout
    for locale in LANGUAGES:
        source = (copy / "locale" / locale / "LC_MESSAGES" / "django.po").read_text()
        checked = subprocess.run(
            ["msgfmt", "--statistics", "-o", "/dev/null", "-"], input=source, capture_output=True, text=True, check=True
        )
        # one number, that of translated texts: fuzzy and untranslated ones would follow
        assert len(re.findall(r"\d+", checked.stderr)) == 1, f"{locale}: {checked.stderr}{HOW_TO_UPDATE}"


@pytest.mark.thorough
@pytest.mark.django_db
@pytest.mark.parametrize(("locale", "code"), LANGUAGES.items())
def test_admin_pages_open_in_every_language(locale, code, admin_client, settings, subscription):
    settings.LANGUAGE_CODE = code
    template = make_template("news")
    row = make_notification(subscription, "failed", type="news", template=template)
    broadcast = PushBroadcast.objects.create(type="news", total=5, processed=5, queued=5)
    pages = [("add", PushBroadcast, []), ("change", PushBroadcast, [broadcast.pk])]
    pages += [("changelist", WorkerHeartbeat, []), ("dashboard", WorkerHeartbeat, [])]
    for model in (type(template), type(row), type(subscription)):
        if admin.site.is_registered(model):
            key = {type(template): template, type(row): row, type(subscription): subscription}[model].pk
            pages += [("changelist", model, []), ("change", model, [key])]
    for page, model, arguments in pages:
        options = model._meta
        url = reverse(f"admin:{options.app_label}_{options.model_name}_{page}", args=arguments)
        assert admin_client.get(url).status_code == 200, url
    page = admin_client.get(reverse("admin:webpush_kit_pushbroadcast_add")).content.decode()
    assert catalog_of(locale)["Update the preview"] in page
    page = admin_client.get(reverse("admin:webpush_kit_workerheartbeat_dashboard")).content.decode()
    assert catalog_of(locale)["Broadcasts in progress"] in page
    assert f">{catalog_of(locale)['workers'].capitalize()}</a></h2>" in page, "not the text of another app"
    assert f">{catalog_of(locale)['failed']}</td>" in page
    with translation.override(code):
        assert str(PushBroadcast._meta.verbose_name) == catalog_of(locale)["broadcast"]

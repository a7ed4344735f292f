"""Projects without django.contrib.admin: Django still imports our template tags, with every app's."""

import subprocess
import sys

import pytest

SCRIPT = """
from django.conf import settings

settings.configure(
    SECRET_KEY="a project without the admin, with enough characters",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_webpush_kit"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    ROOT_URLCONF="django_webpush_kit.urls",
)

import django

django.setup()
from django.core.management import call_command
from django.template import engines

call_command("check")
page = "{% load webpush_kit webpush_kit_admin %}page{% webpush_kit_panel %}"
print(engines["django"].from_string(page).render({}))
"""


@pytest.mark.thorough
def test_their_pages_are_rendered_and_their_checks_run():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.returncode) == ("page", 0), done.stderr

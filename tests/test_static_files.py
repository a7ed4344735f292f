"""The browser modules behind storages that rename static files: every script that a page loads can be found."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command
from django.template import Context, Template

IMPORT = re.compile(r"""^\s*(?:import|export)\b[^;"'*]*?["']([./][^"']*)["']""", re.MULTILINE)


STORAGES = {
    "plain": "django.contrib.staticfiles.storage.StaticFilesStorage",
    "manifest": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
    "aggregating": "tests.hashed_files.AggregatingStorage",
    "hashed only": "tests.hashed_files.HashedOnlyStorage",
}


@pytest.fixture(params=STORAGES)
def root(request: Any, settings: Any, tmp_path: Path) -> Path:
    """The folder of the collected files, as a web server serves it below STATIC_URL."""
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": STORAGES[request.param]}}
    call_command("collectstatic", interactive=False, verbosity=0)
    return tmp_path


def scripts(arguments: str = "") -> list[str]:
    """Names below STATIC_URL of the scripts that the head tag loads."""
    html = Template("{% load webpush_kit %}{% webpush_kit_head " + arguments + " %}").render(Context())
    return re.findall(r'src="/static/([^"]+)"', html)


def load(root: Path, name: str) -> set[str]:
    """A module with everything that it imports; FileNotFoundError where a browser would get a 404."""
    source = (root / name).read_text()
    found = {name}
    for imported in IMPORT.findall(source):
        found |= load(root, posixpath.normpath(posixpath.join(posixpath.dirname(name), imported)))
    return found


def test_the_scripts_of_the_head_tag_exist(root: Path) -> None:
    for arguments in ("", "elements=False"):
        for name in scripts(arguments):
            load(root, name)


def test_the_module_is_loaded_once(root: Path) -> None:
    loaded = [name for script in scripts() for name in load(root, script)]
    assert len([name for name in loaded if re.search(r"/webpush-kit(\.\w+)?\.js$", name)]) == 1


def test_the_elements_get_the_url_of_the_module(root: Path) -> None:
    html = Template("{% load webpush_kit %}{% webpush_kit_head %}").render(Context())
    told = re.findall(r'<meta name="webpush-kit-module" content="/static/([^"]+)"', html)
    assert told == scripts("elements=False")
    texts = re.findall(r'<meta name="webpush-kit-texts" content="/static/([^"]+)"', html)
    assert all((root / name).is_file() for name in [*told, *texts])


def test_a_page_may_import_every_module_by_its_url(root: Path) -> None:
    for name in ("webpush-kit.js", "webpush-kit-elements.js", "webpush-kit-mock.js"):
        url = staticfiles_storage.url(f"django_webpush_kit/{name}")
        load(root, url.removeprefix("/static/"))

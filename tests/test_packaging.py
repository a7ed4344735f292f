"""What a host gets when it installs the package."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import metadata, version
from importlib.util import find_spec
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "django_webpush_kit"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

HOST_SETTINGS = """
SECRET_KEY = "host"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.staticfiles"]
INSTALLED_APPS += ["django_webpush_kit"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "host.sqlite3"}}
STATIC_URL = "/static/"
STATIC_ROOT = "collected"
WEBPUSH_KIT = {"VAPID_SUBJECT": "mailto:ops@example.com"}
"""


def source_files() -> set[str]:
    """Every file of the package, as paths below src/."""
    files = {path.relative_to(SOURCE.parent).as_posix() for path in SOURCE.rglob("*") if path.is_file()}
    return {name for name in files if "__pycache__" not in name and "/." not in name}


class TestInstalled:
    def test_has_the_version_of_the_project_file(self):
        assert version("django-webpush-kit") == PROJECT["version"]

    def test_has_a_citation_file_with_the_same_version(self):
        assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")

    def test_offers_every_extra_of_the_project_file(self):
        assert set(metadata("django-webpush-kit").get_all("Provides-Extra", [])) == set(
            PROJECT["optional-dependencies"]
        )

    def test_contains_every_source_file(self):
        spec = find_spec("django_webpush_kit")
        assert spec is not None
        folder = Path(str(spec.origin)).parent.parent
        assert [name for name in sorted(source_files()) if not (folder / name).is_file()] == []

    @pytest.mark.parametrize(
        "name",
        [
            "py.typed",
            "fixtures/notification_templates.json",
            "migrations/0002_relations.py",
            "static/django_webpush_kit/service-worker.js",
            "static/django_webpush_kit/webpush-kit.js",
            "static/django_webpush_kit/webpush-kit.d.ts",
        ],
    )
    def test_contains_the_files_that_projects_rely_on(self, name):
        assert f"django_webpush_kit/{name}" in source_files()

    def test_has_few_dependencies(self):
        names = [requirement.partition(">")[0] for requirement in PROJECT["dependencies"]]
        assert names == ["django", "pywebpush", "cryptography", "h11", "certifi"]


def run(*command: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DJANGO"))}
    finished = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT), cwd=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.mark.packaging
class TestDistributions:
    def test_the_wheel_contains_only_the_package(self, distributions):
        with zipfile.ZipFile(distributions[1]) as archive:
            names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert names == source_files()

    def test_the_package_index_can_render_the_readme(self, distributions):
        for distribution in distributions:
            run(sys.executable, "-m", "twine", "check", "--strict", str(distribution), cwd=distribution.parent)

    def test_the_sdist_can_be_tested(self, distributions):
        with tarfile.open(distributions[0]) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        assert {"tox.ini", "pyproject.toml", "tests/conftest.py", "LICENSE", "README.md", "CHANGELOG.md"} <= names
        assert {f"src/{name}" for name in source_files()} <= names
        assert not [name for name in names if name.endswith((".pyc", ".sqlite3")) or "node_modules" in name]

    def test_a_project_without_extras_can_check_migrate_and_collectstatic(self, distributions, tmp_path):
        venv.create(tmp_path / "venv", with_pip=True)
        python = str(tmp_path / "venv" / "bin" / "python")
        run(python, "-m", "pip", "install", "--quiet", str(distributions[1]), cwd=tmp_path)
        (tmp_path / "host_settings.py").write_text(HOST_SETTINGS, encoding="utf-8")
        for command in ("check", "migrate --no-input", "collectstatic --no-input", "loaddata notification_templates"):
            run(python, "-m", "django", *command.split(), "--pythonpath=.", "--settings=host_settings", cwd=tmp_path)
        assert (tmp_path / "collected" / "django_webpush_kit" / "service-worker.js").is_file()
        keys = run(
            python, "-m", "django", "generate_vapid_keys", "--pythonpath=.", "--settings=host_settings", cwd=tmp_path
        )
        assert "VAPID_PRIVATE_KEY=" in keys

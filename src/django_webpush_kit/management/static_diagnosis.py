"""Check of `push_doctor`: the browser modules are among the collected static files."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.storage import StaticFilesStorage, staticfiles_storage

from django_webpush_kit.management.findings import Finding

MODULES = ("django_webpush_kit/webpush-kit.js", "django_webpush_kit/webpush-kit-elements.js")
"""The files that `{% webpush_kit_head %}` loads."""

FIX = "python manage.py collectstatic"


def examine_static_files() -> Iterator[Finding]:
    """Check that pages find the modules. With DEBUG on, files are served from where they are installed."""
    if settings.DEBUG or not apps.is_installed("django.contrib.staticfiles"):
        return
    for name in MODULES:
        try:
            staticfiles_storage.url(name)
        except ValueError as error:  # a storage with a manifest
            text = f"Pages with {{% webpush_kit_head %}} fail: {error}".rstrip(".")
            yield Finding("error", "static files", f"{text}.", FIX)
            return
        if _is_in_folder() and not staticfiles_storage.exists(_stored(name)):
            yield Finding("warning", "static files", f"STATIC_ROOT has no {name}, so pages cannot load it.", FIX)
            return


def _is_in_folder() -> bool:
    """Return whether the files are collected in a folder. Other storages may be slow, or need a password."""
    return bool(settings.STATIC_ROOT) and isinstance(staticfiles_storage, StaticFilesStorage)


def _stored(name: str) -> str:
    """Return the name of the file in the folder: some storages keep only the file with a hash in its name."""
    stored_name = getattr(staticfiles_storage, "stored_name", None)
    return name if stored_name is None else str(stored_name(name))

"""`manage.py push_doctor`: report what is wrong with an installation, without sending anything."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.database import outbox_database
from django_webpush_kit.health import backend_path
from django_webpush_kit.management.diagnosis import examine
from django_webpush_kit.management.findings import Finding


class Command(BaseCommand):
    """Examine settings, URLs, files, cache, proxy, database, clock, keys, queue, retention, templates and health."""

    help = "Report what is wrong with this installation and how to fix it. Exit code 1 if there is an error."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the findings."""
        findings = list(examine())
        errors = sum(finding.level == "error" for finding in findings)
        if options["json"]:
            report = {
                "ok": not errors,
                "findings": [asdict(finding) for finding in findings],
                "environment": environment(),
            }
            self.stdout.write(json.dumps(report, indent=2))
        else:
            self._print(findings)
        if errors:
            raise CommandError("1 error found." if errors == 1 else f"{errors} errors found.")

    def _print(self, findings: Iterable[Finding]) -> None:
        for name, value in environment().items():
            self.stdout.write(f"{name.replace('_', ' ')}: {value}")
        styles = {"error": self.style.ERROR, "warning": self.style.WARNING, "hint": self.style.NOTICE}
        for finding in findings:
            self.stdout.write(f"{styles[finding.level](finding.level.upper())} {finding.area}: {finding.text}")
            if finding.fix:
                self.stdout.write(f"    {finding.fix}")
        if not findings:
            self.stdout.write(self.style.SUCCESS("No problems found."))


def environment() -> dict[str, str]:
    """Return versions and backends, to paste into bug reports."""
    return {
        "django_webpush_kit": version("django-webpush-kit"),
        "python": platform.python_version(),
        "django": django.get_version(),
        "pycurl": package_version("pycurl"),
        "database": _safely(lambda: connections[outbox_database()].vendor),
        "transport": _safely(lambda: backend_path("TRANSPORT")),
        "task_backend": _safely(lambda: backend_path("TASK_BACKEND")),
        "vapid_key_id": _safely(_key_id),
    }


def _safely(value: Callable[[], str]) -> str:
    try:
        return value()
    except Exception as error:  # noqa: BLE001  # the findings explain what is broken
        return f"unknown ({type(error).__name__})"


def _key_id() -> str:
    try:
        return vapid_keyring().current.key_id
    except ImproperlyConfigured:
        return "none"


def package_version(package: str) -> str:
    """Return the version of a package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"

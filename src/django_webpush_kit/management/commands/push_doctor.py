"""`manage.py push_doctor`: report what is wrong with an installation, without sending anything."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.db import connections, transaction
from django.utils import timezone

from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.database import outbox_database
from django_webpush_kit.health import backend_path
from django_webpush_kit.management.diagnosis import examine
from django_webpush_kit.management.findings import Finding
from django_webpush_kit.management.reporting import TerminalCommand
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.overview import last_sent_at


class Command(TerminalCommand):
    """Examine the settings, what they name, the database and health. `docs/reference/commands.md` lists every area."""

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
                **figures(),
                "environment": environment(),
            }
            self.stdout.write(json.dumps(report, indent=2))
        else:
            self._print(findings, has_errors=bool(errors))
        if errors:
            raise CommandError("1 error found." if errors == 1 else f"{errors} errors found.")

    def _print(self, findings: Iterable[Finding], *, has_errors: bool) -> None:
        for name, value in environment().items():
            self.stdout.write(f"{name.replace('_', ' ')}: {value}")
        styles = {"error": self.style.ERROR, "warning": self.style.WARNING, "hint": self.style.NOTICE}
        for finding in findings:
            self.stdout.write(f"{styles[finding.level](finding.level.upper())} {finding.area}: {finding.text}")
            if finding.fix:
                self.stdout.write(f"    {finding.fix}")
        verdict = "" if has_errors else ("No errors." if findings else "No problems found.")
        last = " ".join(filter(None, (verdict, *in_words(figures()))))
        if last:
            self.stdout.write(last if has_errors else self.style.SUCCESS(last))


def figures() -> dict[str, Any]:
    """Return `{"active_subscriptions": number, "last_accepted_at": ISO 8601 or None}`, or None for both if unknown."""
    try:
        with transaction.atomic(using=outbox_database()):
            number = get_subscription_model().objects.using(outbox_database()).active().count()
            moment = last_sent_at()
    except Exception:  # noqa: BLE001  # the findings explain what is broken
        return {"active_subscriptions": None, "last_accepted_at": None}
    return {"active_subscriptions": number, "last_accepted_at": moment and moment.isoformat()}


def in_words(values: dict[str, Any]) -> Iterator[str]:
    """Yield the figures as sentences."""
    number, text = values["active_subscriptions"], values["last_accepted_at"]
    if number is None:
        return
    yield f"{number:,} active subscription{'' if number == 1 else 's'}."
    if text is None:
        yield "No message was accepted by a push service yet."
    else:
        yield f"Last message accepted {ago(timezone.now() - datetime.fromisoformat(text))}."


def ago(time: timedelta) -> str:
    """Return "2 minutes ago": the largest unit from minutes to days."""
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        count = int(time.total_seconds() // size)
        if count > 0:
            return f"{count:,} {unit}{'' if count == 1 else 's'} ago"
    return "less than a minute ago"


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

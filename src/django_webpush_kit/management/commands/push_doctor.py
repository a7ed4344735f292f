"""`manage.py push_doctor`: everything that can be found out without sending anything."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import urlopen

import django
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from django_webpush_kit.checks import TAG
from django_webpush_kit.conf import kit_settings, vapid_keyring
from django_webpush_kit.database import outbox_database
from django_webpush_kit.health import UNHEALTHY, backend_path, get_health
from django_webpush_kit.models import get_subscription_model, get_template_model
from django_webpush_kit.outbox.links import api_base, reversed_base
from django_webpush_kit.task_backends import DjangoQBackend, get_task_backend
from django_webpush_kit.task_backends.django_q import SCHEDULES
from django_webpush_kit.templating.lint import lint_templates

LEVELS = {checks.DEBUG: "hint", checks.INFO: "hint", checks.WARNING: "warning"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `level` is "error", "warning" or "hint"; `area` says where it was found."""

    level: str
    area: str
    text: str
    mend: str = ""


class Command(BaseCommand):
    """Look at settings, database, keys, URLs, schedules, templates and health; exit code 1 when there is an error."""

    help = "Say what is wrong with this installation, or that nothing is. Sends nothing."
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
            raise CommandError(f"{errors} errors were found.")

    def _print(self, findings: Iterable[Finding]) -> None:
        for name, value in environment().items():
            self.stdout.write(f"{name.replace('_', ' ')}: {value}")
        styles = {"error": self.style.ERROR, "warning": self.style.WARNING, "hint": self.style.NOTICE}
        for finding in findings:
            self.stdout.write(f"{styles[finding.level](finding.level.upper())} {finding.area}: {finding.text}")
            if finding.mend:
                self.stdout.write(f"    {finding.mend}")
        if not findings:
            self.stdout.write(self.style.SUCCESS("Nothing is wrong."))


def examine() -> Iterator[Finding]:
    """Everything that is wrong; what needs the tables is left out where they are missing."""
    settings = list(_settings())
    yield from settings
    if any(finding.text.endswith("(webpush_kit.E001)") for finding in settings):
        return  # without settings nothing else can be looked at
    yield from _urls()
    database = list(_database())
    yield from database
    if not database:
        yield from _keys()
        yield from _schedules()
        yield from _templates()
        yield from _health()


def environment() -> dict[str, str]:
    """What support asks for first."""
    return {
        "django_webpush_kit": version("django-webpush-kit"),
        "python": platform.python_version(),
        "django": django.get_version(),
        "pycurl": package_version("pycurl"),
        "database": connections[outbox_database()].vendor,
        "transport": backend_path("TRANSPORT"),
        "task_backend": backend_path("TASK_BACKEND"),
        "vapid_key_id": _key_id(),
    }


def _settings() -> Iterator[Finding]:
    for message in checks.run_checks(tags=[TAG], include_deployment_checks=True):
        if not message.is_silenced():
            level = LEVELS.get(message.level, "error")
            yield Finding(level, "settings", f"{message.msg} ({message.id})", message.hint or "")


def _urls() -> Iterator[Finding]:
    base = _api_base()
    if not base:
        mend = 'Add path("api/v1/push/", include("django_webpush_kit.urls")) to the URLconf.'
        yield Finding("error", "urls", "Browsers cannot subscribe: our URLs are not included.", mend)
    elif kit_settings.BASE_URL:
        yield from _fetched(urljoin(kit_settings.BASE_URL, f"{base}config"))


def _api_base() -> str:
    try:
        return api_base()
    except DatabaseError:  # another finding says so
        return reversed_base()


def _fetched(url: str) -> Iterator[Finding]:
    """Ask for a link as browsers will: the path may be another one outside of a proxy, or of this URLconf."""
    mend = 'Set WEBPUSH_KIT["API_PATH"] to the path of the API as browsers see it, and BASE_URL to the origin.'
    try:
        with urlopen(url, timeout=FETCH_SECONDS) as response:  # noqa: S310  # the scheme is checked with BASE_URL
            answer = json.load(response)
    except HTTPError as error:
        error.close()
        yield Finding("error", "urls", f"Links in messages lead nowhere: {url} answers {error.code}.", mend)
    except (OSError, ValueError) as error:
        yield Finding("warning", "urls", f"Links in messages could not be tried: {url}: {error}", mend)
    else:
        if not isinstance(answer, dict) or "public_key" not in answer:
            yield Finding("error", "urls", f"Links in messages lead elsewhere: {url} is not the push API.", mend)


FETCH_SECONDS = 10


def _database() -> Iterator[Finding]:
    connection = connections[outbox_database()]
    try:
        connection.ensure_connection()
        executor = MigrationExecutor(connection)
        leaves = executor.loader.graph.leaf_nodes(TAG)
        missing = [
            f"{migration.app_label}.{migration.name}" for migration, _is_backwards in executor.migration_plan(leaves)
        ]
    except DatabaseError as error:
        yield Finding("error", "database", f"The database does not answer: {error}")
        return
    if missing:
        yield Finding("error", "database", f"Migrations are missing: {', '.join(missing)}.", "manage.py migrate")


def _keys() -> Iterator[Finding]:
    try:
        keyring = vapid_keyring()
    except ImproperlyConfigured:
        return  # the settings' findings say so
    known = ["", keyring.current.key_id, *(key.key_id for key in keyring.fallbacks)]
    lost = get_subscription_model().objects.filter(is_active=True).exclude(vapid_key_id__in=known).count()
    if lost:
        yield Finding(
            "warning",
            "keys",
            f"{lost} active subscriptions were made with a VAPID key that is not configured any more.",
            "Put the former private key into VAPID_FALLBACK_PRIVATE_KEYS until they have been renewed.",
        )


def _schedules() -> Iterator[Finding]:
    try:
        backend = get_task_backend()
    except (ImproperlyConfigured, ImportError):
        return  # the settings' findings say so
    if isinstance(backend, DjangoQBackend) and not backend.check():
        from django_q.models import Schedule  # django-q2 is optional

        if Schedule.objects.filter(name__in=SCHEDULES).count() < len(SCHEDULES):
            yield Finding("error", "schedules", "The periodic tasks are not installed.", "manage.py push_schedule")


def _templates() -> Iterator[Finding]:
    for problem in lint_templates(get_template_model().objects.all()):
        yield Finding("warning", "templates", str(problem))


def _health() -> Iterator[Finding]:
    health = get_health(details=True)
    level = "error" if health["status"] == UNHEALTHY else "warning"
    for problem in health["problems"]:
        yield Finding(level, "health", problem)


def _key_id() -> str:
    try:
        return vapid_keyring().current.key_id
    except ImproperlyConfigured:
        return "none"


def package_version(package: str) -> str:
    """The version of an installed package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"

"""`manage.py push_templates import|export|lint`: notification templates as a file that can be reviewed."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

import django_webpush_kit
from django_webpush_kit.models import get_template_model
from django_webpush_kit.outbox.snapshots import TEMPLATE_FIELDS
from django_webpush_kit.templating.lint import lint_templates

STARTER = Path(django_webpush_kit.__file__).parent / "fixtures" / "notification_templates.json"

DATES = ("created_at", "updated_at")


class Command(BaseCommand):
    """Move templates between sites and look for mistakes in them."""

    help = "Import, export or check notification templates. A file is a JSON list; a Django fixture is read, too."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        actions = parser.add_subparsers(dest="action", required=True)
        reading = actions.add_parser("import", help="create or update templates by type and language, all or none")
        reading.add_argument("file", nargs="?", metavar="FILE", help="- is standard input; without: the shipped ones")
        reading.add_argument("--keep", action="store_true", help="leave templates that exist as they are")
        actions.add_parser("export", help="print every template as JSON")
        actions.add_parser("lint", help="look for mistakes; exit code 1 when there are any")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what was asked for."""
        if options["action"] == "import":
            self._import(options["file"], keep=options["keep"])
        elif options["action"] == "export":
            self.stdout.write(json.dumps(list(_exported()), indent=2, ensure_ascii=False))
        else:
            self._lint()

    def _import(self, file: str | None, *, keep: bool) -> None:
        counts: Counter[str] = Counter(created=0, updated=0, unchanged=0)
        with transaction.atomic(using=get_template_model().objects.db):
            for entry in _entries(_read(file)):
                counts[_store(entry, keep=keep)] += 1
        self.stdout.write(", ".join(f"{count} {what}" for what, count in counts.items()))

    def _lint(self) -> None:
        problems = lint_templates(get_template_model().objects.all())
        for problem in problems:
            self.stdout.write(str(problem))
        if problems:
            raise CommandError(f"{len(problems)} problems were found.")
        self.stdout.write("No problems were found.")


def _read(file: str | None) -> Any:
    try:
        text = sys.stdin.read() if file == "-" else Path(file or STARTER).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise CommandError(f"{file} could not be read: {error.strerror}.") from error
    except ValueError as error:
        raise CommandError(f"{file} is not JSON: {error}.") from error


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(value, list):
        raise CommandError("The file must hold a JSON list of templates.")
    for number, entry in enumerate(value):
        fields = entry.get("fields", entry) if isinstance(entry, dict) else None
        if not isinstance(fields, dict) or "type" not in fields:
            raise CommandError(f"Entry {number} must be an object with a type.")
        if unknown := sorted(set(fields) - {*TEMPLATE_FIELDS, *DATES}):
            raise CommandError(
                f"Entry {number} has the unknown key {unknown[0]!r}; known are {', '.join(TEMPLATE_FIELDS)}."
            )
        yield {name: value for name, value in fields.items() if name in TEMPLATE_FIELDS}


def _store(entry: dict[str, Any], *, keep: bool) -> str:
    """Create or update one template; returns which of them, or that nothing had to be done."""
    model = get_template_model()
    language = entry.get("language", "")
    row = model.objects.filter(type=entry["type"], language=language).first()
    if row is not None and (keep or all(getattr(row, name) == value for name, value in entry.items())):
        return "unchanged"
    done = "created" if row is None else "updated"
    row = row or model()
    for name, value in entry.items():
        setattr(row, name, value)
    try:
        row.full_clean()
    except ValidationError as error:
        words = "; ".join(f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items())
        raise CommandError(f"Template {entry['type']} ({language or 'default'}): {words}") from error
    row.save()
    return done


def _exported() -> Iterable[dict[str, Any]]:
    for row in get_template_model().objects.order_by("type", "language"):
        yield {name: getattr(row, name) for name in TEMPLATE_FIELDS}

"""`manage.py push_templates import|export|lint`: move notification templates to and from files, and check them."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import transaction

import django_webpush_kit
from django_webpush_kit.exceptions import TemplateRenderError
from django_webpush_kit.management.reporting import DatabaseCommand
from django_webpush_kit.models import get_template_model
from django_webpush_kit.option_checks import storable
from django_webpush_kit.outbox.snapshots import TEMPLATE_FIELDS
from django_webpush_kit.templating.languages import normalized_language
from django_webpush_kit.templating.lint import lint_templates
from django_webpush_kit.templating.preview import template_variables

STARTER = Path(django_webpush_kit.__file__).parent / "fixtures" / "notification_templates.json"

DATES = ("created_at", "updated_at")


class Command(DatabaseCommand):
    """Import, export or check notification templates."""

    help = "Import, export or check notification templates. A file is a JSON list or a Django fixture."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        actions = parser.add_subparsers(dest="action", required=True)
        reading = actions.add_parser(
            "import",
            help="create or update templates by type and language; one invalid template stops the whole import",
        )
        reading.add_argument(
            "file", nargs="?", metavar="FILE", help="file to import ('-' for stdin; default: the bundled templates)"
        )
        reading.add_argument("--keep", action="store_true", help="do not change existing templates")
        actions.add_parser("export", help="print every template as JSON")
        actions.add_parser("lint", help="list variables and report mistakes; exit code 1 if there are any")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the chosen action."""
        if options["action"] == "import":
            counts = _import(options["file"], keep=options["keep"])
            if options["verbosity"] > 0:
                self.stdout.write(", ".join(f"{count} {what}" for what, count in counts.items()))
        elif options["action"] == "export":
            self.stdout.write(json.dumps(list(_exported()), indent=2, ensure_ascii=False))
        else:
            self._lint()

    def _lint(self) -> None:
        templates = list(get_template_model().objects.order_by("type", "language"))
        for template in templates:
            self.stdout.write(f"{template}: {_variables(template)}")
        problems = lint_templates(templates)
        for problem in problems:
            self.stdout.write(str(problem))
        if problems:
            raise CommandError(f"{len(problems)} error{'s' if len(problems) > 1 else ''} found.")
        self.stdout.write("No errors found.")


def _import(file: str | None, *, keep: bool) -> Counter[str]:
    counts: Counter[str] = Counter(created=0, updated=0, unchanged=0)
    with transaction.atomic(using=get_template_model().objects.db):
        for entry in _entries(_read(file)):
            counts[_store(entry, keep=keep)] += 1
    return counts


def _variables(template: Any) -> str:
    try:
        variables = template_variables(template)
    except TemplateRenderError:
        return "malformed"
    return f"variables: {', '.join(map(str, variables))}" if variables else "no variables"


def _read(file: str | None) -> Any:
    try:
        text = sys.stdin.read() if file == "-" else Path(file or STARTER).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise CommandError(f"{file} could not be read: {error.strerror}.") from error
    except ValueError as error:
        raise CommandError(f"{file} is not JSON: {error}.{_hint(error)}") from error
    except RecursionError:
        raise CommandError(f"{file} cannot be imported: its JSON is nested too deeply.") from None


def _hint(error: ValueError) -> str:
    is_comment = isinstance(error, json.JSONDecodeError) and error.doc.startswith(("//", "/*", "#"), error.pos)
    return " JSON has no comments." if is_comment else ""


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(value, list):
        raise CommandError("The file must hold a JSON list of templates.")
    numbers: dict[tuple[str, str], int] = {}
    for number, entry in enumerate(value):
        fields = entry.get("fields", entry) if isinstance(entry, dict) else None
        if not isinstance(fields, dict) or not _is_text(fields.get("type")):
            raise CommandError(f"Entry {number} must be an object with a type.")
        if not _is_text(fields.get("language", "")):
            raise CommandError(f"Entry {number}: language must be text.")
        if unknown := sorted(set(fields) - {*TEMPLATE_FIELDS, *DATES}):
            raise CommandError(
                f"Entry {number} has the unknown key {unknown[0]!r}; allowed keys: {', '.join(TEMPLATE_FIELDS)}."
            )
        identity = fields["type"], normalized_language(fields.get("language", ""))
        if (first := numbers.setdefault(identity, number)) != number:
            raise CommandError(
                f"Entries {first} and {number} are the same template: type {identity[0]!r}, "
                f"language {identity[1] or 'default'!r}. Remove one of them."
            )
        yield {name: value for name, value in fields.items() if name in TEMPLATE_FIELDS}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and storable(value) == value


def _store(entry: dict[str, Any], *, keep: bool) -> str:
    """Create or update one template and return what was done: "created", "updated" or "unchanged"."""
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

"""Base class of the commands that import subscriptions from other libraries."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.db.models import Model, QuerySet
from django.views.decorators.debug import sensitive_variables

from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.management.reporting import ReportingCommand
from django_webpush_kit.protocol.vapid import VapidKey
from django_webpush_kit.subscriptions.importing import PAGE_SIZE, ForeignSubscription, import_subscriptions

MAX_EXAMPLES = 5
"""Maximum number of examples printed for each reason."""

_logger = logging.getLogger(__name__)


class ImportCommand(ReportingCommand, ABC):
    """Base of the import commands. The other library must be in INSTALLED_APPS during the import."""

    app_label: str
    model_name: str

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--dry-run", action="store_true", help="report what would be imported, store nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import and print a summary."""
        if not apps.is_installed(self.app_label):
            raise CommandError(f'"{self.app_label}" is not in INSTALLED_APPS. Keep it there until the import is done.')
        model = apps.get_model(self.app_label, self.model_name)
        _check_users(model)
        report = import_subscriptions(self._found(model), dry_run=options["dry_run"])
        self.stdout.write(f"Imported: {report.imported}")
        self.stdout.write(f"Already known: {report.known}")
        self.stdout.write(f"Refused: {sum(map(len, report.refused.values()))}")
        for reason, sources in report.refused.items():
            examples = ", ".join(sources[:MAX_EXAMPLES]) + (", ..." if len(sources) > MAX_EXAMPLES else "")
            self.stdout.write(f"  {len(sources)}: {reason} ({examples})")
        if options["dry_run"]:
            self.stdout.write("This was a dry run: nothing was stored.")

    @abstractmethod
    def rows(self, model: type[Model]) -> Iterator[Any]:
        """Yield the library's rows. If several share an endpoint, the row to keep comes first."""

    @abstractmethod
    def source_of(self, row: Any) -> str:
        """Return the name of a row for the report."""

    @abstractmethod
    def read(self, row: Any) -> ForeignSubscription:
        """Convert a row. A CommandError ends the import; any other error skips the row."""

    def _found(self, model: type[Model]) -> Iterator[ForeignSubscription]:
        for row in self.rows(model):
            try:
                yield self.read(row)
            except CommandError:
                raise
            except Exception as error:
                source = self.source_of(row)
                _logger.exception("%s cannot be read", source)
                yield ForeignSubscription(source=source, problem=f"It cannot be read ({type(error).__name__}).")


def newest_first(rows: QuerySet[Any]) -> Iterator[Any]:
    """Yield every row by descending primary key. Rows are read in pages."""
    rows = rows.order_by("-pk")
    page = list(rows[:PAGE_SIZE])
    while page:
        yield from page
        page = list(rows.filter(pk__lt=page[-1].pk)[:PAGE_SIZE])


@sensitive_variables()
def known_key_id(private_key: Any, setting: str) -> str:
    """Return the id of the VAPID key in the other library's setting.

    Raises CommandError if `WEBPUSH_KIT` does not contain this key.
    """
    if not private_key:
        raise CommandError(f"{setting} is empty. Set it to the VAPID key that the browsers subscribed with.")
    try:
        key_id = VapidKey.load(private_key).key_id
    except ValueError as error:
        raise CommandError(f"{setting}: {error}") from None
    try:
        is_ours = vapid_keyring().find(key_id) is not None
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None
    if not is_ours:
        raise CommandError(
            f"The browsers subscribed with the VAPID key of {setting}, which is not in WEBPUSH_KIT. Make it "
            "VAPID_PRIVATE_KEY, or add it to VAPID_FALLBACK_PRIVATE_KEYS if you have a new one."
        )
    return key_id


def _check_users(model: type[Model]) -> None:
    if model._meta.get_field("user").related_model is not get_user_model():
        raise CommandError(f"{model._meta.label} has a foreign key to another user model than AUTH_USER_MODEL.")

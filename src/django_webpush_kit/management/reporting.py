"""Base classes of the commands."""

from __future__ import annotations

from io import StringIO
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError

from django_webpush_kit.database import is_missing_table, outbox_database


class DatabaseCommand(BaseCommand):
    """A command that reads or writes tables. If they are missing, it says how to create them."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command. Raises CommandError if a table or a column is missing."""
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            if not is_missing_table(error):
                raise
            raise CommandError(f"Migrations are missing. Run: {migrate_command()}") from error


def migrate_command() -> str:
    """Return the command that creates the tables in the database of the outbox."""
    alias = outbox_database()
    return "python manage.py migrate" + ("" if alias == DEFAULT_DB_ALIAS else f" --database {alias}")


class ReportingCommand(DatabaseCommand):
    """A command whose output is a report of its work. With `--verbosity 0` it prints nothing but errors."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command, without output at verbosity 0."""
        if options["verbosity"] == 0:
            options["stdout"] = StringIO()
        return super().execute(*args, **options)

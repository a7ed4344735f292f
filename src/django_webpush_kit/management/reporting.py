"""Base classes of the commands."""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from io import StringIO
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, Error

from django_webpush_kit.database import (
    GRANT,
    is_denied,
    is_missing_table,
    is_refusal,
    is_unavailable,
    outbox_database,
)
from django_webpush_kit.management.findings import in_words
from django_webpush_kit.management.interruption import INTERRUPTED

PIPE_CLOSED = 141
"""Exit code if nobody reads the output any more: 128 + SIGPIPE, the convention of shells."""


class TerminalCommand(BaseCommand):
    """A command that ends without a traceback on Ctrl-C, and if nobody reads its output any more (`| head`)."""

    _called_from_command_line: bool  # missing in django-stubs

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command. Code that calls it gets the exceptions as they are."""
        try:
            try:
                return super().execute(*args, **options)
            finally:
                self.stdout.flush()
        except BrokenPipeError:
            if not self._called_from_command_line or not _is_closed(self.stdout):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())  # Python flushes it once more at its end
            sys.exit(PIPE_CLOSED)
        except KeyboardInterrupt:
            if not self._called_from_command_line:
                raise
            raise CommandError("Interrupted.", returncode=INTERRUPTED) from None


def _is_closed(stream: Any) -> bool:
    """Return whether a stream is a pipe whose other end is closed."""
    with suppress(AttributeError, OSError, ValueError):  # Windows has no poll; not every stream is a file
        watch = select.poll()
        watch.register(stream.fileno(), 0)  # errors are always reported
        return bool(watch.poll(0))
    return False


class DatabaseCommand(TerminalCommand):
    """A command that reads or writes tables. If they are missing or cannot be used, it says what to do."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command. Raises CommandError if a table, a column or a permission is missing.

        An outage is an error message for the command line, too. Code that calls the command gets the exception.
        """
        try:
            return super().execute(*args, **options)
        except Error as error:
            if is_denied(error):
                raise CommandError(f"The database user lacks a permission: {error}. {GRANT}") from error
            if not is_missing_table(error):
                if self._called_from_command_line and is_unavailable(error) and not is_refusal(error):
                    text = f"The database does not answer, or is busy: {in_words(error)}"
                    raise CommandError(f"{text}. Start it, or correct DATABASES.") from error
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

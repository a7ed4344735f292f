"""Base class of the commands that print only what they have done."""

from __future__ import annotations

from io import StringIO
from typing import Any

from django.core.management.base import BaseCommand


class ReportingCommand(BaseCommand):
    """A command whose output is a report of its work. With `--verbosity 0` it prints nothing but errors."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command, without output at verbosity 0."""
        if options["verbosity"] == 0:
            options["stdout"] = StringIO()
        return super().execute(*args, **options)

"""Deliver within the request, right after commit. The default, for small sites and development."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.core.checks import CheckMessage, Info
from django.utils.module_loading import import_string

from django_webpush_kit.task_backends.base import TaskBackend

MAX_ROWS = 100

DELIVER_TASK = "django_webpush_kit.tasks.deliver_batches"


class ImmediateBackend(TaskBackend):
    """Sends at most 100 rows of the new batches. `deliver_push` must send the rest, and retries."""

    def wake(self, batches: Sequence[UUID] = ()) -> None:
        """Deliver the batches now."""
        import_string(DELIVER_TASK)(batches, MAX_ROWS)

    def check(self) -> list[CheckMessage]:
        """Remind the developer to run `deliver_push`."""
        return [
            Info(
                "The ImmediateBackend sends at most 100 notifications within a request and never retries by itself.",
                hint="Run `manage.py deliver_push --loop`, or `deliver_push` every minute, or choose a queue as "
                'WEBPUSH_KIT["TASK_BACKEND"].',
                id="webpush_kit.I001",
            )
        ]

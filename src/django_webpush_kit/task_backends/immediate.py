"""Deliver within the request, right after commit. The default, for small sites and development."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.utils.module_loading import import_string

from django_webpush_kit.task_backends.base import TaskBackend

MAX_ROWS = 100

DELIVER_TASK = "django_webpush_kit.tasks.deliver_batches"


class ImmediateBackend(TaskBackend):
    """Sends at most 100 rows of the new batches. `deliver_push` must send the rest, and retries."""

    delivers_in_requests = True

    def wake(self, batches: Sequence[UUID] = ()) -> None:
        """Deliver the batches now."""
        import_string(DELIVER_TASK)(batches, MAX_ROWS)

"""Deliver within the request, right after commit. The default, for small sites and development."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django_webpush_kit.task_backends.base import TaskBackend, deliver_now


class ImmediateBackend(TaskBackend):
    """Sends at most 100 rows of the new batches. `deliver_push` must send the rest, and retries."""

    @property
    def delivers_in_requests(self) -> bool:
        """Always."""
        return True

    def wake(self, batches: Sequence[UUID] = ()) -> None:
        """Deliver the batches now."""
        deliver_now(batches)

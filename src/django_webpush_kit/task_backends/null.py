"""Send no wake-ups. For `deliver_push --loop`, cron or systemd."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django_webpush_kit.task_backends.base import TaskBackend


class NullBackend(TaskBackend):
    """Sends no wake-ups: rows wait for the next run of `deliver_push`."""

    def wake(self, batches: Sequence[UUID] = ()) -> None:
        """Do nothing."""

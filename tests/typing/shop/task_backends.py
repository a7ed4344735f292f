from collections.abc import Sequence
from logging import getLogger
from uuid import UUID

from django_webpush_kit.task_backends import QueueBackend, TaskBackend

logger = getLogger(__name__)


class LoggingBackend(TaskBackend):
    def __init__(self, *, level: int = 20) -> None:
        self.level = level

    def wake(self, batches: Sequence[UUID] = ()) -> None:
        logger.log(self.level, "Due: %s", batches)


class LoggingQueue(QueueBackend):
    def enqueue(self) -> None:
        logger.info("Due")

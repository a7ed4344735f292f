"""Task backends that keep what they are asked for, as a host's own backend could."""

from django_webpush_kit.task_backends import QueueBackend, TaskBackend

woken = []
"""The batches of every wake-up, oldest first."""


class RecordingBackend(TaskBackend):
    def wake(self, batches=()):
        woken.append(list(batches))


class BrokenBackend(TaskBackend):
    def wake(self, batches=()):
        raise ConnectionError("the broker is away")


class CountingQueue(QueueBackend):
    is_remote = False

    def __init__(self, *, is_away=False, name=None):
        self.is_away = is_away
        self.name = name
        self.attempts = 0

    def enqueue(self):
        self.attempts += 1
        if self.is_away:
            raise ConnectionError("the broker is away")
        woken.append([])

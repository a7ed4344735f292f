"""Worker processes of the queues, started and stopped by a test."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

from django.conf import settings
from django.db import connection

PATIENCE_SECONDS = 60


@contextmanager
def worker_process(*command, log_path, **environment):
    """Run a command in a process group of its own, with this test's database and settings, until the block ends."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.task_backends.queue_settings",
        "TEST_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"],
        "TEST_DATABASE_NAME": str(connection.settings_dict["NAME"]),
        "WEBPUSH_KIT_TEST_SETTINGS": json.dumps(settings.WEBPUSH_KIT),
        **environment,
    }
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield process
        finally:
            end(process)


def end(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(condition, log_path, seconds=PATIENCE_SECONDS):
    """Wait until the condition gives something true, and return that; show the worker's log when it does not."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, log_path.read_text(errors="replace")[-3000:]
        time.sleep(0.05)
    return result

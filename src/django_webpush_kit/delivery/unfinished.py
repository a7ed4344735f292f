"""Work of this process that a failing database interrupted: it is finished when the database answers again.

Without it, outcomes that could not be written would be forgotten, and their messages repeated when the lease lapses.
Rows that were claimed and not sent would wait for that, too.
"""

from __future__ import annotations

import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import close_old_connections
from django.utils import timezone

from django_webpush_kit.conf import current_scope
from django_webpush_kit.database import is_statement_error, is_unavailable, outbox_database
from django_webpush_kit.error_reports import log_error, log_warning

MAX_RETRY_SECONDS = 5.0
"""Maximum interval between two attempts to finish the same work. The first one is a quarter of a second."""

EXIT_SECONDS = 8.0
"""How long a process that ends waits for the database. Docker kills it ten seconds after the signal."""

EXIT_RETRY_SECONDS = 0.5

_logger = logging.getLogger(__name__)


def finish_or_keep(finish: Callable[[], None], until: datetime) -> None:
    """Call `finish`. If the database fails, keep it for `finish_kept()`, and raise.

    `until` is the end of the lease: after that, other workers take the rows. `finish` may be called several times.
    """
    try:
        finish()
    except Exception as error:
        if is_passing(error):
            keep(finish, until)
        raise


def keep(finish: Callable[[], None], until: datetime) -> None:
    """Keep `finish` for `finish_kept()`."""
    _kept[_key()].append(_Kept(finish, until))


def finish_kept() -> None:
    """Try to finish what was interrupted.

    What fails again is kept, and raises nothing: a lock on one row must not stop the others. If the database does not
    answer at all, the next claim raises. In that case nobody takes the rows either, so they are kept after their lease.
    """
    for kept in list(_kept.get(_key(), ())):
        if time.monotonic() < kept.retry_at:
            continue
        try:
            kept.finish()
        except Exception as error:  # noqa: BLE001 - contained
            if is_unavailable(error) or (is_passing(error) and timezone.now() < kept.until):
                kept.note_failure()
                continue
            log_error(_logger, "Outcomes are lost, and their messages will be repeated", error=error)
        _kept[_key()].remove(kept)


@contextmanager
def finishing_before_exit() -> Iterator[None]:
    """Finish what is kept at the end of a process, unless Ctrl-C or a second signal ends it at once."""
    try:
        yield
    except Exception:
        _finish_before_exit()
        raise
    _finish_before_exit()


def _finish_before_exit() -> None:
    end = time.monotonic() + EXIT_SECONDS
    while kept := _kept.get(_key()):
        if time.monotonic() >= end:
            log_warning(_logger, "Outcomes are lost, because this process ends: their messages will be repeated")
            return
        time.sleep(EXIT_RETRY_SECONDS)
        close_old_connections()
        for one in kept:
            one.retry_at = 0.0
        finish_kept()


def is_passing(error: Exception) -> bool:
    """Return whether the same statement may succeed later: after an outage, a lock or a migration."""
    return is_unavailable(error) or is_statement_error(error)


@dataclass(slots=True, eq=False)
class _Kept:
    finish: Callable[[], None]
    until: datetime
    failures: int = 0
    retry_at: float = 0.0

    def note_failure(self) -> None:
        self.failures += 1
        self.retry_at = time.monotonic() + min(2.0 ** min(self.failures - 1, 8) / 4, MAX_RETRY_SECONDS)


def _key() -> tuple[Any, ...]:
    """Return what identifies the rows: a tenant may have tables of its own, and a forked process has no leases."""
    return os.getpid(), current_scope(), outbox_database()


_kept: defaultdict[tuple[Any, ...], list[_Kept]] = defaultdict(list)

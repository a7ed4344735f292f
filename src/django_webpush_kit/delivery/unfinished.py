"""Work of this process that a failing database interrupted: it is finished when the database answers again.

Without it, outcomes that could not be written would be forgotten, and their messages repeated when the lease lapses.
Rows that were claimed and not sent would wait for that, too.
"""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.utils import timezone

from django_webpush_kit.conf import current_scope
from django_webpush_kit.database import is_statement_error, is_unavailable, outbox_database


def finish_or_keep(finish: Callable[[], None], until: datetime) -> None:
    """Call `finish`. If the database fails, keep it for the next `finish_kept()` before `until`, and raise.

    `until` is the end of the lease: after that, other workers take the rows. `finish` may be called several times.
    """
    try:
        finish()
    except Exception as error:
        if is_passing(error):
            keep(finish, until)
        raise


def keep(finish: Callable[[], None], until: datetime) -> None:
    """Keep `finish` for the next `finish_kept()` before `until`."""
    _kept[_key()].append((finish, until))


def finish_kept() -> None:
    """Finish what was interrupted. Raises what the database raises; the rest is then kept for the next call."""
    kept = _kept.get(_key())
    while kept:
        finish, until = kept.popleft()
        if timezone.now() < until:
            finish_or_keep(finish, until)


def is_passing(error: Exception) -> bool:
    """Return whether the same statement may succeed later: after an outage, a lock or a migration."""
    return is_unavailable(error) or is_statement_error(error)


def _key() -> tuple[Any, ...]:
    """Return what identifies the rows: a tenant may have tables of its own, and a forked process has no leases."""
    return os.getpid(), current_scope(), outbox_database()


_kept: defaultdict[tuple[Any, ...], deque[tuple[Callable[[], None], datetime]]] = defaultdict(deque)

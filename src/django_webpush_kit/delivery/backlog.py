"""Let the backlog of a push service that is paused or has a rate wait in a few statements.

Rows that are due are claimed in the order of their moments, whatever their push service. If thousands of them cannot be
sent yet, claiming and postponing them a chunk at a time would take many seconds, in which nothing else is sent.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, TypeAlias

from django.db import DatabaseError, connections, transaction
from django.db.models import Q, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from django_webpush_kit import attempt_log
from django_webpush_kit.attempt_log import Step
from django_webpush_kit.database import is_refusal, outbox_database, retry_on_conflict
from django_webpush_kit.delivery.breaker import BreakerKey
from django_webpush_kit.delivery.containment import change_in_parts
from django_webpush_kit.delivery.pace import Pace
from django_webpush_kit.models import PushServiceState, get_notification_model, get_subscription_model
from django_webpush_kit.options import RowOptions
from django_webpush_kit.outbox.lifetime import deadline
from django_webpush_kit.querysets import without_index
from django_webpush_kit.states import Lane, NotificationStatus

ROWS_AT_ONCE = 2000
"""Rows that are looked at in one transaction."""

MANY = 100
"""If so many rows of a chunk have to wait, there may be a backlog."""

NO_BACKLOG_SECONDS = 5.0

LANES = (Lane.NORMAL, Lane.LOW)
"""Urgent rows are never set aside."""

Move: TypeAlias = Callable[[Sequence[Any], datetime, datetime], int]
"""Postpone rows: `move(keys, moment, now)`. Returns how many."""


class Looks:
    """Remembers for a while where this worker found no backlog, so that it does not look for one with every chunk."""

    def __init__(self) -> None:
        self._again: dict[str, float] = {}

    def take(self, push_service: str, set_aside: Callable[[], int]) -> bool:
        """Set a backlog aside, if it is time to look for one. Returns whether rows were set aside."""
        if self._again.get(push_service, 0.0) > time.monotonic():
            return False
        count = set_aside()
        if not count:
            self._again[push_service] = time.monotonic() + NO_BACKLOG_SECONDS
        return bool(count)


def queue_backlog(push_service: str, rate: float, pace: Pace, reason: str) -> tuple[int, Pace]:
    """Let due rows of a push service wait for their turn at `rate` messages per minute, behind those that wait already.

    Rows that expire too soon after that are left to be claimed. `pace` is the state of the rate as the worker knows it.
    Returns the number of rows, and the state afterwards, which is stored.
    """
    after = pace

    def moments(count: int, now: datetime) -> Sequence[datetime]:
        nonlocal after
        queued, after = after.queued(rate, count, now)
        return queued

    def attempt(move: Move) -> list[Any]:
        nonlocal after
        after = pace
        return _postpone(Q(push_service=push_service), moments, move)

    keys = _without_refused(attempt, reason)
    if keys:  # workers that do this at the same time fill the same moments, and leave none empty
        states = PushServiceState.objects.using(outbox_database()).filter(push_service=push_service, vapid_key_id="")
        earlier = states.filter(Q(waiting_until=None) | Q(waiting_until__lt=after.waiting_until))
        retry_on_conflict(lambda: earlier.update(waiting_until=after.waiting_until))
    return len(keys), after


def hold_backlog(key: BreakerKey, until: datetime, reason: str) -> int:
    """Let due rows of a paused push service and VAPID key wait until the next probe. Returns their number.

    Rows that expire too soon after that are left to be claimed.
    """
    mine = Q(push_service=key.push_service, vapid_key_id=key.vapid_key_id)
    keys = _without_refused(lambda move: _postpone(mine, lambda count, _now: [until] * count, move), reason)
    states = PushServiceState.objects.using(outbox_database()).filter(**key._asdict())
    if keys and not states.filter(paused_until=until).exists():  # the result of the probe came meanwhile
        rows = get_notification_model().objects.using(outbox_database()).pending()
        now = timezone.now()
        retry_on_conflict(lambda: rows.filter(pk__in=keys, next_attempt_at=until).update(next_attempt_at=now))
    return len(keys)


def _without_refused(postpone: Callable[[Move], list[Any]], reason: str) -> list[Any]:
    """Return `postpone(move)`. If the database refuses a row, it stays due, and is failed when it is claimed."""
    try:
        return retry_on_conflict(lambda: postpone(partial(_move, reason=reason)))
    except DatabaseError as error:
        if not is_refusal(error):
            raise
    return retry_on_conflict(lambda: postpone(partial(_move_in_parts, reason=reason)))


def _postpone(mine: Q, moments: Callable[[int, datetime], Sequence[datetime]], move: Move) -> list[Any]:
    """Postpone rows that are due to `moments(count, now)`. Returns their keys.

    The rows are locked where the database has SKIP LOCKED. On SQLite a SELECT in the same transaction before the UPDATE
    would cause lock errors.
    """
    now = timezone.now()
    has_locks = connections[outbox_database()].features.has_select_for_update_skip_locked
    postponed = []
    with transaction.atomic(using=outbox_database()) if has_locks else nullcontext():
        for lane in LANES:
            rows = _due(mine, lane, now, has_locks=has_locks)
            found = _by_moment(rows, moments(len(rows), now), now)
            with transaction.atomic(using=outbox_database(), savepoint=False):
                for moment, keys in found.items():
                    move(keys, moment, now)
            postponed += [key for keys in found.values() for key in keys]
    return postponed


def _due(mine: Q, lane: Lane, now: datetime, *, has_locks: bool) -> list[tuple[Any, ...]]:
    """Return the first due rows of a lane whose subscriptions fulfil the condition.

    Two queries instead of a join: in a new table, databases that have no statistics yet choose a join that takes
    minutes.
    """
    rows = get_notification_model().objects.using(outbox_database()).due(now).filter(lane=lane)
    if has_locks:
        rows = rows.select_for_update(skip_locked=True)
    columns = ("pk", "subscription_id", "created_at", "scheduled_for", "expires_at")
    values = rows.order_by("next_attempt_at", "pk").values_list(*columns, Cast("options", TextField()))
    first = list(values[:ROWS_AT_ONCE])
    subscriptions = get_subscription_model().objects.using(outbox_database())
    wanted = set(subscriptions.filter(mine, pk__in={row[1] for row in first}).values_list("pk", flat=True))
    return [row for row in first if row[1] in wanted]


def _by_moment(
    rows: Iterable[tuple[Any, ...]], moments: Sequence[datetime], now: datetime
) -> dict[datetime, list[Any]]:
    """Return the keys of the rows by the moment at which they are due again: well before their deadlines."""
    read_options = lru_cache(maxsize=256)(_read_options)
    found = defaultdict(list)
    for (key, _subscription, created_at, scheduled_for, expires_at, text), moment in zip(rows, moments, strict=True):
        options = read_options(text)
        if options is None:
            continue  # it fails when it is claimed
        end = deadline(max(scheduled_for or created_at, created_at), options, expires_at)
        if end is not None and moment - now <= (end - now) / 2:
            found[moment].append(key)
    return found


def _read_options(text: str) -> RowOptions | None:
    try:
        return RowOptions.from_json(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return None


def _move(keys: Sequence[Any], moment: datetime, now: datetime, reason: str) -> int:
    """Postpone the rows that are still due."""
    is_pending = without_index("status", NotificationStatus.PENDING.value)
    due = get_notification_model().objects.using(outbox_database()).filter(is_pending, next_attempt_at__lte=now)
    line = attempt_log.line(Step.WAIT, at=now, reason=reason, until=moment)
    values = {"next_attempt_at": moment, "failure_reason": reason, "attempt_log": attempt_log.with_line(line)}
    return int(due.filter(pk__in=keys).update(**values))


def _move_in_parts(keys: Sequence[Any], moment: datetime, now: datetime, reason: str) -> int:
    """Postpone the rows that the database does not refuse, each part behind a savepoint."""

    def move(part: Sequence[Any]) -> int:
        with transaction.atomic(using=outbox_database()):
            return _move(part, moment, now, reason)

    return change_in_parts(move, keys, lambda _key, _error: None)

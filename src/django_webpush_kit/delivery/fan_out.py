"""Fan out broadcasts: write outbox rows for pages of the audience, a little ahead of delivery.

The rows of a page and the new cursor are written in one transaction, so an interrupted fan-out continues without gaps
or duplicates. A page is written only if the cursor is unchanged and the broadcast is still running. So a worker whose
lease has lapsed cannot repeat a page, and a pause or cancellation is never overwritten. At most `BROADCAST_AHEAD` rows
of a broadcast are due and unsent, so that the outbox stays small. Broadcasts take turns by urgency, then age.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from django.contrib.auth import get_user_model
from django.db import Error, connections, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import (
    is_refusal,
    is_statement_error,
    is_unavailable,
    outbox_database,
    retry_on_conflict,
)
from django_webpush_kit.error_reports import error_text, log_error
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model, get_template_model
from django_webpush_kit.options import SendOptions
from django_webpush_kit.outbox.audiences import EVERYBODY, audience
from django_webpush_kit.outbox.broadcasts import IS_FREE_TEXT, count_due_rows, stored_broadcasts
from django_webpush_kit.outbox.drafts import TemplateDraft
from django_webpush_kit.outbox.pages import PAGE_SIZE, Part, active_subscriptions, is_contained, read_part
from django_webpush_kit.outbox.rates import Rate
from django_webpush_kit.outbox.rows import Counts, Page, build_page, existing, insert_page, log_failures
from django_webpush_kit.outbox.snapshots import freeze_templates, thaw, thaw_templates
from django_webpush_kit.signals import emit, notifications_queued

FAN_OUT_SECONDS = 0.5
"""Maximum time of a fan-out before the worker delivers again, because urgent messages may be pending."""

COUNT_SECONDS = 0.5
"""Maximum time to count an audience. Counting a larger audience stops with a partial count."""

COUNT_SLICE = 10_000
"""Maximum number of subscriptions read by one counting statement."""

LEASE_SECONDS = 60
"""Time after a page during which other workers skip the broadcast. It saves work; the cursor prevents duplicates."""

ERROR_PAUSE_SECONDS = 30
"""Pause before a broadcast that has written rows is retried, after its audience or template raised."""

ROOM_SHARE = 10
"""A broadcast is fanned out when 1/10 of `BROADCAST_AHEAD` is free, because small pages are expensive."""

Status = PushBroadcast.Status

_logger = logging.getLogger(__name__)


def fan_out(deadline: float = float("inf")) -> int:
    """Write the next pages of one broadcast. Returns the number of processed recipients.

    0 means that no broadcast can continue now. Stops after `FAN_OUT_SECONDS`, or at `deadline` (time.monotonic()).
    If a broadcast is empty or fails, the next one is tried.
    """
    deadline = min(deadline, time.monotonic() + FAN_OUT_SECONDS)
    processed = 0
    while not processed and (broadcast := _lease_next()) is not None:
        run = FanOut(broadcast)
        try:
            processed = run.run(deadline)
        except Exception as error:
            if _is_database_away(error):
                raise
            log_error(_logger, "Broadcast %s cannot continue", broadcast.pk, error=error)
            _suspend(broadcast, error, was_writing=run.is_writing)
        finally:
            mine = stored_broadcasts().filter(pk=broadcast.pk, lease_token=broadcast.lease_token)
            retry_on_conflict(partial(mine.update, lease_token=None, lease_until=None))
        if time.monotonic() >= deadline:
            break
    return processed


class FanOut:
    """The fan-out of one broadcast by one worker."""

    def __init__(self, broadcast: PushBroadcast) -> None:
        self.is_writing = False
        """Whether a statement of this package is running, not one of the project's audience or template."""
        self._broadcast = broadcast
        self._rate: Rate | None = None

    def run(self, deadline: float) -> int:
        """Write pages until the broadcast ends, is far enough ahead, or time is up. Returns the recipients read."""
        self._rate = Rate.parse(self._broadcast.rate) if self._broadcast.rate else None
        if self._broadcast.status == Status.PENDING:
            if not _start(self._broadcast):
                return 0
        elif self._broadcast.status != Status.RUNNING:  # it was paused or cancelled while it was leased
            return 0
        draft = _draft(self._broadcast)
        members = audience(self._broadcast.audience, self._broadcast.type, with_users=draft.needs_user)
        room = kit_settings.BROADCAST_AHEAD - count_due_rows(self._broadcast)
        processed = 0
        while size := self._page_size(room):
            part = read_part(members, after=self._after, size=size)
            if part is None:
                _finish(self._broadcast)
                break
            log_failures(part.failures)
            counts = self._write(part, draft)
            if counts is None:
                break
            processed += part.size
            room -= counts.queued
            if time.monotonic() >= deadline:
                break
        return processed

    @property
    def _after(self) -> Any:
        """Return the primary key of the last processed subscription, or None at the start."""
        cursor = self._broadcast.cursor
        return get_subscription_model()._meta.pk.to_python(cursor) if cursor else None

    def _page_size(self, room: int) -> int:
        size = max(0, min(PAGE_SIZE, room))
        if self._rate is None:
            return size
        return min(size, self._rate.allowance(self._broadcast.next_page_at, timezone.now()))

    def _write(self, part: Part, draft: TemplateDraft) -> Counts | None:
        """Write one part and move the cursor. Returns None if this worker may no longer write the broadcast.

        If the commit fails, subscriptions that were deleted meanwhile, or whose users were, are left out. If none was,
        the part is halved until the failing rows are alone.
        """
        now = timezone.now()
        page = build_page(part.subscriptions, draft, batch=self._broadcast.batch, now=now)
        try:
            return self._commit(page, part)
        except Exception as error:
            if not is_refusal(error):
                raise
            left = existing(part.subscriptions)
            if gone := len(part.subscriptions) - len(left):
                return self._write(Part(left, part.end, part.failures, part.gone + gone), draft)
            if len(part.subscriptions) <= 1:
                log_failures([error])
                return self._commit(Page([], [], now), Part([], part.end, [*part.failures, error], part.gone))
        middle = len(part.subscriptions) // 2
        halves = part.subscriptions[:middle], part.subscriptions[middle:]
        first = self._write(Part(halves[0], halves[0][-1].pk), draft)
        second = first and self._write(Part(halves[1], part.end, part.failures, part.gone), draft)
        return first + second if first and second else None

    def _commit(self, page: Page, part: Part) -> Counts | None:
        broadcast, end = self._broadcast, str(part.end)
        here = stored_broadcasts().filter(pk=broadcast.pk, status=Status.RUNNING, cursor=broadcast.cursor)
        lease = {"lease_token": broadcast.lease_token, "lease_until": _lease_end()}

        def statements() -> tuple[Counts, datetime | None] | None:
            with transaction.atomic(using=outbox_database()):
                if not here.update(cursor=end, **lease):
                    return None
                counts = insert_page(page, keep_suppressed=False) + _failed(part.failures) + Counts(failed=part.gone)
                next_page_at = self._next_page_at(counts.queued + counts.deferred)
                stored_broadcasts().filter(pk=broadcast.pk).update(
                    processed=F("processed") + part.size,
                    queued=F("queued") + counts.queued + counts.deferred,
                    suppressed=F("suppressed") + counts.suppressed,
                    failed=F("failed") + counts.failed,
                    next_page_at=next_page_at,
                    **({"failure_reason": error_text(counts.error)} if counts.error else {}),
                )
            return counts, next_page_at

        self.is_writing = True
        written = retry_on_conflict(statements)
        self.is_writing = False
        if written is None:
            return None
        counts, broadcast.next_page_at = written
        broadcast.cursor = end
        return counts

    def _next_page_at(self, rows: int) -> datetime | None:
        if self._rate is None:
            return None
        return self._rate.after(rows, self._broadcast.next_page_at, timezone.now())


def may_write_before(lane: int) -> bool:
    """Return whether a broadcast that is more urgent than this lane can write rows now."""
    for key in list(_free(timezone.now()).filter(lane__lt=lane).values_list("pk", flat=True)):
        try:
            candidate = stored_broadcasts().only("pk", "batch").filter(pk=key).first()
            if candidate is not None and _has_room(candidate):
                return True
        except Exception as error:
            if not is_contained(error):
                raise
            return True  # the fan-out fails it
    return False


def _free(now: datetime) -> QuerySet[PushBroadcast]:
    """The broadcasts that are due and have no lease."""
    return stored_broadcasts().filter(
        Q(lease_until=None) | Q(lease_until__lte=now),
        Q(status=Status.RUNNING) | Q(status=Status.PENDING) & (Q(scheduled_for=None) | Q(scheduled_for__lte=now)),
        Q(next_page_at=None) | Q(next_page_at__lte=now),
    )


def _has_room(broadcast: PushBroadcast) -> bool:
    """Return whether a part worth writing fits into the rows that a broadcast may be ahead."""
    ahead: int = kit_settings.BROADCAST_AHEAD
    return ahead - count_due_rows(broadcast) >= max(1, min(PAGE_SIZE, ahead // ROOM_SHARE))


def _lease_next() -> PushBroadcast | None:
    """Lease the most urgent, then oldest broadcast that is due, has room and has no lease."""
    now = timezone.now()
    free = _free(now)
    for key in list(free.order_by("lane", "pk").values_list("pk", flat=True)):
        token, mine = uuid4(), free.filter(pk=key)
        try:
            candidate = mine.only("pk", "batch").first()
            if candidate is None or not _has_room(candidate):
                continue
            if retry_on_conflict(partial(mine.update, lease_token=token, lease_until=_lease_end())):
                return stored_broadcasts().get(pk=key)
        except Exception as error:
            if not is_contained(error):
                raise
            log_error(_logger, "Broadcast %s cannot be read", key, error=error)
            failed = {"status": Status.FAILED, "finished_at": now, "failure_reason": error_text(error)}
            unfinished = stored_broadcasts().filter(pk=key, status__in=(Status.PENDING, Status.RUNNING))
            retry_on_conflict(partial(unfinished.update, **failed))
    return None


def _start(broadcast: PushBroadcast) -> bool:
    """Take a snapshot of the texts, count the audience and start. Returns False if it was paused or cancelled."""
    if not broadcast.texts.get(IS_FREE_TEXT):
        templates = get_template_model().objects.using(outbox_database()).filter(type=broadcast.type)
        broadcast.texts = {"templates": freeze_templates(templates)}
    draft = _draft(broadcast)
    total, everybody = _count(broadcast)
    values = {
        "status": Status.RUNNING,
        "texts": broadcast.texts,
        "lane": draft.lane,
        "started_at": timezone.now(),
        "lease_until": _lease_end(),
        "total": total,
        "suppressed": max(everybody - total, 0) if broadcast.audience == EVERYBODY else 0,
    }
    pending = stored_broadcasts().filter(pk=broadcast.pk, status=Status.PENDING)
    if not retry_on_conflict(lambda: pending.update(**values)):
        return False
    broadcast.refresh_from_db(using=outbox_database(), fields=[*values, "cursor", "next_page_at"])
    return True


def _draft(broadcast: PushBroadcast) -> TemplateDraft:
    return TemplateDraft(
        broadcast.type,
        thaw(broadcast.context),
        SendOptions.parse(thaw(broadcast.options)),
        templates=thaw_templates(broadcast.texts["templates"]),
    )


def _count(broadcast: PushBroadcast) -> tuple[int, int]:
    """Count the audience and all active subscriptions in slices, for at most `COUNT_SECONDS`."""
    members = audience(broadcast.audience, broadcast.type)
    everybody = active_subscriptions()
    keys = everybody.order_by("pk").values_list("pk", flat=True)
    counted = total = 0
    after = None
    end = time.monotonic() + COUNT_SECONDS
    while time.monotonic() < end:
        ahead = keys if after is None else keys.filter(pk__gt=after)
        until = ahead[COUNT_SLICE - 1 : COUNT_SLICE].first()
        try:
            total += _in_range(members, after, until).count()
        except Exception as error:
            if not is_contained(error):
                raise
        counted += COUNT_SLICE if until is not None else ahead.count()
        if until is None:
            break
        after = until
    return total, counted


def _in_range(members: QuerySet[Any], after: Any, until: Any) -> QuerySet[Any]:
    if after is not None:
        members = members.filter(pk__gt=after)
    return members if until is None else members.filter(pk__lte=until)


def _finish(broadcast: PushBroadcast) -> None:
    """End a broadcast at the end of its audience. It has failed if no row could be written."""
    database = outbox_database()
    broadcast.refresh_from_db(using=database, fields=["queued", "failed", "processed"])
    is_failed = broadcast.failed and not broadcast.queued
    here = stored_broadcasts().filter(pk=broadcast.pk, status=Status.RUNNING, cursor=broadcast.cursor)
    values = {
        "status": Status.FAILED if is_failed else Status.COMPLETED,
        "total": F("processed"),
        "finished_at": timezone.now(),
    }
    if retry_on_conflict(lambda: here.update(**values)):
        broadcast.refresh_from_db(using=database)
        emit(notifications_queued, get_notification_model(), batch=broadcast.batch, result=broadcast)


def _suspend(broadcast: PushBroadcast, error: Exception, *, was_writing: bool) -> None:
    """Fail a broadcast that has written no rows. Retry any other one after a pause."""
    now = timezone.now()
    running = stored_broadcasts().filter(pk=broadcast.pk, status__in=(Status.PENDING, Status.RUNNING))
    reason = {"failure_reason": error_text(error)}
    # a timeout, a lock or a lost connection; or a migration, but not a query of the project that never works
    is_passing = is_unavailable(error) or (is_statement_error(error) and (was_writing or _is_table_missing()))

    def statements() -> None:
        failed = {"status": Status.FAILED, "finished_at": now, **reason}
        if is_passing or not running.filter(queued=0).update(**failed):
            running.update(next_page_at=now + timedelta(seconds=ERROR_PAUSE_SECONDS), **reason)

    retry_on_conflict(statements)


def _is_table_missing() -> bool:
    """Return whether the database refuses to read a table, whatever the audience is."""
    database = outbox_database()
    models = (get_subscription_model(), get_notification_model(), get_template_model(), get_user_model())
    try:
        for model in models:
            model._base_manager.using(database).order_by().first()
    except Exception as error:  # noqa: BLE001 - a stored value that cannot be read is no missing table
        return is_statement_error(error)
    return False


def _failed(failures: Sequence[Exception]) -> Counts:
    return Counts(failed=len(failures), error=failures[0] if failures else None)


def _lease_end() -> datetime:
    return timezone.now() + timedelta(seconds=LEASE_SECONDS)


def _is_database_away(error: Exception) -> bool:
    return isinstance(error, Error) and not connections[outbox_database()].is_usable()

"""Start, pause, resume and cancel broadcasts, and measure their progress. `delivery.fan_out` writes their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth import get_user_model
from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import atomic_with_retry, outbox_database, retry_on_conflict, rows_of
from django_webpush_kit.exceptions import InvalidOption
from django_webpush_kit.models import PushBroadcast, get_notification_model
from django_webpush_kit.options import SendOptions
from django_webpush_kit.outbox import idempotency
from django_webpush_kit.outbox.audiences import check_audience
from django_webpush_kit.outbox.drafts import TemplateDraft
from django_webpush_kit.outbox.rates import Rate
from django_webpush_kit.outbox.snapshots import check_storable, freeze, freeze_templates
from django_webpush_kit.states import UNFINISHED, Lane, NotificationStatus
from django_webpush_kit.task_backends import wake_on_commit
from django_webpush_kit.templating.context import plain_context

Status = PushBroadcast.Status

ABOUT_THE_CALL = frozenset({"scheduled_for", "idempotency_key"})
"""Options stored in columns of a broadcast, or used only by the call itself."""

IS_FREE_TEXT = "is_free_text"
"""Key of `PushBroadcast.texts` that keeps the templates stored there: they are not those of the type."""


def start(
    type: str,  # noqa: A002  # the field's own name
    audience: str,
    context: Mapping[str, Any] | None,
    options: Mapping[str, Any],
    *,
    rate: str | None = None,
    created_by: Any = None,
    free_text: Any = None,
) -> PushBroadcast:
    """Check a broadcast and store it. If the idempotency key was used before, return the first broadcast.

    `free_text` is an unsaved template row: the broadcast sends its texts instead of the type's templates.
    """
    parsed = SendOptions.parse(options)
    broadcast = check(type, audience, context, parsed, rate=rate, free_text=free_text)
    if created_by is not None and not isinstance(created_by, get_user_model()):
        raise InvalidOption(f"created_by must be a user or None, not {created_by.__class__.__name__}")
    broadcast.created_by = created_by
    return _store(broadcast, parsed.idempotency_key)


@atomic_with_retry
def _store(broadcast: PushBroadcast, idempotency_key: str | None) -> PushBroadcast:
    key, is_new = idempotency.reserve(idempotency_key, broadcast.batch)
    if key is not None and not is_new:
        return _started_before(key.batch, idempotency_key)
    broadcast.pk = None  # an attempt that was rolled back may have left one
    broadcast.save(force_insert=True, using=outbox_database())
    wake_on_commit(broadcast.batch, using=outbox_database())
    return broadcast


def check(
    type: str,  # noqa: A002  # the field's own name
    audience: str,
    context: Mapping[str, Any] | None,
    options: SendOptions,
    *,
    rate: str | None = None,
    free_text: Any = None,
) -> PushBroadcast:
    """Return the unsaved broadcast for these arguments. Raises for the first invalid one."""
    check_audience(audience)
    if rate is not None:
        Rate.parse(rate)
    draft = TemplateDraft(type, context, options, templates=None if free_text is None else [free_text])
    check_storable(context, "context")
    draft.check()
    return PushBroadcast(
        batch=uuid4(),
        type=draft.type,
        audience=audience,
        context=freeze(plain_context(context or {})),
        options=freeze(_stored(options)),
        texts={} if free_text is None else {"templates": freeze_templates([free_text]), IS_FREE_TEXT: True},
        scheduled_for=options.scheduled_for,
        lane=draft.lane,
        rate=rate or "",
    )


def stored_broadcasts() -> QuerySet[PushBroadcast]:
    """All broadcasts, in the database of the outbox."""
    return PushBroadcast.objects.using(outbox_database())


def pause(broadcast: PushBroadcast) -> bool:
    """Stop a fan-out until it is resumed. Returns False if it has ended or was deleted."""
    return _switch(broadcast, (Status.PENDING, Status.RUNNING), status=Status.PAUSED)


def resume(broadcast: PushBroadcast) -> bool:
    """Continue a paused or failed fan-out where it stopped. Returns False if it is neither, or was deleted.

    A broadcast that failed before it wrote a row starts over, with the current templates.
    """
    if not _refresh(broadcast) or broadcast.status not in (Status.PAUSED, Status.FAILED):
        return False
    values: dict[str, Any] = {"failure_reason": "", "finished_at": None, "next_page_at": None}
    if broadcast.status == Status.FAILED and not broadcast.queued:
        values |= {"started_at": None, "cursor": "", "processed": 0, "failed": 0, "suppressed": 0}
    has_started = values.get("started_at", broadcast.started_at) is not None
    values["status"] = Status.RUNNING if has_started else Status.PENDING
    resumed = _switch(broadcast, (broadcast.status,), **values)
    if resumed:
        wake_on_commit(broadcast.batch, using=outbox_database())
    return resumed


def stop(batch: UUID) -> None:
    """Cancel the broadcast of this batch, unless it has ended."""
    unfinished = stored_broadcasts().filter(batch=batch).exclude(status__in=(Status.COMPLETED, Status.FAILED))
    unfinished.update(status=Status.CANCELLED, finished_at=timezone.now())


@dataclass(frozen=True, slots=True)
class BroadcastProgress:
    """The progress of a broadcast.

    `total` recipients are in the audience, `processed` of them were read; for these, `written` rows were written.
    `ended` rows came to an end: `accepted` by a push service, the others failed, expired or were cancelled. `rate` is
    ended rows a second since the start, `remaining` the seconds left at that rate; None while unknown, and when the
    broadcast is paused, cancelled, failed or finished. `by_status` counts the rows by status. `pruned` rows ended, but
    are not stored any more. The last pending row is due at `latest_due`.
    """

    total: int = 0
    processed: int = 0
    written: int = 0
    ended: int = 0
    accepted: int = 0
    rate: float | None = None
    remaining: float | None = None
    by_status: Mapping[str, int] = field(default_factory=dict, compare=False)
    latest_due: datetime | None = field(default=None, compare=False)

    @property
    def pruned(self) -> int:
        """Return the number of rows that were deleted since they were written."""
        return max(self.written - sum(self.by_status.values()), 0)

    @property
    def done(self) -> int:
        """Return the number of recipients whose row has ended, or for whom none was written."""
        return self.processed - self.written + self.ended

    @property
    def waiting(self) -> int:
        """Return the number of rows that are pending or being sent."""
        return self.written - self.ended

    @property
    def unaccepted(self) -> int:
        """Return the number of rows that ended without being accepted by a push service."""
        return max(self.ended - self.accepted - self.pruned, 0)


def progress(broadcast: PushBroadcast) -> BroadcastProgress:
    """Return the current progress of a broadcast."""
    broadcast.refresh_from_db(using=outbox_database())
    rows = rows_of(get_notification_model()).filter(batch=broadcast.batch)
    # not grouped, for which MariaDB would read the whole outbox in the order of an index that begins with the status
    counts = {status: Count("pk", filter=Q(status=status)) for status in NotificationStatus.values}
    found = rows.aggregate(**counts, latest_due=Max("next_attempt_at", filter=Q(status=NotificationStatus.PENDING)))
    latest_due = found.pop("latest_due")
    by_status = {status: count for status, count in found.items() if count}
    waiting = sum(by_status.get(status, 0) for status in UNFINISHED)
    ended = max(broadcast.queued - waiting, 0)
    unread = max(broadcast.total - broadcast.processed, 0) if broadcast.status == Status.RUNNING else 0
    now, rate, remaining = timezone.now(), None, None
    if broadcast.started_at and ended and waiting + unread and broadcast.status in (Status.RUNNING, Status.COMPLETED):
        rate = ended / max((now - broadcast.started_at).total_seconds(), 0.001)
        # rows that wait for quiet hours or local time are sent no earlier, whatever the rate
        until_due = (latest_due - now).total_seconds() if latest_due else 0
        remaining = max((waiting + unread) / rate, until_due)
    return BroadcastProgress(
        total=max(broadcast.total, broadcast.processed),
        processed=broadcast.processed,
        written=broadcast.queued,
        ended=ended,
        accepted=by_status.get(NotificationStatus.SENT, 0),
        rate=rate,
        remaining=remaining,
        by_status=by_status,
        latest_due=latest_due,
    )


def count_due_rows(broadcast: PushBroadcast) -> int:
    """Return the number of due, unsent rows of a broadcast, at most `BROADCAST_AHEAD`."""
    return due_rows(broadcast).count()


def due_rows(broadcast: PushBroadcast) -> QuerySet[Any]:
    """Return the due, unsent rows of a broadcast, at most `BROADCAST_AHEAD`."""
    rows = get_notification_model().objects.using(outbox_database())
    # naming all lanes lets the database use the index of the outbox
    due: QuerySet[Any] = rows.due().filter(batch=broadcast.batch, lane__in=Lane.values)
    return due.values("pk")[: kit_settings.BROADCAST_AHEAD]


def _started_before(batch: UUID, key: str | None) -> PushBroadcast:
    first = stored_broadcasts().filter(batch=batch).first()
    if first is None:
        raise InvalidOption(f"idempotency_key {key!r} was used for send(), not for a broadcast")
    return first


def _stored(options: SendOptions) -> dict[str, Any]:
    given = {option.name: getattr(options, option.name) for option in fields(options)}
    return {name: value for name, value in given.items() if value is not None and name not in ABOUT_THE_CALL}


def _switch(broadcast: PushBroadcast, before: tuple[str, ...], **values: Any) -> bool:
    switched = stored_broadcasts().filter(pk=broadcast.pk, status__in=before)
    changed = retry_on_conflict(lambda: switched.update(**values))
    return _refresh(broadcast) and bool(changed)


def _refresh(broadcast: PushBroadcast) -> bool:
    """Read a broadcast again. Returns False if it was deleted."""
    try:
        broadcast.refresh_from_db(using=outbox_database())
    except PushBroadcast.DoesNotExist:
        return False
    return True

"""Build and insert the outbox rows of one page of subscriptions. A failure affects only its own recipient."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import Error, IntegrityError, connections, transaction
from django.db.models import Model

from django_webpush_kit import attempt_log
from django_webpush_kit.attempt_log import Step
from django_webpush_kit.database import forget_keys, is_refusal, outbox_database, rows_of
from django_webpush_kit.error_reports import error_text, log_error
from django_webpush_kit.models import get_notification_model, get_subscription_model, get_template_model
from django_webpush_kit.outbox.drafts import Draft
from django_webpush_kit.outbox.lifetime import deadline
from django_webpush_kit.states import Lane, NotificationStatus
from django_webpush_kit.subscriptions.preferences import Decision, decide, recipient_zone, wall_clock_instant

INSERT_SIZE = 500

QUIET_HOURS = "Quiet hours"

SUPERSEDED = "Superseded by a newer notification with the same topic"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of recipients by result: due now, due later, opted out, failed. `error` is the first exception."""

    queued: int = 0
    deferred: int = 0
    suppressed: int = 0
    failed: int = 0
    error: Exception | None = None

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.queued + other.queued,
            self.deferred + other.deferred,
            self.suppressed + other.suppressed,
            self.failed + other.failed,
            self.error or other.error,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page before they are inserted, and the exceptions of recipients without a row."""

    rows: list[Any]
    failures: list[Exception]
    now: datetime

    @property
    def pending(self) -> list[Any]:
        """The rows to send."""
        return [row for row in self.rows if row.status == NotificationStatus.PENDING]


class Failures:
    """The number of recipients that were skipped by each kind of exception, and the first exception of each."""

    def __init__(self) -> None:
        self._kinds: dict[type[Exception], tuple[Exception, int]] = {}

    def add(self, errors: Iterable[Exception]) -> None:
        """Count skipped recipients."""
        for error in errors:
            first, count = self._kinds.get(type(error), (error, 0))
            self._kinds[type(error)] = first, count + 1

    def log(self) -> None:
        """Log one line with a traceback for each kind of exception."""
        for error, count in self._kinds.values():
            noun = "recipient was" if count == 1 else "recipients were"
            log_error(_logger, "%d %s skipped: %s", count, noun, error_text(error), error=error)


def log_failures(errors: Iterable[Exception]) -> None:
    """Log the exceptions of recipients that were skipped."""
    failures = Failures()
    failures.add(errors)
    failures.log()


Note: TypeAlias = Callable[[Sequence[Exception]], None]


def build_page(
    subscriptions: Sequence[Any], draft: Draft, *, batch: UUID, now: datetime, note: Note = log_failures
) -> Page:
    """Render the message for each subscription. An exception fails only its own recipient; `note` gets it."""
    model = get_notification_model()
    rows: list[Any] = []
    failures: list[Exception] = []
    position = 0
    while position < len(subscriptions):
        try:
            with _savepoint(draft):
                for subscription in subscriptions[position:]:
                    try:
                        rows.append(_row(model, subscription, draft, batch, now))
                    except Error:
                        raise
                    except Exception as error:  # noqa: BLE001  # stored data and the project's code may raise anything
                        failures.append(error)
                    position += 1
        except Error as error:
            if not connections[outbox_database()].is_usable():
                raise
            failures.append(error)
            position += 1
    note(failures)
    return Page(rows, failures, now)


def insert_page(page: Page, *, keep_suppressed: bool = True, note: Note = log_failures) -> Counts:
    """Insert the rows of a page in the caller's transaction and return the counts.

    Suppressed recipients get a row with the reason. If `keep_suppressed` is False, they are only counted. `note` gets
    the exceptions of rows that the database refused.
    """
    refused: list[tuple[Any, Exception]] = []
    rows = page.rows if keep_suppressed else page.pending
    _forget_deleted_templates(rows)
    inserted = _insert(rows, page.now, refused)
    errors = [error for row, error in refused if not _has_lost_its_recipient(row, error)]
    note(errors)
    pending = [row for row in inserted if row.status == NotificationStatus.PENDING]
    queued = sum(row.next_attempt_at <= page.now for row in pending)
    suppressed = len(page.rows) - len(pending) - len(refused)
    failed = len(page.failures) + len(refused)
    return Counts(queued, len(pending) - queued, suppressed, failed, next(iter(page.failures + errors), None))


def lock_recipients(subscriptions: list[Any]) -> list[Any]:
    """Return the subscriptions that still exist, locked against deletion until the end of the transaction.

    PostgreSQL checks the foreign keys of a row only at commit, so a deleted subscription or user would roll back the
    whole transaction. MySQL and MariaDB check when a row is inserted. SQLite has one writer at a time.
    """
    if connections[outbox_database()].vendor != "postgresql":
        return subscriptions
    return _remaining(subscriptions, _lock)


def existing(subscriptions: Sequence[Any]) -> list[Any]:
    """Return the subscriptions that still exist, and whose users do."""
    return _remaining(subscriptions, _existing)


def _remaining(subscriptions: Sequence[Any], find: Callable[[type[Model], set[Any]], set[Any]]) -> list[Any]:
    """Return the subscriptions whose key, and that of their user, is among those that `find` finds."""
    keys = find(get_subscription_model(), {subscription.pk for subscription in subscriptions})
    users = find(get_user_model(), {subscription.user_id for subscription in subscriptions} - {None})
    return [one for one in subscriptions if one.pk in keys and (one.user_id is None or one.user_id in users)]


def _existing(model: type[Model], keys: set[Any]) -> set[Any]:
    rows = model._base_manager.using(outbox_database()).filter(pk__in=keys)
    return set(rows.values_list("pk", flat=True))


def _savepoint(draft: Draft) -> AbstractContextManager[Any]:
    """Return a savepoint if rendering calls the project's code: a failed query there must not break the transaction."""
    database = outbox_database()
    is_needed = draft.needs_user and connections[database].in_atomic_block
    return transaction.atomic(using=database) if is_needed else nullcontext()


def _row(model: Any, subscription: Any, draft: Draft, batch: UUID, now: datetime) -> Any:
    content = draft.content_for(subscription)
    options = content.options
    scheduled = options.scheduled_for
    if options.scheduled_local is not None:
        scheduled = wall_clock_instant(options.scheduled_local, recipient_zone(subscription.timezone))
    due = max(scheduled, now) if scheduled else now
    decision = Decision()
    if not options.critical:
        decision = decide(
            subscription.preferences,
            subscription.timezone,
            type=draft.type,
            due=due,
            deadline=deadline(due, options, options.expires_at),
        )
    return model(
        subscription_id=subscription.pk,
        template_id=content.template_id,
        user_id=subscription.user_id,
        batch=batch,
        type=draft.type,
        language=content.language,
        title=content.title,
        body=content.body,
        data=options.data or {},
        options=content.row_options,
        topic=options.topic or "",
        status=NotificationStatus.SUPPRESSED if decision.suppressed else NotificationStatus.PENDING,
        failure_reason=decision.suppressed,
        lane=Lane.for_urgency(options.urgency),
        scheduled_for=scheduled,
        next_attempt_at=decision.until or due,
        expires_at=options.expires_at,
        max_retries=content.max_retries,
        created_at=now,
        attempt_log=_first_line(decision, now),
    )


def _forget_deleted_templates(rows: list[Any]) -> None:
    """Remove the references to templates that were deleted after they were read: the texts are in the rows."""
    keys = {row.template_id for row in rows} - {None}
    if not keys:
        return
    if connections[outbox_database()].vendor == "postgresql":
        keys -= _lock(get_template_model(), keys)
    else:
        keys -= set(rows_of(get_template_model()).filter(pk__in=keys).values_list("pk", flat=True))
    for row in rows:
        if row.template_id in keys:
            row.template_id = None


def _has_lost_its_recipient(row: Any, error: Exception) -> bool:
    """Return whether the database refused a row because its subscription or user was deleted meanwhile.

    Reads with a lock, because other reads may not see the deletion under REPEATABLE READ.
    """
    if not isinstance(error, IntegrityError):
        return False
    return any(
        key is not None
        and model._base_manager.using(outbox_database()).select_for_update().filter(pk=key).first() is None
        for model, key in ((get_subscription_model(), row.subscription_id), (get_user_model(), row.user_id))
    )


def _first_line(decision: Decision, now: datetime) -> str:
    if decision.until is None:
        return ""
    return attempt_log.line(Step.WAIT, at=now, reason=QUIET_HOURS, until=decision.until)


def _insert(rows: list[Any], now: datetime, refused: list[tuple[Any, Exception]]) -> list[Any]:
    """Insert and return the rows. If the database refuses a page, halve it until the refused rows are isolated."""
    if not rows:
        return []
    database = outbox_database()
    try:
        with transaction.atomic(using=database):
            _supersede(rows, now)
            forget_keys(rows)
            get_notification_model().objects.using(database).bulk_create(rows, batch_size=INSERT_SIZE)
    except Exception as error:
        if not is_refusal(error):
            raise
        if len(rows) == 1:
            refused.append((rows[0], error))
            return []
        middle = len(rows) // 2
        return _insert(rows[:middle], now, refused) + _insert(rows[middle:], now, refused)
    return rows


def _supersede(rows: Sequence[Any], now: datetime) -> None:
    """Cancel rows with the same subscription and topic that would still be pending when the new rows are due."""
    replaced: dict[tuple[str, datetime | None], list[Any]] = {}
    for row in rows:
        if row.topic and row.status == NotificationStatus.PENDING:
            is_later = row.scheduled_for is not None and row.scheduled_for > now
            replaced.setdefault((row.topic, row.scheduled_for if is_later else None), []).append(row.subscription_id)
    for (topic, due), subscriptions in replaced.items():
        older = get_notification_model().objects.using(outbox_database())
        older = older.filter(topic=topic, subscription__in=subscriptions)
        (older if due is None else older.filter(next_attempt_at__gte=due)).cancel(SUPERSEDED)


def _lock(model: type[Model], keys: set[Any]) -> set[Any]:
    """Return the existing keys, locked with FOR KEY SHARE, which blocks only deletion. Django does not offer it."""
    if not keys:
        return keys
    database = outbox_database()
    rows = model._base_manager.using(database).filter(pk__in=keys).order_by("pk").values_list("pk")
    sql, parameters = rows.query.get_compiler(using=database).as_sql()
    with connections[database].cursor() as cursor:
        cursor.execute(f"{sql} FOR KEY SHARE", parameters)
        count = len(cursor.fetchall())
    return keys if count == len(keys) else {key for (key,) in rows}

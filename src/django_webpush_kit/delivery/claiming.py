"""Claim due rows under a lease, read them as plain values, and return rows whose lease has lapsed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID, uuid4

from django.db import DatabaseError, connections, transaction
from django.db.models import Expression, F, QuerySet, TextField
from django.db.models.functions import Cast, Least
from django.utils import timezone

from django_webpush_kit import attempt_log
from django_webpush_kit.attempt_log import Step
from django_webpush_kit.conf import MAX_LEASE_SECONDS, kit_settings
from django_webpush_kit.database import clock_difference, database_now, is_refusal, outbox_database, retry_on_conflict
from django_webpush_kit.delivery.containment import ErrorLog, change_all, change_in_parts, raise_if_shared
from django_webpush_kit.delivery.transport import request_seconds
from django_webpush_kit.delivery.unfinished import is_passing, keep
from django_webpush_kit.exceptions import InvalidOption
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.options import RowOptions
from django_webpush_kit.outbox.lifetime import deadline
from django_webpush_kit.outbox.payloads import StoredMessage
from django_webpush_kit.querysets import without_index
from django_webpush_kit.states import LANES, Lane, NotificationStatus
from django_webpush_kit.subscriptions.active_users import is_active_alone, is_refused_by_database, user_is_active
from django_webpush_kit.tokens import identity_text

LAPSES_BEFORE_ISOLATION = 2
"""Number of lapsed leases after which a row is claimed alone."""

MAX_COUNTED = 1_000_000
"""`claims` is not counted further: with a row at the largest integer, the UPDATE would fail for all rows of a claim."""

SHARE_FOR_RECORDING = 0.05
"""Fraction of the lease reserved for writing results after the last response may arrive."""

LAPSED_AT_ONCE = 1000
"""Rows returned per statement. This limits how long a statement holds locks."""

LONGEST_LEASE = timedelta(seconds=2 * MAX_LEASE_SECONDS)
"""No worker takes a longer lease, even if its clock is a little ahead."""

Turn: TypeAlias = Literal["first", "last", "never"]
"""When isolated rows are claimed: before all others, after all others, or never."""

QUARANTINED = "Quarantined: every worker that tried to send it died"


class Lease(NamedTuple):
    """The right to send a set of rows until `ends_at`."""

    token: UUID
    ends_at: datetime


class Row(NamedTuple):
    """A claimed outbox row with its subscription. Rows may share their message and preferences: these are only read.

    `problem` says why the stored values cannot be sent, or is "". A row with a problem has empty data and options.
    """

    message: StoredMessage
    problem: str
    preferences: dict[str, Any]
    batch: UUID
    pk: Any
    type: str
    topic: str
    retry_count: int
    max_retries: int
    created_at: datetime
    scheduled_for: datetime | None
    expires_at: datetime | None
    response_status: int | None
    user_id: Any
    subscription_id: Any
    endpoint: str
    p256dh: str
    auth: str
    is_active: bool
    deactivation_reason: str
    expiration_time: datetime | None
    owner_id: Any
    timezone: str
    push_service: str
    vapid_key_id: str
    user_is_active: bool | None

    @property
    def options(self) -> RowOptions:
        """The options of the message."""
        return self.message.options

    @property
    def identity(self) -> str:
        """The identity of the notification in payloads."""
        return identity_text(self.pk, self.batch)

    @property
    def due(self) -> datetime:
        """The time at which the row was first due."""
        return self.created_at if self.scheduled_for is None else max(self.scheduled_for, self.created_at)

    @property
    def deadline(self) -> datetime | None:
        """The time after which the row must not be sent. None: the row has a single attempt at any time."""
        return deadline(self.due, self.options, self.expires_at)


class UnreadableRow(NamedTuple):
    """A claimed outbox row whose stored values cannot be read, with the exception."""

    pk: Any
    error: Exception


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows claimed together. No request may start after `stop_at` (time.monotonic()).

    `is_last` tells the engine to stop claiming: the chunk is an isolated row, or has fewer rows than requested. `lane`
    is the lane of its least urgent rows.
    """

    lease: Lease
    rows: list[Row]
    unreadable: list[UnreadableRow]
    stop_at: float
    is_last: bool
    lane: int = Lane.ISOLATED


def return_lapsed(now: datetime | None = None) -> int:
    """Set rows whose lease has lapsed to `pending`. Rows that lapse repeatedly are isolated, then failed.

    Returns the number of changed rows.
    """
    now = now or timezone.now()
    lapsed = (
        get_notification_model()
        .objects.using(outbox_database())
        .filter(status=NotificationStatus.SENDING, lane__in=Lane.values, next_attempt_at__lte=now)
    )
    keys = list(lapsed.values_list("pk", flat=True)[:LAPSED_AT_ONCE])
    if not keys:
        return 0
    given_up = LAPSES_BEFORE_ISOLATION + kit_settings.MAX_CLAIMS
    logged = {"attempt_log": attempt_log.with_line(attempt_log.line(Step.LAPSE, at=now))}
    back = {"status": NotificationStatus.PENDING, "lease_token": None, **logged}

    def give_back(keys: Sequence[Any]) -> int:
        with transaction.atomic(using=outbox_database()):
            mine = lapsed.filter(pk__in=keys)
            failed = mine.filter(claims__gte=given_up).update(
                status=NotificationStatus.FAILED, lease_token=None, failure_reason=QUARANTINED, **logged
            )
            isolated = mine.filter(claims__gte=LAPSES_BEFORE_ISOLATION).update(lane=Lane.ISOLATED, **back)
            return failed + isolated + mine.update(**back)

    return change_in_parts(lambda keys: retry_on_conflict(partial(give_back, keys)), keys, partial(_end, lapsed))


def shorten_leases() -> int:
    """Let leases that end too far in the future end after the usual time. Returns the number of changed rows.

    A worker whose clock is ahead took them, and without it their rows would wait until then. The clock of the database
    decides, because this machine's may be wrong, too.
    """
    difference = clock_difference()
    if difference is None:
        return 0
    now, usual = database_now(difference), timedelta(seconds=kit_settings.LEASE_SECONDS)
    rows = get_notification_model().objects.using(outbox_database())
    late = rows.filter(next_attempt_at__gt=now + LONGEST_LEASE)
    too_long = late.filter(status=NotificationStatus.SENDING, lane__in=Lane.values)
    still_sending = late.filter(without_index("status", NotificationStatus.SENDING.value))

    def shorten(keys: Sequence[Any]) -> int:
        return int(retry_on_conflict(partial(still_sending.filter(pk__in=keys).update, next_attempt_at=now + usual)))

    return change_all(too_long.order_by("lane", "next_attempt_at", "pk"), shorten, LAPSED_AT_ONCE)


def claim(
    size: int,
    *,
    batch: UUID | None = None,
    stop_at: float = float("inf"),
    isolated: Turn = "last",
) -> Chunk:
    """Claim up to `size` due rows for the length of a lease, the most urgent first.

    Rows whose lease lapsed twice are claimed alone, so that a row that crashes its worker affects no other row.
    `isolated` says when: after all other due rows, before them, or never.
    """
    now = timezone.now()
    lease = Lease(uuid4(), now + timedelta(seconds=kit_settings.LEASE_SECONDS))
    longest = request_seconds() + kit_settings.LEASE_SECONDS * SHARE_FOR_RECORDING
    stop_at = min(stop_at, time.monotonic() + kit_settings.LEASE_SECONDS - longest)
    due = get_notification_model().objects.using(outbox_database()).due(now)
    if batch is not None:
        due = due.filter(batch=batch)
    alone = due.filter(lane=Lane.ISOLATED)
    reached: int = Lane.ISOLATED
    try:
        taken = taken_alone = _take(alone, 1, lease) if isolated == "first" else 0
        if not taken:
            for lane in LANES:
                if taken < size:
                    taken += _take(due.filter(lane=lane), size - taken, lease)
                    reached = lane
        if not taken and isolated == "last":
            taken = taken_alone = _take(alone, 1, lease)
        rows, unreadable = retry_on_conflict(lambda: read_rows(lease)) if taken else ([], [])
    except DatabaseError as error:
        if is_passing(error):
            keep(partial(_give_back, lease), lease.ends_at)  # some rows may have been leased
        raise
    return Chunk(lease, rows, unreadable, stop_at, is_last=bool(taken_alone) or taken < size, lane=reached)


def _take(due: QuerySet[Any], size: int, lease: Lease) -> int:
    """Lease the first `size` rows of one lane, in index order. Returns their number.

    If the database refuses this because of some rows, these are failed, and the others are leased.
    """
    try:
        return _lease_first(due, size, lease)
    except DatabaseError as error:
        if not is_refusal(error):
            raise
    taken = passed = 0  # a row that can be neither leased nor failed stays in front
    while taken < size:
        keys = list(_first(due, size - taken, after=passed))
        if not keys:
            break
        leased = change_in_parts(
            lambda part: _lease_first(due.filter(pk__in=part), len(part), lease), keys, partial(_end, due)
        )
        taken += leased
        passed += len(keys) - leased
    return taken


def _lease_first(due: QuerySet[Any], size: int, lease: Lease) -> int:
    """Lease the first `size` rows in one transaction.

    With SKIP LOCKED, workers skip rows locked by other workers. Otherwise one conditional UPDATE decides which worker
    gets a row, because on SQLite a SELECT before the UPDATE causes lock errors. There, only the subquery tests the
    status: a second test next to the keys would make SQLite read every pending row.
    """
    features = connections[outbox_database()].features
    rows = due.model.objects.using(outbox_database())
    values = {
        "status": NotificationStatus.SENDING,
        "lease_token": lease.token,
        "claims": Least(F("claims"), MAX_COUNTED) + 1,
        "next_attempt_at": lease.ends_at,
    }

    def statements() -> int:
        with transaction.atomic(using=outbox_database(), durable=True):
            if features.has_select_for_update_skip_locked:
                chosen = rows.filter(pk__in=list(_first(due.select_for_update(skip_locked=True), size)))
            elif features.allow_sliced_subqueries_with_in:
                chosen = rows.filter(pk__in=_first(due, size))
            else:
                chosen = rows.pending().filter(pk__in=list(_first(due, size)))
            return int(chosen.update(**values))

    return retry_on_conflict(statements)


def _first(due: QuerySet[Any], size: int, *, after: int = 0) -> QuerySet[Any]:
    """Return the keys of the first `size` rows of one lane in index order, after the first `after`."""
    return due.order_by("next_attempt_at", "pk").values_list("pk", flat=True)[after : after + size]


def _end(rows: QuerySet[Any], key: Any, error: DatabaseError) -> None:
    """Fail a row that the database refuses to lease or to return, if it accepts that. Otherwise the row is passed over.

    `claims` may be the value that violates a constraint.
    """
    reason = ErrorLog().failure_reason(key, "Claiming the row", error)
    values = {"status": NotificationStatus.FAILED, "lease_token": None, "claims": 0, "failure_reason": reason}
    try:
        retry_on_conflict(lambda: rows.filter(pk=key).update(**values))
    except DatabaseError as refusal:
        if not is_refusal(refusal):
            raise


_TEXT_COLUMNS = ("data", "options", "subscription__preferences", "batch")
"""Read as text. The rows of one call usually have the same values, so each text is parsed once."""

_MESSAGE_COLUMNS = ("title", "body", "language")

_COLUMNS = (
    "pk",
    "type",
    "topic",
    "retry_count",
    "max_retries",
    "created_at",
    "scheduled_for",
    "expires_at",
    "response_status",
    "user_id",
    "subscription_id",
    "subscription__endpoint",
    "subscription__p256dh_key",
    "subscription__auth_key",
    "subscription__is_active",
    "subscription__deactivation_reason",
    "subscription__expiration_time",
    "subscription__user_id",
    "subscription__timezone",
    "subscription__push_service",
    "subscription__vapid_key_id",
)

_TEXTS_KEPT = 256


def _give_back(lease: Lease) -> None:
    """Return the rows of a lease that were not read, as if they had not been claimed."""
    values = {"status": NotificationStatus.PENDING, "lease_token": None, "next_attempt_at": timezone.now()}
    retry_on_conflict(lambda: _leased(lease).update(claims=F("claims") - 1, **values))


def _leased(lease: Lease) -> QuerySet[Any]:
    """Return the rows of a lease. They share its end, so the index of the outbox finds them."""
    rows: QuerySet[Any] = get_notification_model().objects.using(outbox_database())
    return rows.filter(
        status=NotificationStatus.SENDING, lane__in=Lane.values, next_attempt_at=lease.ends_at, lease_token=lease.token
    )


def read_rows(lease: Lease) -> tuple[list[Row], list[UnreadableRow]]:
    """Return the rows of a lease, the most urgent first, and the rows that cannot be read."""
    claimed = _leased(lease)
    try:
        return list(_read(claimed, user_is_active())), []
    except Exception as error:  # noqa: BLE001 - contained
        if isinstance(error, DatabaseError) and is_refused_by_database():
            return _read_each(claimed, is_active_alone())
        raise_if_shared(error)
        return _read_each(claimed, user_is_active())


def _read_each(claimed: QuerySet[Any], is_active: Expression | F) -> tuple[list[Row], list[UnreadableRow]]:
    """Read rows one by one, to find the one that cannot be read."""
    readable: list[Row] = []
    unreadable: list[UnreadableRow] = []
    for key in claimed.order_by("lane", "pk").values_list("pk", flat=True):
        try:
            readable += _read(claimed.filter(pk=key), is_active)
        except Exception as error:  # noqa: BLE001 - contained
            raise_if_shared(error)
            unreadable.append(UnreadableRow(key, error))
    return readable, unreadable


def _read(claimed: QuerySet[Any], is_active: Expression | F) -> Iterator[Row]:
    texts = (Cast(name, TextField()) for name in _TEXT_COLUMNS)
    columns = claimed.order_by("lane", "pk").values_list(*texts, *_MESSAGE_COLUMNS, *_COLUMNS, is_active)
    read_json = lru_cache(maxsize=_TEXTS_KEPT)(json.loads)
    read_batch = lru_cache(maxsize=_TEXTS_KEPT)(UUID)
    read_message = lru_cache(maxsize=_TEXTS_KEPT)(_read_message)
    for data, options, preferences, batch, title, body, language, *values in columns:
        message, problem = read_message(title, body, language, data, options)
        yield Row(message, problem, read_json(preferences), read_batch(batch), *values)


def _read_message(title: str, body: str, language: str, data_text: str, options_text: str) -> tuple[StoredMessage, str]:
    """Return the message of a row, and the problem of its JSON or "". The project may have stored anything."""
    try:
        data = json.loads(data_text)
        if not isinstance(data, dict):
            raise InvalidOption(f"data must be a JSON object, not {type(data).__name__}")
        return StoredMessage(title, body, language, data, RowOptions.from_json(json.loads(options_text))), ""
    except (ValueError, TypeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"[:200]
        return StoredMessage(title, body, language, {}, RowOptions()), problem

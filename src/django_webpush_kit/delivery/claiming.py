"""Claim due rows under a lease and read them as plain values; return rows whose lease has lapsed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID, uuid4

from django.db import connections, transaction
from django.db.models import F, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import outbox_database, retry_on_conflict
from django_webpush_kit.delivery.containment import SHARED_ERRORS
from django_webpush_kit.delivery.transport import request_seconds
from django_webpush_kit.exceptions import InvalidOption
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.options import RowOptions
from django_webpush_kit.outbox.lifetime import deadline
from django_webpush_kit.states import LANES, Lane, NotificationStatus
from django_webpush_kit.subscriptions.active_users import user_is_active
from django_webpush_kit.tokens import NotificationIdentity

LAPSES_BEFORE_ISOLATION = 2
"""A row whose lease lapsed this often is claimed alone from then on."""

SHARE_FOR_RECORDING = 0.05
"""The part of a lease that is kept free after the last possible answer, so that it can still be recorded."""

LAPSED_AT_ONCE = 1000
"""Rows that one statement returns; it bounds how long the statement holds locks."""

Turn: TypeAlias = Literal["first", "last", "never"]
"""When isolated rows are claimed: before everything else, when nothing else is due, or not."""

QUARANTINED = "Quarantined: every worker that tried to send it died"


class Lease(NamedTuple):
    """The right to send a set of rows until `ends_at`."""

    token: UUID
    ends_at: datetime


class Row(NamedTuple):
    """A claimed outbox row with its subscription. Rows may share their JSON values: these are only read.

    `problem` says why the stored values cannot be sent, "" when they can; such a row has empty `data` and `options`.
    """

    data: dict[str, Any]
    options: RowOptions
    preferences: dict[str, Any]
    problem: str
    pk: Any
    batch: UUID
    title: str
    body: str
    language: str
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
    def identity(self) -> str:
        """What the payload calls the notification."""
        return str(NotificationIdentity.of(self))

    @property
    def due(self) -> datetime:
        """When the row was first due."""
        return self.created_at if self.scheduled_for is None else max(self.scheduled_for, self.created_at)

    @property
    def deadline(self) -> datetime | None:
        """After this moment the row is not sent any more; None: it has one attempt, whenever that is."""
        return deadline(self.due, self.options, self.expires_at)


class UnreadableRow(NamedTuple):
    """A claimed outbox row whose stored values cannot be read, and what reading them raised."""

    pk: Any
    error: Exception


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows claimed together. No request may start after `stop_at` (time.monotonic()).

    `is_last` says that nothing is to be sent beside it or was left to claim: an isolated row, or fewer than asked for.
    """

    lease: Lease
    rows: list[Row]
    unreadable: list[UnreadableRow]
    stop_at: float
    is_last: bool


def return_lapsed(now: datetime | None = None) -> int:
    """Return rows whose lease has lapsed to `pending`; those that lapse again and again are isolated, then given up.

    Returns the number of rows that were returned or given up.
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
    back = {"status": NotificationStatus.PENDING, "lease_token": None}

    def statements() -> int:
        with transaction.atomic(using=outbox_database()):
            mine = lapsed.filter(pk__in=keys)
            failed = mine.filter(claims__gte=given_up).update(
                status=NotificationStatus.FAILED, lease_token=None, failure_reason=QUARANTINED
            )
            isolated = mine.filter(claims__gte=LAPSES_BEFORE_ISOLATION).update(lane=Lane.ISOLATED, **back)
            return failed + isolated + mine.update(**back)

    return retry_on_conflict(statements)


def claim(
    size: int,
    *,
    batch: UUID | None = None,
    stop_at: float = float("inf"),
    isolated: Turn = "last",
) -> Chunk:
    """Take up to `size` due rows, the most urgent first, for the length of a lease.

    Rows whose lease lapsed twice are claimed alone, so that a row that kills its worker takes none with it: when
    nothing else is due, or before everything else, or not at all, as `isolated` says.
    """
    now = timezone.now()
    lease = Lease(uuid4(), now + timedelta(seconds=kit_settings.LEASE_SECONDS))
    longest = request_seconds() + kit_settings.LEASE_SECONDS * SHARE_FOR_RECORDING
    stop_at = min(stop_at, time.monotonic() + kit_settings.LEASE_SECONDS - longest)
    due = get_notification_model().objects.using(outbox_database()).due(now)
    if batch is not None:
        due = due.filter(batch=batch)
    alone = due.filter(lane=Lane.ISOLATED)
    taken = taken_alone = _take(alone, 1, lease) if isolated == "first" else 0
    if not taken:
        for lane in LANES:
            taken += _take(due.filter(lane=lane), size - taken, lease) if taken < size else 0
    if not taken and isolated == "last":
        taken = taken_alone = _take(alone, 1, lease)
    rows, unreadable = retry_on_conflict(lambda: read_rows(lease)) if taken else ([], [])
    return Chunk(lease, rows, unreadable, stop_at, is_last=bool(taken_alone) or taken < size)


def _take(due: QuerySet[Any], size: int, lease: Lease) -> int:
    """Lease the first `size` rows of one lane, in index order; returns how many.

    Where the database has SKIP LOCKED, workers step around each other's rows. Elsewhere one conditional UPDATE decides
    who gets a row: on SQLite a SELECT before the UPDATE would only raise lock errors. There the status is asked in the
    subquery alone: beside the keys it would mislead SQLite into reading every pending row.
    """
    features = connections[outbox_database()].features
    rows = due.model.objects.using(outbox_database())
    first = due.order_by("next_attempt_at", "pk").values_list("pk", flat=True)
    values = {
        "status": NotificationStatus.SENDING,
        "lease_token": lease.token,
        "claims": F("claims") + 1,
        "next_attempt_at": lease.ends_at,
    }

    def statements() -> int:
        with transaction.atomic(using=outbox_database(), durable=True):
            if features.has_select_for_update_skip_locked:
                chosen = rows.filter(pk__in=list(first.select_for_update(skip_locked=True)[:size]))
            elif features.allow_sliced_subqueries_with_in:
                chosen = rows.filter(pk__in=first[:size])
            else:
                chosen = rows.pending().filter(pk__in=list(first[:size]))
            return int(chosen.update(**values))

    return retry_on_conflict(statements)


_JSON_COLUMNS = ("data", "options", "subscription__preferences")

_COLUMNS = (
    "pk",
    "batch",
    "title",
    "body",
    "language",
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


def read_rows(lease: Lease) -> tuple[list[Row], list[UnreadableRow]]:
    """The rows of a lease, the most urgent first, and those that cannot be read.

    They are found by the index of the outbox, as all share the end of the lease.
    """
    rows = get_notification_model().objects.using(outbox_database())
    claimed = rows.filter(
        status=NotificationStatus.SENDING, lane__in=Lane.values, next_attempt_at=lease.ends_at, lease_token=lease.token
    )
    try:
        return list(_read(claimed)), []
    except SHARED_ERRORS:
        raise
    except Exception:  # noqa: BLE001 - contained
        return _read_each(claimed)


def _read_each(claimed: QuerySet[Any]) -> tuple[list[Row], list[UnreadableRow]]:
    """Read the rows one by one, because one of them cannot be read."""
    readable: list[Row] = []
    unreadable: list[UnreadableRow] = []
    for key in claimed.order_by("lane", "pk").values_list("pk", flat=True):
        try:
            readable += _read(claimed.filter(pk=key))
        except SHARED_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - contained
            unreadable.append(UnreadableRow(key, error))
    return readable, unreadable


def _read(claimed: QuerySet[Any]) -> Iterator[Row]:
    texts = (Cast(name, TextField()) for name in _JSON_COLUMNS)
    columns = claimed.order_by("lane", "pk").values_list(*texts, *_COLUMNS, user_is_active())
    # The rows of one call mostly hold the same JSON: each text is read once.
    read = lru_cache(maxsize=_TEXTS_KEPT)(json.loads)
    read_message = lru_cache(maxsize=_TEXTS_KEPT)(_read_message)
    for data_text, options_text, preferences, *values in columns:
        data, options, problem = read_message(data_text, options_text)
        yield Row(data, options, read(preferences), problem, *values)


def _read_message(data_text: str, options_text: str) -> tuple[dict[str, Any], RowOptions, str]:
    """The stored data and options of a row, and what is wrong with them: code of the host may have written anything."""
    try:
        data = json.loads(data_text)
        if not isinstance(data, dict):
            raise InvalidOption(f"data must be a JSON object, not {type(data).__name__}")
        return data, RowOptions.from_json(json.loads(options_text)), ""
    except (ValueError, TypeError, RecursionError) as error:
        return {}, RowOptions(), f"{type(error).__name__}: {error}"[:200]

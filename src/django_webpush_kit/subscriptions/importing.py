"""Import subscriptions stored by another library, for the `push_import_...` commands.

A subscription belongs to the VAPID key that the browser subscribed with, not to a library. Any library that has the key
can send to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction

from django_webpush_kit.database import atomic_with_retry, forget_keys, is_refusal, outbox_database, rows_of
from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.subscriptions.browsers import BrowserSubscription
from django_webpush_kit.subscriptions.registration import new_subscription
from django_webpush_kit.tokens import primary_key

PAGE_SIZE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignSubscription:
    """One subscription of another library. `source` is the name of its row in the report.

    `vapid_key_id` identifies the key that the browser subscribed with; see `VapidKey`. A row that could not be read has
    a `problem` instead of values.
    """

    source: str
    endpoint: str = ""
    p256dh: str = ""
    auth: str = ""
    vapid_key_id: str = ""
    user_id: Any = None
    user_agent: str = ""
    problem: str = ""


@dataclass(slots=True)
class ImportReport:
    """The numbers of imported and already known subscriptions, and the refused sources by reason."""

    imported: int = 0
    known: int = 0
    refused: dict[str, list[str]] = field(default_factory=dict)

    def refuse(self, source: str, reason: str) -> None:
        """Record a refused row."""
        self.refused.setdefault(reason, []).append(source)


def import_subscriptions(found: Iterable[ForeignSubscription], *, dry_run: bool = False) -> ImportReport:
    """Store new subscriptions without changing known ones. No signals are sent.

    If several rows have the same endpoint, the first one is stored. A row that cannot be stored is refused; the others
    are imported. Each page of 500 rows is one transaction, so you can run an interrupted import again. A dry run is one
    transaction that is rolled back.
    """
    report = ImportReport()
    if dry_run:
        with transaction.atomic(using=outbox_database()):
            _import(found, report)
            transaction.set_rollback(True, using=outbox_database())
    else:
        _import(found, report)
    return report


def _import(found: Iterable[ForeignSubscription], report: ImportReport) -> None:
    several = iter(found)
    while page := list(islice(several, PAGE_SIZE)):
        _import_page(page, report)


def _import_page(page: list[ForeignSubscription], report: ImportReport) -> None:
    rows: dict[str, _NewRow] = {}
    users = _stored_users(foreign.user_id for foreign in page)
    for foreign in page:
        try:
            row = _new_row(foreign, users)
        except InvalidSubscription as error:
            report.refuse(foreign.source, str(error))
            continue
        report.known += row.endpoint_hash in rows
        rows.setdefault(row.endpoint_hash, row)
    known = _known_hashes(rows)
    report.known += len(known)
    new = [row for key, row in rows.items() if key not in known]
    try:
        _store([row.subscription for row in new])
        report.imported += len(new)
    except Exception as error:
        if not is_refusal(error):
            raise
        for row in new:  # to find the rows that the database refuses
            _store_alone(row, report)


@dataclass(frozen=True, slots=True)
class _NewRow:
    """A subscription to store and its source."""

    source: str
    subscription: Any

    @property
    def endpoint_hash(self) -> str:
        """The hash of its endpoint."""
        return str(self.subscription.endpoint_hash)


def _new_row(foreign: ForeignSubscription, users: set[Any]) -> _NewRow:
    if foreign.problem:
        raise InvalidSubscription(foreign.problem)
    owner = _user_key(foreign.user_id)
    if foreign.user_id is not None and owner not in users:
        raise InvalidSubscription("Its user does not exist.", field="user")
    browser = BrowserSubscription.check(
        endpoint=foreign.endpoint, p256dh=foreign.p256dh, auth=foreign.auth, user_agent=foreign.user_agent
    )
    return _NewRow(foreign.source, new_subscription(browser, owner, vapid_key_id=foreign.vapid_key_id))


def _stored_users(keys: Iterable[Any]) -> set[Any]:
    """Return the primary keys of existing users. Databases check foreign keys late and then refuse the whole page."""
    wanted = {_user_key(key) for key in keys} - {None}
    users = get_user_model()._base_manager.using(outbox_database())
    return set(users.filter(pk__in=wanted).values_list("pk", flat=True))


def _user_key(key: Any) -> Any:
    """Convert the primary key of a user, which may be text. Returns None if it is None or not a valid key."""
    return None if key is None else primary_key(get_user_model(), key)


def _known_hashes(hashes: Iterable[str]) -> set[str]:
    stored = rows_of(get_subscription_model()).filter(endpoint_hash__in=list(hashes))
    return set(stored.values_list("endpoint_hash", flat=True))


@atomic_with_retry
def _store(subscriptions: list[Any]) -> None:
    """Insert the rows.

    Not with `ignore_conflicts`: MySQL and MariaDB would also ignore other errors, and cut texts that are too long.
    """
    forget_keys(subscriptions)
    rows_of(get_subscription_model()).bulk_create(subscriptions)


def _store_alone(row: _NewRow, report: ImportReport) -> None:
    try:
        _store([row.subscription])
        report.imported += 1
    except Exception as error:
        if not is_refusal(error):
            raise
        if isinstance(error, IntegrityError) and _is_stored(row):
            report.known += 1
        else:
            report.refuse(row.source, f"The database refused it ({type(error).__name__}).")


@atomic_with_retry
def _is_stored(row: _NewRow) -> bool:
    """Return whether a visitor has registered the endpoint meanwhile. A locking read sees it at any isolation level."""
    stored = rows_of(get_subscription_model()).select_for_update().filter(endpoint_hash=row.endpoint_hash)
    return stored.first() is not None

"""Taking over subscriptions that another library has stored: what the `push_import_...` commands do.

A browser's subscription belongs to the VAPID key it was made with, not to the library that stored it. With that key it
can be sent to by any.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from django.db import transaction

from django_webpush_kit.database import outbox_database, retry_on_conflict
from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.subscriptions.registration import BrowserSubscription, new_subscription

PAGE_SIZE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignSubscription:
    """One subscription as another library stores it; `source` names its row in the report.

    `vapid_key_id` is that of the key the browser subscribed with; see `VapidKey`.
    """

    source: str
    endpoint: str
    p256dh: str
    auth: str
    vapid_key_id: str
    user_id: Any = None
    user_agent: str = ""


@dataclass(slots=True)
class ImportReport:
    """How many subscriptions were stored, how many had been before, and which were refused: sources by reason."""

    imported: int = 0
    known: int = 0
    refused: dict[str, list[str]] = field(default_factory=dict)


def import_subscriptions(found: Iterable[ForeignSubscription], *, dry_run: bool = False) -> ImportReport:
    """Store what is not stored yet, and leave the rest alone; no signal is sent.

    Of several with the same endpoint the first counts. Each page of 500 is a transaction of its own, so an import that
    was interrupted is simply run again; a dry run is one transaction, which is taken back.
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
        rows: dict[str, Any] = {}
        for foreign in page:
            try:
                row = _row(foreign)
            except InvalidSubscription as error:
                report.refused.setdefault(str(error), []).append(foreign.source)
                continue
            report.known += row.endpoint_hash in rows
            rows.setdefault(row.endpoint_hash, row)
        known = retry_on_conflict(partial(_store, rows))
        report.known += known
        report.imported += len(rows) - known


def _row(foreign: ForeignSubscription) -> Any:
    browser = BrowserSubscription.check(
        endpoint=foreign.endpoint, p256dh=foreign.p256dh, auth=foreign.auth, user_agent=foreign.user_agent
    )
    return new_subscription(browser, foreign.user_id, vapid_key_id=foreign.vapid_key_id)


def _store(rows: dict[str, Any]) -> int:
    """Insert the rows whose endpoint is new; returns how many are not. A visitor may subscribe at the same moment."""
    objects = get_subscription_model().objects
    with transaction.atomic(using=outbox_database()):
        known = set(objects.filter(endpoint_hash__in=rows).values_list("endpoint_hash", flat=True))
        objects.bulk_create((row for key, row in rows.items() if key not in known), ignore_conflicts=True)
    return len(known)

"""Count opt-outs: subscribers who switch a notification type off, attributed to their latest notification."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from django.utils import timezone

from django_webpush_kit.database import atomic_with_retry, call_on_commit, outbox_database, rows_of
from django_webpush_kit.error_reports import log_error
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.rollups.building import keep
from django_webpush_kit.rollups.counting import BECAUSE_OF, DayTally, pages
from django_webpush_kit.states import NotificationStatus

_logger = logging.getLogger(__name__)


def count_opt_outs(subscription: Any, types: Collection[str]) -> None:
    """Count that a subscriber switched these types off, after the current transaction. Errors are only logged.

    An opt-out counts for the latest notification of its type that was accepted in the last 24 hours, so for its
    campaign too. Without one, it counts for the current day and the type only.
    """
    if types:
        call_on_commit(lambda: _count(subscription, types), using=outbox_database())


def _count(subscription: Any, types: Collection[str]) -> None:
    try:
        _keep(subscription, types)
    except Exception as error:  # noqa: BLE001 - contained
        log_error(_logger, "The opt-out of the subscription %s was not counted", subscription.pk, error=error)


@atomic_with_retry
def _keep(subscription: Any, types: Collection[str]) -> None:
    tally = DayTally()
    now = timezone.now()
    sent = rows_of(get_notification_model()).filter(
        subscription=subscription.pk, status=NotificationStatus.SENT, sent_at__gte=now - BECAUSE_OF
    )
    for name in types:
        latest = sent.filter(type=name).order_by("-sent_at").values_list("pk", flat=True).first()
        if latest is None:
            tally.add_opt_out(now, name, subscription.push_service, subscription.user_agent)
        for page in pages(sent.filter(pk=latest)):
            tally.add_opt_out_after(page[0])
    keep(tally.days, is_deletion=False)

"""The neighbours of a fault: rows of others are counted, how many were not sent and how late the latest was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone

from benchmarks.chaos.bench import Bench, PushService
from benchmarks.chaos.verdict import Finding
from django_webpush_kit import services
from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.models import (
    PushBroadcast,
    PushServiceState,
    get_notification_model,
    get_subscription_model,
    get_template_model,
)
from django_webpush_kit.testing import FakeBrowser

CULPRIT = "culprit"
SECONDS = 2.0
BUSY_SECONDS = 15.0
"""What the small bench allows: it runs beside other tests."""

WAIT_SECONDS = 30.0
"""So long a row of a neighbour may be on its way before it counts as lost."""


class Books:
    """Counts the rows of others: how many, how many were not sent, and how late the latest was."""

    def __init__(self) -> None:
        self._rows = self._lost = self._cases = 0
        self._latest = timedelta()

    def note(self, others: Any, finding: Finding, case: str, *, since: Any = None) -> None:
        """Count the rows of those to whom nothing happened. They are late from `since` on, or since they were made."""
        rows = list(others.values_list("status", "created_at", "sent_at"))
        lost = sum(status != "sent" for status, _created, _sent in rows)
        finding.expect(rows, f"{case}: nobody else was there")
        finding.expect(not lost, f"{case}: {lost} of {len(rows)} rows of others not sent")
        latest = max((sent - (since or created) for _status, created, sent in rows if sent), default=timedelta())
        if latest > self._latest:
            self._latest, self._latest_case = latest, case
        self._rows, self._lost, self._cases = self._rows + len(rows), self._lost + lost, self._cases + 1

    def close(self, bench: Bench, finding: Finding) -> None:
        """Write the sums."""
        seconds = self._latest.total_seconds()
        finding.figures |= {"rows": self._rows, "lost": self._lost, "cases": self._cases, "latest s": round(seconds, 2)}
        promised = BUSY_SECONDS if bench.small else SECONDS
        late = f"somebody else's message was {seconds:.1f} s late"
        finding.expect(seconds < promised, f"{late}, beside {self._latest_case}" if seconds else late)


def wait_for_worker(bench: Bench) -> None:
    """Wait until a worker sends: how long a process takes to start is not asked here."""
    endpoint = bench.browsers[-1].endpoint
    row = services.send(get_subscription_model().objects.filter(endpoint=endpoint), "Hello").notifications
    bench.wait_until(lambda: row.filter(status="sent").exists(), WAIT_SECONDS)


def warm_up(bench: Bench) -> None:
    """Wait until a worker sends, and forget what it has sent."""
    wait_for_worker(bench)
    bench.rows.all().delete()


def others() -> Any:
    """The rows of subscribers that are not users: those of the bench's own browsers."""
    return get_notification_model().objects.filter(user=None)


def open_rows_of_others() -> bool:
    """Whether a row of others has not come to an end."""
    return bool(others().filter(status__in=("pending", "sending")).exists())


def open_broadcasts() -> bool:
    """Whether a broadcast goes on; one that waits after an error does not count."""
    return PushBroadcast.objects.filter(status__in=("pending", "running"), next_page_at=None).exists()


@contextmanager
def second_service(bench: Bench, browsers: int) -> Iterator[list[FakeBrowser]]:
    """Browsers at a healthy push service of its own."""
    with PushService(hostname="localhost") as service:
        made = [FakeBrowser(service, vapid_keyring().current.public_key) for _ in range(browsers)]
        for browser in made:
            browser.subscribe()
            services.subscribe(**browser.subscription_fields)
        try:
            yield made
        finally:
            bench.stop_workers()
            get_subscription_model().objects.filter(endpoint__startswith=service.origin).delete()


@contextmanager
def changed_kit(**values: Any) -> Iterator[dict[str, Any]]:
    """Change WEBPUSH_KIT in this process; yields the changes, for workers."""
    before = settings.WEBPUSH_KIT
    settings.WEBPUSH_KIT = {**before, **values}
    try:
        yield values
    finally:
        settings.WEBPUSH_KIT = before


def heal(bench: Bench) -> None:
    """Forget faults, breakers, rows and deactivations."""
    bench.push_service.clear_faults()
    bench.rows.all().delete()
    PushServiceState.objects.all().delete()
    get_subscription_model().objects.filter(is_active=False).update(
        is_active=True, deactivated_at=None, deactivation_reason="", created_at=timezone.now()
    )


def sweep_tables(*, keep: Any = ()) -> None:
    """Empty the outbox, broadcasts, templates and states without reading them: they may hold what cannot be read.

    Of the subscriptions only those with the primary keys `keep` stay.
    """
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        for model in (get_notification_model(), PushBroadcast, get_template_model(), PushServiceState):
            cursor.execute(f"DELETE FROM {quote(model._meta.db_table)}")
        if keep:
            kept = ", ".join(["%s"] * len(keep))
            cursor.execute(
                f"DELETE FROM {quote(get_subscription_model()._meta.db_table)} WHERE id NOT IN ({kept})", list(keep)
            )

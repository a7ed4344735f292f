"""Odd values stored in every column of the tables, past every check but those of the database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import connection
from django.utils import timezone

from benchmarks.chaos import workers
from benchmarks.chaos.bench import Bench
from benchmarks.chaos.neighbours import (
    CULPRIT,
    WAIT_SECONDS,
    Books,
    changed_kit,
    others,
    sweep_tables,
    warm_up,
)
from benchmarks.chaos.oddities import STORED, store
from benchmarks.chaos.verdict import Finding
from django_webpush_kit import services
from django_webpush_kit.models import (
    PushBroadcast,
    PushServiceState,
    get_notification_model,
    get_subscription_model,
    get_template_model,
)

LATER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Table:
    """A table, and how rows are made in it that belong to the culprit and wait; they are returned by primary key."""

    model: Any
    make: Callable[[Bench, int], list[Any]]


def stored(bench: Bench) -> Finding:
    """Store every odd value that the database takes in every column, beside sends and broadcasts to others."""
    finding = Finding("odd values in every column of the tables")
    neighbours = list(get_subscription_model().objects.values_list("pk", flat=True))
    values = STORED[:: 5 if bench.small else 1]
    books, taken, refused = Books(), 0, 0
    with changed_kit(AUDIENCES={"one": f"{__name__}.one"}) as kit:
        bench.start(deliver_quietly, kit=kit)
        warm_up(bench)
        for table in _tables():
            for field in table.model._meta.concrete_fields:
                if field.primary_key:
                    continue
                get_template_model().objects.create(type="news", title_template="News")
                keys = table.make(bench, len(values))
                kept = {
                    key for key, value in zip(keys, values, strict=True) if store(table.model, field.column, key, value)
                }
                _delete(table.model, set(keys) - kept)
                taken, refused = taken + len(kept), refused + len(keys) - len(kept)
                _make_due(table.model, field.column)
                sent = services.send(get_subscription_model().objects.filter(pk__in=neighbours), "Message")
                news = services.broadcast("news")
                mine = others().filter(batch__in=[sent.batch, news.batch], subscription__in=neighbours)
                done = bench.wait_until(partial(_is_done, mine, news, len(neighbours)), WAIT_SECONDS)
                case = f"{table.model.__name__}.{field.name}"
                finding.expect(done, f"{case}: others have {mine.filter(status='sent').count()} messages")
                books.note(mine, finding, case)
                sweep_tables(keep=neighbours)
        bench.stop_workers()
    finding.figures |= {"values taken": taken, "refused by the database": refused}
    books.close(bench, finding)
    return finding


def one() -> Any:
    """The audience of the culprit's broadcasts: themselves."""
    return get_subscription_model().objects.filter(language="de")


def _is_done(mine: Any, news: PushBroadcast, count: int) -> bool:
    running = PushBroadcast.objects.filter(pk=news.pk, status__in=("pending", "running"))
    return mine.filter(status="sent").count() >= 2 * count and not running.exists()


def _tables() -> list[Table]:
    return [
        Table(get_notification_model(), _notifications),
        Table(get_subscription_model(), _subscriptions),
        Table(get_template_model(), _templates),
        Table(PushBroadcast, _broadcasts),
        Table(PushServiceState, _states),
    ]


def _subscriptions(bench: Bench, count: int) -> list[Any]:
    """Subscriptions with a message each."""
    model = get_subscription_model()
    keys = model.objects.values("p256dh_key", "auth_key").first()
    address = f"{bench.push_service.origin}/wpush/v2/{CULPRIT}"
    model.objects.bulk_create(model(endpoint=f"{address}{number}", language="de", **keys) for number in range(count))
    mine = model.objects.filter(endpoint__startswith=address).order_by("pk")
    services.send(mine, "Message", scheduled_for=timezone.now() + LATER)
    return list(mine.values_list("pk", flat=True))


def _notifications(bench: Bench, count: int) -> list[Any]:
    _subscriptions(bench, count)
    rows = get_notification_model().objects.filter(subscription__endpoint__contains=CULPRIT)
    return list(rows.order_by("pk").values_list("pk", flat=True))


def _templates(bench: Bench, count: int) -> list[Any]:
    """Templates with a broadcast each."""
    _subscriptions(bench, 1)
    model, due = get_template_model(), timezone.now() + LATER
    model.objects.bulk_create(model(type=f"{CULPRIT}-{number}", title_template="News") for number in range(count))
    for number in range(count):
        services.broadcast(f"{CULPRIT}-{number}", "one", urgency="high", scheduled_for=due)
    return list(model.objects.filter(type__startswith=CULPRIT).order_by("pk").values_list("pk", flat=True))


def _broadcasts(bench: Bench, count: int) -> list[Any]:
    _subscriptions(bench, 1)
    get_template_model().objects.create(type=CULPRIT, title_template="News")
    due = timezone.now() + LATER
    return [services.broadcast(CULPRIT, "one", urgency="high", scheduled_for=due).pk for _number in range(count)]


def _states(_bench: Bench, count: int) -> list[Any]:
    PushServiceState.objects.bulk_create(
        PushServiceState(push_service=f"{number}.{CULPRIT}.example", rate=1.0, reason="outage")
        for number in range(count)
    )
    states = PushServiceState.objects.filter(push_service__contains=CULPRIT)
    return list(states.order_by("pk").values_list("pk", flat=True))


def _make_due(model: Any, odd_column: str) -> None:
    """Let what was made for later be due now, but for the odd column."""
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        for of, column, value in (
            (get_notification_model(), "next_attempt_at", now),
            (get_notification_model(), "scheduled_for", None),
            (PushBroadcast, "scheduled_for", None),
        ):
            if (of, column) != (model, odd_column):
                quote = connection.ops.quote_name
                cursor.execute(f"UPDATE {quote(of._meta.db_table)} SET {quote(column)} = %s", [value])


def _delete(model: Any, keys: Iterable[Any]) -> None:
    quote = connection.ops.quote_name
    rows = get_notification_model()
    with connection.cursor() as cursor:
        for key in keys:
            if model is get_subscription_model():
                cursor.execute(f"DELETE FROM {quote(rows._meta.db_table)} WHERE subscription_id = %s", [key])
            cursor.execute(f"DELETE FROM {quote(model._meta.db_table)} WHERE id = %s", [key])


def deliver_quietly() -> None:
    """A worker that does not fill its log with what it reports about odd values."""
    for name in ("django_webpush_kit", "django.dispatch"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    workers.deliver_for_ever()

"""Odd values that code of the project returns for one user: from `RECIPIENT_CONTEXT`, and in a `pre_send` receiver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from django.contrib.auth import get_user_model

from benchmarks.chaos.bench import Bench
from benchmarks.chaos.neighbours import CULPRIT, WAIT_SECONDS, Books, open_broadcasts, others, warm_up
from benchmarks.chaos.odd_rows import deliver_quietly
from benchmarks.chaos.oddities import GIVEN
from benchmarks.chaos.verdict import Finding
from django_webpush_kit import services
from django_webpush_kit.models import PushBroadcast, get_subscription_model, get_template_model
from django_webpush_kit.protocol.message import Message
from django_webpush_kit.signals import pre_send

SHAPES: dict[str, Callable[[Any], Any]] = {
    "value": lambda value: {"first_name": value},
    "whole": lambda value: value,
    "key": lambda value: {value: "x", "first_name": ""},
    "nested": lambda value: {"first_name": {"last": [value]}},
}
"""Where in the dict of `RECIPIENT_CONTEXT` the odd value is."""

ATTRIBUTES = tuple(field.name for field in fields(Message))


def recipients(bench: Bench) -> Finding:
    """Return odd values from `RECIPIENT_CONTEXT` for one user of many: the others get their broadcast."""
    finding = Finding("odd values of one recipient in a template")
    body = "{{ recipient.first_name.last.0|default:'' }}"
    get_template_model().objects.create(
        type="news", title_template="News {{ recipient.first_name|default:''|title }}", body_template=body
    )
    books, count = Books(), len(bench.browsers) - 1
    with _culprit() as user:
        bench.start(deliver_odd_values)
        warm_up(bench)
        for shape in SHAPES:
            for number in range(len(GIVEN))[:: 7 if bench.small else 1]:
                get_user_model().objects.filter(pk=user.pk).update(username=f"{shape}-{number}")
                news = services.broadcast("news")
                mine = others().filter(batch=news.batch)
                sent = mine.filter(status="sent")
                bench.wait_until(
                    lambda sent=sent: not open_broadcasts() and sent.count() == count,
                    WAIT_SECONDS,
                )
                case = f"RECIPIENT_CONTEXT, {shape} {type(GIVEN[number]).__name__} {number}"
                finding.expect(mine.count() == count, f"{case}: {mine.count()} of {count} rows written")
                books.note(mine, finding, case)
                PushBroadcast.objects.all().delete()
                bench.rows.all().delete()
        bench.stop_workers()
    get_template_model().objects.all().delete()
    books.close(bench, finding)
    return finding


def messages(bench: Bench) -> Finding:
    """Let a `pre_send` receiver put odd values into every attribute of one user's messages."""
    finding = Finding("odd values in a message that a pre_send receiver changes")
    books = Books()
    with _culprit() as user:
        bench.start(deliver_odd_values)
        warm_up(bench)
        for attribute in ATTRIBUTES[:: 5 if bench.small else 1]:
            for number in range(len(GIVEN)):
                services.send(user, f"{attribute} {number}", urgency="high")
            bench.send(len(bench.browsers))
            unsent = others().exclude(status="sent")
            bench.wait_until(lambda unsent=unsent: not unsent.exists(), WAIT_SECONDS)
            books.note(others(), finding, f"message.{attribute}")
            unfinished = bench.rows.filter(status__in=("pending", "sending"))
            bench.wait_until(lambda unfinished=unfinished: not unfinished.exists(), WAIT_SECONDS)
            finding.expect(not unfinished.exists(), f"message.{attribute}: {unfinished.count()} rows come to no end")
            bench.rows.all().delete()
        bench.stop_workers()
    finding.figures |= {"attributes": len(ATTRIBUTES), "values": len(GIVEN)}
    books.close(bench, finding)
    return finding


@contextmanager
def _culprit() -> Iterator[Any]:
    """A user with the first subscription; the subscriptions of others have no user."""
    user = get_user_model().objects.create_user(CULPRIT)
    first = get_subscription_model().objects.order_by("pk").first()
    get_subscription_model().objects.filter(pk=first.pk).update(user=user)
    try:
        yield user
    finally:
        get_subscription_model().objects.update(user=None)
        user.delete()


def deliver_odd_values() -> None:
    """A worker in which the project returns odd values for users: which one, their name and the title say."""
    from django.conf import settings

    settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, "RECIPIENT_CONTEXT": _context}
    pre_send.connect(_receiver, weak=False)
    deliver_quietly()


def _context(user: Any) -> Any:
    shape, number = user.username.split("-")
    return SHAPES[shape](GIVEN[int(number)])


def _receiver(notification: Any, message: Message, **_options: Any) -> None:
    attribute, _space, number = notification.title.partition(" ")
    if notification.user_id is not None and attribute in ATTRIBUTES:
        setattr(message, attribute, GIVEN[int(number)])

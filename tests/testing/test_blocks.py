"""A test case may send outside of a captured block, and in several blocks."""

from __future__ import annotations

import pytest
from django.db import transaction

from django_webpush_kit import services
from django_webpush_kit.task_backends import ImmediateBackend
from django_webpush_kit.testing import outbox

pytestmark = pytest.mark.django_db


def test_every_block_sends_what_was_written_until_its_end(
    push_outbox, make_subscription, django_capture_on_commit_callbacks
):
    subscription = make_subscription()
    services.send(subscription, "before")
    with django_capture_on_commit_callbacks(execute=True):
        services.send(subscription, "first")
        services.send(subscription, "second")
    assert [message.title for message in outbox] == ["before", "first", "second"]
    with django_capture_on_commit_callbacks(execute=True):
        services.send(subscription, "third")
    assert [message.title for message in outbox][3:] == ["third"]


@pytest.mark.django_db(transaction=True)
def test_a_transaction_wakes_once_whatever_happens_to_its_savepoints(push_outbox, make_subscription, monkeypatch):
    woken = []
    monkeypatch.setattr(ImmediateBackend, "wake", lambda _backend, batches=(): woken.append(list(batches)))
    subscription = make_subscription()
    with transaction.atomic():
        with transaction.atomic():
            services.send(subscription, "rolled back")
            transaction.set_rollback(True)
        with transaction.atomic():
            kept = services.send(subscription, "kept").batch
        other = services.send(subscription, "other").batch
    assert [batches[-2:] for batches in woken] == [[kept, other]]

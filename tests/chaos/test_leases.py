"""The fault bench knows whether the worker that it has stopped keeps rows locked."""

import threading

import pytest
from django.db import connection, transaction

from benchmarks.chaos.leases import is_locked
from django_webpush_kit import services
from django_webpush_kit.models import get_notification_model


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("not connection.features.has_select_for_update_skip_locked", reason="there are no locks of rows")
def test_locks_are_seen_at_once_and_no_longer_than_they_are_held(subscription):
    rows = get_notification_model().objects
    services.send(subscription, "Hello")
    is_held, is_over = threading.Event(), threading.Event()

    def hold():
        try:
            with transaction.atomic():
                rows.update(title="Held")
                is_held.set()
                is_over.wait(30)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    assert not is_locked(rows)
    thread.start()
    assert is_held.wait(30)
    assert is_locked(rows)
    is_over.set()
    thread.join(30)
    assert not is_locked(rows)

"""Backoff and deadlines as pure functions."""

from datetime import datetime, timedelta, timezone

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from django_webpush_kit.delivery.backoff import backoff_seconds
from django_webpush_kit.options import RowOptions
from django_webpush_kit.outbox.lifetime import deadline, ttl_header

NOW = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def _backoff():
    """Leave the jitter as it is."""


@given(st.integers(0, 10_000), st.floats(0, 1000), st.floats(0, 10_000))
def test_backoff_stays_between_zero_and_the_cap(retries, base, cap):
    assert 0 <= backoff_seconds(retries, base=base, cap=cap) <= min(cap, base * 2 ** min(retries, 30))


def test_backoff_takes_base_and_cap_from_the_settings(settings):
    settings.WEBPUSH_KIT = {"RETRY_BASE_SECONDS": 10, "RETRY_CAP_SECONDS": 40}
    waits = [backoff_seconds(5) for _ in range(200)]
    assert max(waits) <= 40
    assert max(waits) > 20
    assert min(waits) < 20


def test_the_deadline_is_expires_at_or_due_time_plus_ttl():
    assert deadline(NOW, RowOptions(ttl=60), None) == NOW + timedelta(seconds=60)
    assert deadline(NOW, RowOptions(ttl=60), NOW + timedelta(hours=1)) == NOW + timedelta(hours=1)
    assert deadline(NOW, RowOptions(), None) == NOW + timedelta(days=28)
    assert deadline(NOW, RowOptions(ttl=0), None) is None


@time_machine.travel(NOW, tick=False)
def test_the_ttl_header_is_lowered_only_by_expires_at():
    assert ttl_header(RowOptions(ttl=60), None) == 60
    assert ttl_header(RowOptions(ttl=60), NOW + timedelta(seconds=30)) == 30
    assert ttl_header(RowOptions(ttl=60), NOW - timedelta(seconds=30)) == 0
    assert ttl_header(RowOptions(), NOW + timedelta(days=90)) == 2_419_200

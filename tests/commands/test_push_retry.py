"""`push_retry`: failed notifications go out again, others stay as they are."""

import uuid
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.outbox import retries
from tests.factories import make_notification

pytestmark = pytest.mark.django_db(transaction=True)


def run(capsys, *arguments):
    call_command("push_retry", *arguments)
    return capsys.readouterr().out.strip()


def test_failed_rows_of_a_batch_are_sent_again_with_a_fresh_retry_count(capsys, subscription, monkeypatch):
    monkeypatch.setattr(retries, "RETRIED_AT_ONCE", 2)
    batch = uuid.uuid4()
    failed = {"retry_count": 3, "claims": 2, "failure_reason": "HTTP 500", "response_status": 500, "batch": batch}
    for _ in range(5):
        make_notification(subscription, "failed", **failed)
    others = [make_notification(subscription, status, batch=batch) for status in ("sent", "cancelled", "expired")]
    make_notification(subscription, "failed")
    assert run(capsys, "--batch", str(batch)) == "Failed notifications to be sent again: 5"
    pending = get_notification_model().objects.filter(status="pending")
    assert set(pending.values_list("retry_count", "claims", "failure_reason")) == {(0, 0, "")}
    assert deliver_due().sent == 5
    for row in others:
        before = row.status
        row.refresh_from_db()
        assert row.status == before
    assert get_notification_model().objects.filter(status="failed").count() == 1


def test_rows_can_be_selected_by_type_and_time(capsys, subscription):
    make_notification(subscription, "failed", type="news")
    make_notification(subscription, "failed", type="news", days_ago=3)
    make_notification(subscription, "failed", type="olds")
    yesterday = (timezone.localtime() - timedelta(days=1)).strftime("%Y-%m-%d")
    text = "Failed notifications that can be sent again: "
    assert run(capsys, "--type", "news", "--dry-run") == f"{text}2"
    assert run(capsys, "--since", yesterday, "--dry-run") == f"{text}2"
    assert run(capsys, "--until", f"{yesterday} 00:00", "--dry-run") == f"{text}1"
    assert run(capsys, "--since", f"{yesterday}T00:00:00Z", "--type", "news", "--dry-run") == f"{text}1"
    assert get_notification_model().objects.filter(status="failed").count() == 3


def test_rows_of_inactive_subscriptions_are_skipped(capsys, subscription):
    row = make_notification(subscription, "failed", type="news")
    type(subscription).objects.update(is_active=False, deactivated_at=timezone.now())
    assert run(capsys, "--type", "news").endswith(": 0")
    row.refresh_from_db()
    assert row.status == "failed"


@pytest.mark.parametrize(
    "arguments", [(), ("--dry-run",), ("--since", "yesterday"), ("--until", "2026-13-01"), ("--batch", "x")]
)
def test_a_valid_selection_of_rows_is_required(arguments):
    with pytest.raises(CommandError):
        call_command("push_retry", *arguments)


@pytest.mark.parametrize("moment", ["0001-01-01", "9999-12-31T23:59:59-12:00", "2026-13-01", "soon"])
def test_a_moment_that_utc_cannot_express_is_refused(capsys, settings, moment):
    settings.TIME_ZONE = "Europe/Berlin"
    with pytest.raises(CommandError, match="argument --until: invalid date and time value"):
        run(capsys, "--until", moment)

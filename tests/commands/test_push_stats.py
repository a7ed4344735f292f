"""`manage.py push_stats`."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.factories import make_event, make_notification

pytestmark = pytest.mark.django_db


def run(*arguments):
    out = StringIO()
    call_command("push_stats", *arguments, stdout=out)
    return out.getvalue()


def test_without_traffic_there_are_no_rates():
    assert (
        run() == "Last 30 days: 0 sent, 0 failed, - accepted\n0 delivered, 0 clicked, 0 dismissed, 0 action clicked\n"
    )


def test_totals_and_a_line_for_each_type(subscription):
    make_event(make_notification(subscription, type="news"), "clicked")
    make_notification(subscription, "failed")
    lines = run("--days", "7").splitlines()
    assert lines[0] == "Last 7 days: 1 sent, 1 failed, 50.0 % accepted"
    assert lines[1] == "0 delivered, 1 clicked, 0 dismissed, 0 action clicked"
    assert lines[4].split() == ["news", "1", "0", "100.0", "%", "0.0", "%", "100.0", "%"]
    assert lines[5].split() == ["(none)", "0", "1", "0.0", "%", "-", "-"]


def test_json_holds_all_of_it(subscription):
    make_notification(subscription, type="news")
    make_notification(subscription, type="offers")
    stats = json.loads(run("--json", "--days", "2", "--type", "news"))
    assert stats["notifications"] == {"total_sent": 1, "total_failed": 0, "delivery_rate": 100.0, "period_days": 2}
    assert stats["engagement"]["sent"] == 1
    assert [entry["type"] for entry in stats["types"]] == ["news"]
    assert [entry["sent"] for entry in stats["days"]] == [0, 0, 1]


def test_a_period_has_at_least_a_day():
    with pytest.raises(CommandError, match="--days"):
        run("--days", "0")


def test_limited_push_services_are_named(push_settings):
    push_settings(SEND_RATES={"fcm.googleapis.com": "900/m"})
    assert run().splitlines()[-1] == "fcm.googleapis.com is sent at most 900 messages a minute (SEND_RATES)."
    assert json.loads(run("--json"))["send_rates"] == [
        {"push_service": "fcm.googleapis.com", "per_minute": 900.0, "throttled_at": None}
    ]

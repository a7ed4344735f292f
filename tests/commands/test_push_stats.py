"""`manage.py push_stats`."""

import json
import re
import signal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from django_webpush_kit.analytics import figures
from django_webpush_kit.delivery.pruning import clean_up
from django_webpush_kit.management.commands import push_stats
from django_webpush_kit.models import OutboxDay
from tests.factories import make_event, make_notification

pytestmark = pytest.mark.django_db


def run(*arguments):
    out = StringIO()
    call_command("push_stats", *arguments, stdout=out)
    return out.getvalue()


def test_without_traffic_there_are_no_rates():
    lines = run().splitlines()
    assert lines[:2] == [
        "Last 30 days: 0 queued, 0 accepted, 0 failed, 0 shown, 0 clicked",
        "Rates: - accepted, - shown, - clicked",
    ]
    assert lines[2].startswith("Today's figures are as of ")


def test_it_prints_totals_and_a_line_per_type(subscription):
    row = make_notification(subscription, type="news")
    make_event(row, "clicked")
    make_event(row, "delivered")
    make_notification(subscription, "failed")
    lines = run("--days", "7").splitlines()
    assert lines[0] == "Last 7 days: 2 queued, 1 accepted, 1 failed, 1 shown, 1 clicked"
    assert lines[1] == "Rates: 50.0 % accepted, 100.0 % shown, 100.0 % clicked"
    assert lines[2].startswith("Half were shown within ")
    assert re.split(" {2,}", lines[4]) == ["type", "accepted", "failed", "accepted %", "shown %", "clicked %"]
    assert lines[5].split() == ["(none)", "0", "1", "0.0", "%", "-", "-"]
    assert lines[6].split() == ["news", "1", "0", "100.0", "%", "100.0", "%", "100.0", "%"]


def test_json_has_all_figures(subscription):
    make_notification(subscription, type="news")
    make_notification(subscription, type="offers")
    stats = json.loads(run("--json", "--days", "2", "--type", "news"))
    assert stats["notifications"] == {"total_sent": 1, "total_failed": 0, "delivery_rate": 100.0, "period_days": 2}
    assert stats["engagement"]["sent"] == 1
    assert stats["filter"] == {"type": "news"}
    assert [entry["accepted"] for entry in stats["daily"]] == [0, 1]
    assert stats["breakdowns"] == {}
    every = json.loads(run("--json"))
    assert [entry["value"] for entry in every["breakdowns"]["type"]] == ["news", "offers"]


def test_json_has_the_documented_members():
    guide = Path(__file__).resolve().parents[2] / "docs/how-to/monitoring.md"
    table = guide.read_text().partition("| member | content |")[2].partition("\n\n")[0]
    members = [
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    ]
    stats = json.loads(run("--json"))
    assert members
    assert [name for name in members if name not in stats] == []
    assert "T" in stats["period"]["as_of"]


def test_two_filters_are_refused():
    with pytest.raises(CommandError, match="filter by one of type, browser"):
        run("--type", "news", "--browser", "Firefox")


@pytest.mark.parametrize("days", ["0", "-1", "1000000"])
def test_a_period_of_invalid_length_is_refused(days):
    with pytest.raises(CommandError, match="--days must be 1 or more"):
        run("--days", days)


def test_uncounted_days_are_listed(subscription, monkeypatch):
    monkeypatch.setattr(figures, "LIVE_ROWS", 1)
    for days_ago in (1, 1, 2):
        make_notification(subscription, days_ago=days_ago)
    assert "days have not been counted yet: run push_stats --rebuild." in run()
    printed = run("--rebuild").splitlines()
    assert printed[-1].endswith("counted (3 of 3)")
    assert run().startswith("Last 30 days: 3 queued, 3 accepted")
    assert "not been counted" not in run()


def test_a_rebuild_ends_cleanly_on_ctrl_c_and_can_be_continued(subscription, monkeypatch):
    for days_ago in (1, 3, 5):
        make_notification(subscription, days_ago=days_ago)

    def interrupt(self, *args):
        shown(self, *args)
        signal.raise_signal(signal.SIGINT)

    shown = push_stats.Command._show
    monkeypatch.setattr(push_stats.Command, "_show", interrupt)
    with pytest.raises(CommandError, match="Interrupted") as error:
        run("--rebuild")
    assert error.value.returncode == 130
    assert OutboxDay.objects.filter(rolled_up_at=None).exists()
    clean_up()
    assert not OutboxDay.objects.filter(rolled_up_at=None).exists()


def test_push_services_with_a_rate_limit_are_listed(push_settings):
    push_settings(SEND_RATES={"fcm.googleapis.com": "900/m"})
    assert run().splitlines()[-1] == "fcm.googleapis.com is sent at most 900 messages a minute (SEND_RATES)."
    assert json.loads(run("--json"))["send_rates"] == [
        {"push_service": "fcm.googleapis.com", "per_minute": 900.0, "throttled_at": None}
    ]

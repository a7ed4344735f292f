"""`push_export`, `push_erase` and `push_prune`."""

import json
import signal
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models.signals import post_delete
from django.utils import timezone

from django_webpush_kit.delivery import pruning
from django_webpush_kit.management.commands import push_prune
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model
from tests.factories import make_event, make_notification

pytestmark = pytest.mark.django_db


def run(*arguments):
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_an_export_is_readable_text(subscription, make_subscription, user):
    make_event(make_notification(subscription, title="Shipped"), "clicked")
    make_notification(subscription, "pending", title="Soon")
    PushBroadcast.objects.create(type="news", created_by=user)
    gone = make_subscription(user)
    gone.is_active, gone.deactivation_reason = False, "gone (HTTP 410)"
    gone.save()
    lines = run("push_export", "ada").splitlines()
    assert lines[0] == "2 subscriptions"
    assert lines[1].endswith("updates.push.services.mozilla.com  active")
    assert lines[2].endswith("inactive: gone (HTTP 410)")
    assert lines[3] == "2 notifications"
    assert lines[4].endswith("sent  Shipped  (clicked)")
    assert lines[5].endswith("pending  Soon")
    assert lines[6] == "1 broadcasts"
    assert lines[7].endswith("pending  news to all")


def test_an_export_as_json_is_complete(subscription):
    make_notification(subscription, title="Für dich")
    exported = json.loads(run("push_export", "ada", "--json"))
    assert exported["subscriptions"][0]["endpoint"] == subscription.endpoint
    assert exported["notifications"][0]["title"] == "Für dich"


@pytest.mark.parametrize("command", ["push_export", "push_erase"])
def test_an_unknown_user_is_an_error(command):
    with pytest.raises(CommandError, match="No user has the username 'nobody'"):
        run(command, "nobody")


def test_erasing_without_a_terminal_to_ask_deletes_nothing(subscription, monkeypatch):
    monkeypatch.setattr("sys.stdin", StringIO())
    with pytest.raises(CommandError, match="Pass --no-input to delete without asking"):
        run("push_erase", "ada")
    assert get_subscription_model().objects.exists()


@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
def test_a_cleanup_takes_more_than_no_time(seconds):
    with pytest.raises(CommandError, match="--seconds must be more than 0"):
        run("push_prune", "--seconds", seconds)


def test_erasing_with_no_input(subscription):
    make_notification(subscription)
    assert run("push_erase", "ada", "--no-input") == "Deleted: 0 events, 1 notifications, 1 subscriptions\n"
    assert not get_notification_model().objects.exists()


@pytest.mark.parametrize(("answer", "is_erased"), [("yes", True), ("y", False), ("", False)])
def test_erasing_asks_for_confirmation(subscription, monkeypatch, answer, is_erased):
    monkeypatch.setattr("builtins.input", lambda question: answer)
    if is_erased:
        run("push_erase", "ada")
    else:
        with pytest.raises(CommandError, match="Nothing was deleted"):
            run("push_erase", "ada")
    assert get_subscription_model().objects.exists() is not is_erased


def test_pruning_does_what_the_hourly_cleanup_does(subscription, make_subscription, user):
    make_notification(subscription, days_ago=100)
    make_notification(subscription, days_ago=1)
    old = make_subscription(user, expiration_time=timezone.now() + timedelta(days=1))
    type(old).objects.filter(pk=old.pk).update(expiration_time=timezone.now() - timedelta(days=1))
    printed = run("push_prune")
    assert "Deactivated: 1 expired subscriptions" in printed
    assert "Deleted: 1 notifications" in printed
    assert get_notification_model().objects.count() == 1


def test_pruning_shows_its_progress_and_ends_cleanly_on_ctrl_c(subscription, monkeypatch, capsys):
    monkeypatch.setattr(pruning, "DELETE_SIZE", 2)
    monkeypatch.setattr(push_prune, "PROGRESS_ROWS", 2)
    for _ in range(5):
        make_notification(subscription, days_ago=1000)

    def interrupt(**kwargs):
        post_delete.disconnect(interrupt, sender=get_notification_model())
        signal.raise_signal(signal.SIGINT)

    post_delete.connect(interrupt, sender=get_notification_model())
    with pytest.raises(CommandError, match="Run push_prune again to continue") as error:
        call_command("push_prune")
    assert error.value.returncode == 130
    printed = capsys.readouterr().out
    assert "2 notifications deleted so far" in printed
    assert "Deleted: 2 notifications" in printed
    assert "Deleted: 3 notifications" in run("push_prune")

"""`push_pause` and `push_resume`: stop all sending at three in the morning, and go on."""

import pytest
from django.core.management import CommandError, call_command

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.manual_pause import paused_by_hand

pytestmark = pytest.mark.django_db(transaction=True)

MOZILLA = "updates.push.services.mozilla.com"


def run(capsys, *arguments):
    call_command(*arguments)
    return capsys.readouterr().out.splitlines()


def test_all_sending_is_paused_and_resumed(capsys, subscription):
    said = run(capsys, "push_pause", "--all")
    assert said[0] == "Sending to all push services is paused. Requests in flight are completed."
    assert run(capsys, "push_pause", "--all")[0] == "Sending to all push services is already paused."
    services.send(subscription, "Hello")
    assert deliver_due().sent == 0
    assert run(capsys, "push_resume") == ["Sending is resumed."]
    assert deliver_due().sent == 1
    assert run(capsys, "push_resume") == ["Nothing was paused by hand."]


def test_one_service_is_paused_by_its_name(capsys, subscription):
    assert run(capsys, "push_pause", MOZILLA.upper())[0].startswith(f"Sending to {MOZILLA} is paused.")
    assert list(paused_by_hand()) == [MOZILLA]
    run(capsys, "push_pause", "--all")
    assert run(capsys, "push_resume", MOZILLA) == ["Sending is resumed.", "Still paused: all sending"]
    assert run(capsys, "push_resume", MOZILLA) == [
        f"{MOZILLA} was not paused by hand.",
        "Still paused: all sending",
    ]
    run(capsys, "push_resume")
    run(capsys, "push_pause", MOZILLA)
    assert run(capsys, "push_resume", "fcm.googleapis.com")[-1] == f"Still paused: {MOZILLA}"


@pytest.mark.parametrize("name", ["fcm.google.com", ""])
def test_an_unknown_service_is_refused_and_the_known_ones_are_listed(subscription, name):
    with pytest.raises(CommandError, match=f"In use: {MOZILLA}"):
        call_command("push_pause", name)
    assert paused_by_hand() == {}


@pytest.mark.parametrize("arguments", [(), (MOZILLA, "--all")])
def test_a_service_or_all_is_required(arguments):
    with pytest.raises(CommandError):
        call_command("push_pause", *arguments)


def test_all_may_be_named_to_resume_all(capsys):
    """People type it after `push_pause --all`."""
    run(capsys, "push_pause", "--all")
    assert run(capsys, "push_resume", "--all") == ["Sending is resumed."]

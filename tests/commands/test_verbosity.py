"""`call_command(..., verbosity=0)`: commands that only report their work print nothing."""

import json

import pytest
from django.core.management import call_command

from django_webpush_kit.models import PushBroadcast, get_template_model
from tests.factories import make_template

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "arguments",
    [
        ("push_send", "ada", "Hello", "--now"),
        ("push_broadcast", "news", "--deliver", "--progress"),
        ("push_pause", "--all"),
        ("push_resume",),
        ("push_prune",),
        ("push_retry", "--type", "news"),
        ("push_erase", "ada", "--no-input"),
        ("push_templates", "import"),
        ("deliver_push",),
        ("deliver_push", "--loop", "--seconds", "0.1"),
    ],
    ids=" ".join,
)
@pytest.mark.django_db(transaction=True)
def test_nothing_is_printed_at_verbosity_0(arguments, make_user, make_subscription, capsys):
    make_subscription(user=make_user("ada"))
    make_template("news", title_template="News")
    call_command(*arguments, verbosity=0)
    assert capsys.readouterr().out == ""
    call_command(*arguments)
    assert capsys.readouterr().out != ""


def test_the_work_is_done_all_the_same(make_user, make_subscription, tmp_path, capsys):
    make_subscription(user=make_user("ada"))
    path = tmp_path / "texts.json"
    path.write_text(json.dumps([{"type": "news", "title_template": "News"}]))
    call_command("push_templates", "import", str(path), verbosity=0)
    call_command("push_broadcast", "news", verbosity=0)
    assert get_template_model().objects.get().type == "news"
    assert PushBroadcast.objects.get().type == "news"
    assert capsys.readouterr().out == ""


def test_a_key_file_is_written_without_a_word(tmp_path, capsys):
    call_command("generate_vapid_keys", output=str(tmp_path / "vapid.pem"), format="pem", verbosity=0)
    assert (tmp_path / "vapid.pem").exists()
    assert capsys.readouterr().out == ""


def test_output_that_was_asked_for_is_printed_at_any_verbosity(capsys):
    make_template("news", title_template="News")
    call_command("push_templates", "export", verbosity=0)
    assert "News" in capsys.readouterr().out
    call_command("generate_vapid_keys", verbosity=0)
    assert "VAPID_PRIVATE_KEY=" in capsys.readouterr().out

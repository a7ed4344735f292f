"""`manage.py push_send`."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from django_webpush_kit.models import get_notification_model
from django_webpush_kit.transports import PushResponse, locmem
from tests.factories import make_template

pytestmark = pytest.mark.django_db


def run(*arguments):
    out = StringIO()
    call_command("push_send", *arguments, stdout=out)
    return out.getvalue()


def test_a_text_is_queued_with_its_options(subscription):
    printed = run(
        "ada",
        "Hello",
        "World",
        "--type",
        "news",
        "--url",
        "/x/",
        "--ttl",
        "60",
        "--urgency",
        "high",
        "--data",
        '{"n": 1}',
    )
    row = get_notification_model().objects.get()
    assert printed == f"Batch {row.batch}: 1 queued, 0 for later, 0 suppressed\n"
    assert (row.title, row.body, row.type, row.data) == ("Hello", "World", "news", {"n": 1})
    assert row.options["url"] == "/x/"
    assert (row.options["ttl"], row.options["urgency"]) == (60, "high")


def test_a_template_is_rendered_with_its_context(subscription):
    make_template("order_shipped")
    run("ada", "--template", "order_shipped", "--context", '{"number": 7}')
    assert get_notification_model().objects.get().title == "Order 7 is on its way"


@pytest.mark.django_db(transaction=True)
def test_now_delivers_and_reports_the_outcome(subscription, push_outbox):
    printed = run("ada", "Hello", "--now")
    assert printed.splitlines()[1] == "updates.push.services.mozilla.com: sent"
    assert [message.title for message in push_outbox] == ["Hello"]


@pytest.mark.django_db(transaction=True)
def test_a_message_that_was_delivered_in_the_command_is_not_called_queued(subscription, push_settings):
    push_settings(TASK_BACKEND="django_webpush_kit.task_backends.NullBackend")
    assert ": 1 queued, 0 for later" in run("ada", "Hello")
    push_settings(TASK_BACKEND="django_webpush_kit.task_backends.ImmediateBackend")
    assert ": 1 sent, 0 for later" in run("ada", "Hello")
    locmem.answers.append(PushResponse(id=None, status=413))
    summary, reason = run("ada", "Hello").splitlines()
    assert ": 1 failed, 0 for later" in summary
    assert reason.startswith(f"{subscription.push_service}: failed: ")


def test_rows_suppressed_by_preferences_are_reported_unless_critical(make_subscription, user):
    make_subscription(user, preferences={"categories": {"news": False}})
    assert "0 queued, 0 for later, 1 suppressed" in run("ada", "Hello", "--type", "news")
    assert "1 queued" in run("ada", "Hello", "--type", "news", "--critical")


def test_reasons_of_suppressed_rows_are_reported(make_subscription, user, transactional_db):
    make_subscription(user, preferences={"categories": {"news": False}})
    assert run("ada", "Hello", "--type", "news", "--now").endswith("suppressed: Blocked by user preferences\n")


def test_an_idempotency_key_sends_once(subscription):
    run("ada", "Hello", "--idempotency-key", "k")
    assert "already sent" in run("ada", "Hello", "--idempotency-key", "k")
    assert get_notification_model().objects.count() == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ada",), "Pass either TITLE or --template"),
        (("ada", "Hello", "--template", "news"), "Pass either TITLE or --template"),
        (("nobody", "Hello"), "No user"),
        (("ada", "--template", "news"), "No notification template"),
        (("ada", "Hello", "--url", "javascript:alert(1)"), "url"),
        (("ada", "Hello", "--data", "[]"), "JSON object"),
        (("ada", "Hello", "--data", "{"), "data"),
    ],
)
def test_errors_are_reported_without_a_traceback(subscription, arguments, words):
    with pytest.raises(CommandError, match=words):
        run(*arguments)
    assert not get_notification_model().objects.exists()


def test_a_user_without_subscriptions_is_reported(user):
    with pytest.raises(CommandError, match=r"no active subscription\. Log in .* turn notifications on"):
        run("ada", "Hello")

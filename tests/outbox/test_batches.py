"""What one call writes when some of its recipients fail, and how many it reached."""

import os
import threading
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, DataError, OperationalError, connection, transaction
from django.utils import timezone

from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.exceptions import TemplateNotFound, TemplateRenderError
from django_webpush_kit.models import get_notification_model, get_subscription_model, get_template_model
from django_webpush_kit.outbox import rows
from django_webpush_kit.services import PushNotificationService, cancel, send, send_templated, unsubscribe
from tests.factories import make_template

pytestmark = pytest.mark.django_db


def failing_for_bob(user):
    """A `RECIPIENT_CONTEXT` with a mistake that shows for one user only."""
    return {"nickname": {"ada": "Countess", "grace": "Admiral"}[user.username]}


def querying_for_bob(user):
    """The same, with a mistake that the database finds: it ends an open transaction on PostgreSQL."""
    if user.username == "bob":
        get_user_model().objects.extra(where=["no_such_column = 1"]).count()
    return {"nickname": user.username}


@pytest.fixture
def people(make_user, make_subscription):
    """Ada, Bob and Grace, each with a browser."""
    users = [make_user(username=name) for name in ("ada", "bob", "grace")]
    for one in users:
        make_subscription(one)
    return get_user_model().objects.filter(username__in=["ada", "bob", "grace"])


@pytest.fixture
def personal():
    return make_template("hello", title_template="Hello {{ recipient.nickname }}")


def titles(result):
    return sorted(result.notifications.values_list("title", flat=True))


class TestARecipientThatFails:
    @pytest.mark.parametrize("function", [failing_for_bob, querying_for_bob])
    def test_is_counted_and_skipped(self, people, personal, push_settings, caplog, function):
        push_settings(RECIPIENT_CONTEXT=function)
        result = send_templated("hello", people)
        assert (result.queued, result.failed, len(titles(result))) == (2, 1, 2)
        assert "1 recipient was skipped" in caplog.text
        assert "Traceback" in caplog.text

    def test_does_not_end_the_call_when_it_is_the_only_one(self, people, personal, push_settings):
        push_settings(RECIPIENT_CONTEXT=failing_for_bob)
        result = send_templated("hello", people.get(username="bob"))
        assert (result.queued, result.failed) == (0, 1)

    def test_is_reported_by_the_service_class(self, people, personal, push_settings):
        push_settings(RECIPIENT_CONTEXT=failing_for_bob)
        subscription = get_subscription_model().objects.get(user__username="bob")
        answer = PushNotificationService().send_templated_notification(subscription, "hello")
        assert answer == {"success": False, "error": "The message could not be stored"}

    def test_is_reported_again_to_a_later_call_with_the_same_key(self, people, personal, push_settings):
        push_settings(RECIPIENT_CONTEXT=failing_for_bob)
        first = send_templated("hello", people, idempotency_key="hello")
        again = send_templated("hello", people, idempotency_key="hello")
        assert (again.reused, again.failed, again.recipients) == (True, 1, 3)
        assert again.batch == first.batch

    def test_has_no_template_in_their_language(self, people):
        make_template("hello", language="de", title_template="Hallo")
        get_subscription_model().objects.filter(user__username="ada").update(language="de")
        result = send_templated("hello", people)
        assert (titles(result), result.failed) == (["Hallo"], 2)

    def test_has_a_long_name_and_gets_a_shorter_title(self, people, settings):
        make_template("hello", title_template="{{ recipient.first_name }}, {{ recipient.last_name }}: news for you")
        people.filter(username="bob").update(first_name="B" * 150, last_name="O" * 150)
        result = send_templated("hello", people)
        assert (result.queued, result.failed) == (3, 0)
        assert titles(result)[-1] == "B" * 150 + ", " + "O" * 47 + "…"

    def test_has_a_row_that_the_database_refuses(self, people, monkeypatch):
        """The check for a refusal is the database's own: a constraint that one row violates."""
        build = rows.build_page

        def spoil_one(*arguments, **options):
            page = build(*arguments, **options)
            page.rows[1].status = "no such status"
            return page

        monkeypatch.setattr("django_webpush_kit.outbox.batches.build_page", spoil_one)
        result = send(people, "Hello")
        assert (result.queued, result.failed, result.notifications.count()) == (2, 1, 2)


class TestAMistakeOfAllRecipients:
    def test_is_raised(self, people):
        make_template("hello", title_template="{{ name }}")
        with pytest.raises(TemplateRenderError, match="name"):
            send_templated("hello", people)
        assert not get_notification_model().objects.exists()

    def test_is_raised_if_no_recipient_has_a_template_in_their_language(self, people):
        make_template("hello", language="de", title_template="Hallo")
        with pytest.raises(TemplateNotFound):
            send_templated("hello", people)

    def test_leaves_the_key_unused(self, people):
        template = make_template("hello", title_template="{{ name }}")
        with pytest.raises(TemplateRenderError):
            send_templated("hello", people, idempotency_key="hello")
        template.title_template = "Hello"
        template.save()
        assert not send_templated("hello", people, idempotency_key="hello").reused

    def test_is_raised_when_the_database_refuses_every_row(self, people, monkeypatch):
        build = rows.build_page

        def spoil_all(*arguments, **options):
            page = build(*arguments, **options)
            for row in page.rows:
                row.status = "no such status"
            return page

        monkeypatch.setattr("django_webpush_kit.outbox.batches.build_page", spoil_all)
        with pytest.raises(DatabaseError), transaction.atomic():
            send(people, "Hello")


class TestReach:
    def test_of_one_user(self, user, make_subscription):
        assert (send(user, "Hello").recipients, send(user, "Hello").unreachable) == (1, 1)
        make_subscription(user)
        make_subscription(user)
        assert (send(user, "Hello").recipients, send(user, "Hello").unreachable) == (1, 0)

    @pytest.mark.parametrize(
        "select", [lambda users: users, list, iter, lambda users: users.order_by("pk")[:4], lambda users: users.all()]
    )
    def test_of_users_in_every_form(self, people, make_user, select):
        make_user(username="nobody")
        everybody = get_user_model().objects.filter(username__in=["ada", "bob", "grace", "nobody"])
        result = send(select(everybody), "Hello")
        assert (result.recipients, result.unreachable, result.queued) == (4, 1, 3)

    @pytest.mark.parametrize("select", [lambda rows: rows, list, lambda rows: rows.order_by("pk")[:3]])
    def test_of_subscriptions_in_every_form(self, people, select):
        subscriptions = get_subscription_model().objects.all()
        unsubscribe(subscriptions[0])
        result = send(select(subscriptions.all()), "Hello")
        assert (result.recipients, result.unreachable, result.queued) == (3, 1, 2)

    def test_counts_a_user_once_despite_joins(self, people):
        joined = get_user_model().objects.filter(push_subscriptions__isnull=False)
        result = send(joined, "Hello")
        assert (result.recipients, result.unreachable) == (3, 0)


class TestTopics:
    def test_a_scheduled_message_keeps_the_one_that_is_due_before(self, subscription):
        due = send(subscription, "Now", topic="score")
        next_week = send(subscription, "Next week", topic="score", scheduled_for=timezone.now() + timedelta(days=7))
        assert due.notifications.get().status == "pending"
        deliver_due()
        assert due.notifications.get().status == "sent"
        assert next_week.notifications.get().status == "pending"

    def test_a_scheduled_message_replaces_those_due_after_it(self, subscription):
        now = timezone.now()
        later = send(subscription, "Later still", topic="score", scheduled_for=now + timedelta(days=9))
        send(subscription, "Next week", topic="score", scheduled_for=now + timedelta(days=7))
        assert later.notifications.get().status == "cancelled"

    def test_a_message_due_now_replaces_all(self, subscription):
        later = send(subscription, "Later", topic="score", scheduled_for=timezone.now() + timedelta(days=9))
        send(subscription, "Now", topic="score")
        assert later.notifications.get().status == "cancelled"


@pytest.fixture
def unreadable(people):
    """Bob's subscription has preferences that databases store and Python does not read: a number of 5,000 digits."""
    model = get_subscription_model()
    subscription = model.objects.get(user__username="bob")
    table, key = (connection.ops.quote_name(name) for name in (model._meta.db_table, model._meta.pk.column))
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET preferences = %s WHERE {key} = %s", [f"[{'1' * 5000}]", subscription.pk])


@pytest.mark.skipif(os.environ.get("TEST_DATABASE") == "mysql", reason="MySQL stores no such number")
class TestASubscriptionThatCannotBeRead:
    @pytest.mark.parametrize(
        "to",
        [
            lambda users, rows: list(users),
            lambda users, rows: [*users, *rows.only("pk")],
            lambda users, rows: users,
            lambda users, rows: users.order_by("-pk")[:3],
            lambda users, rows: rows,
            lambda users, rows: rows.order_by("-pk")[:3],
        ],
        ids=["users", "both", "queryset", "slice", "subscriptions", "slice of subscriptions"],
    )
    def test_is_counted_and_skipped(self, people, unreadable, to, caplog):
        given = to(people, get_subscription_model().objects.all())
        result = send(given, "Hello")
        assert (result.queued, result.failed, result.unreachable) == (2, 1, 0)
        assert "1 recipient was skipped: ValueError" in caplog.text

    def test_is_not_logged_if_its_error_is_raised(self, people, caplog):
        make_template("strict", title_template="{{ missing }}")
        with pytest.raises(TemplateRenderError):
            send_templated("strict", people)
        assert caplog.text == ""

    def test_raises_nothing_if_it_is_the_only_one(self, people, unreadable):
        result = send(people.filter(username="bob"), "Hello")
        assert (result.queued, result.failed, result.recipients, result.unreachable) == (0, 1, 1, 0)

    def test_an_outage_during_the_search_for_it_is_raised(self, people, monkeypatch):
        errors = iter([LookupError("odd"), OperationalError("away")])

        def fail(*args, **options):
            raise next(errors)

        monkeypatch.setattr("django_webpush_kit.outbox.pages.keyset_page", fail)
        with pytest.raises(OperationalError):
            send(people, "Hello")

    @pytest.mark.parametrize("error", [LookupError("odd"), DataError("odd"), OperationalError("away")])
    def test_a_queryset_that_fails_for_everybody_raises(self, people, monkeypatch, error):
        def fail(self):
            raise error

        failing = get_subscription_model().objects.all()
        monkeypatch.setattr("django_webpush_kit.outbox.pages.keyset_page", lambda *args, **options: fail(None))
        monkeypatch.setattr("django_webpush_kit.outbox.pages._between", lambda *args: fail(None))
        with pytest.raises(type(error)):
            send(failing, "Hello")


@pytest.mark.django_db(transaction=True)
class TestAtTheSameTime:
    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite lets nobody else write during a transaction")
    def test_a_user_who_is_deleted_meanwhile_is_counted_as_failed(self, people, monkeypatch):
        """The subscription is deleted after its page was read, before its row is inserted."""
        lock = rows.lock_recipients

        def delete_first(page):
            def delete():
                get_user_model().objects.get(username="bob").delete()
                connection.close()

            worker = threading.Thread(target=delete)
            worker.start()
            worker.join()
            return lock(page)

        monkeypatch.setattr("django_webpush_kit.outbox.batches.lock_recipients", delete_first)
        result = send(people, "Hello")
        assert (result.queued, result.failed) == (2, 1)

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite lets nobody else write during a transaction")
    @pytest.mark.parametrize("model", [get_user_model, get_subscription_model])
    def test_a_call_to_users_who_are_all_deleted_meanwhile_raises_nothing(self, people, monkeypatch, model, caplog):
        lock = rows.lock_recipients

        def delete_first(page):
            worker = threading.Thread(target=lambda: (model().objects.all().delete(), connection.close()))
            worker.start()
            worker.join()
            return lock(page)

        monkeypatch.setattr("django_webpush_kit.outbox.batches.lock_recipients", delete_first)
        result = send(people, "Hello")
        assert (result.queued, result.failed) == (0, 3)
        assert "skipped" not in caplog.text

    def test_a_template_that_is_deleted_meanwhile_loses_no_message(self, people, personal, push_settings, monkeypatch):
        build = rows.build_page

        def delete_the_template(*args, **options):
            page = build(*args, **options)
            get_template_model().objects.all().delete()
            return page

        monkeypatch.setattr("django_webpush_kit.outbox.batches.build_page", delete_the_template)
        push_settings(RECIPIENT_CONTEXT=lambda user: {"nickname": user.username})
        result = send_templated("hello", people)
        assert (result.queued, result.failed) == (3, 0)
        assert titles(result) == ["Hello ada", "Hello bob", "Hello grace"]

    def test_sending_and_cancelling_one_key_never_fails(self, subscription):
        errors = []

        def repeat(call):
            try:
                for _ in range(25):
                    call()
            except Exception as error:
                errors.append(error)
            finally:
                connection.close()

        calls = [
            lambda: send(subscription, "Hello", idempotency_key="order:7"),
            lambda: cancel(idempotency_key="order:7"),
        ]
        workers = [threading.Thread(target=repeat, args=[call]) for call in calls * 2]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert errors == []


@pytest.mark.parametrize("key", ["a\x00b", "a\ud800b"])
def test_a_key_that_cannot_be_stored_is_refused_everywhere(subscription, key):
    make_template("news", title_template="News")
    for call in (lambda: send(subscription, "Hello", idempotency_key=key), lambda: cancel(idempotency_key=key)):
        with pytest.raises(ValueError, match="idempotency_key must not contain NUL characters or lone surrogates"):
            call()

"""ACTIVE_USERS: users that are deleted or suspended softly get no notifications."""

import pytest
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit import services
from django_webpush_kit.checks import check_settings
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.fan_out import fan_out
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.subscriptions import active_users
from django_webpush_kit.testing import outbox
from tests.factories import make_template

pytestmark = pytest.mark.django_db

NOT_DELETED = {"last_name": ""}
"""The tests' user model has no `deleted_at`; a last name stands for it."""


def not_deleted(users):
    return users.filter(**NOT_DELETED)


def raising(users):
    raise LookupError("no such tenant")


def no_queryset(users):
    return [user.pk for user in users]


@pytest.fixture
def admit(push_settings):
    def apply(value):
        push_settings(ACTIVE_USERS=value)

    return apply


@pytest.fixture
def people(make_user, make_subscription):
    """One who is there, one who was deleted softly, and a browser without a user."""
    here, gone = make_user(username="here"), make_user(username="gone", last_name="deleted")
    for person in (here, gone, None):
        make_subscription(person)
    return here, gone


EVERY_KIND = pytest.mark.parametrize(
    "value", [NOT_DELETED, not_deleted, f"{__name__}.not_deleted"], ids=["lookups", "function", "path"]
)


@EVERY_KIND
def test_inactive_users_are_not_recipients(people, admit, value):
    admit(value)
    here, gone = people
    result = services.send([here, gone], "Hello")
    assert (result.queued, result.notifications.get().user) == (1, here)


@EVERY_KIND
def test_broadcasts_skip_them_and_reach_anonymous_subscriptions(people, admit, value):
    admit(value)
    make_template("news", title_template="News")
    services.broadcast("news")
    fan_out()
    here, _gone = people
    assert set(get_notification_model().objects.values_list("user", flat=True)) == {here.pk, None}


@EVERY_KIND
def test_a_user_deleted_after_the_call_gets_nothing(people, admit, value):
    here, _gone = people
    services.send(here, "Hello")
    admit(value)
    here.last_name = "deleted"
    here.save()
    assert deliver_due().outcomes == {"cancelled": 1}
    assert list(outbox) == []


def test_messages_for_anonymous_subscriptions_are_delivered(admit, make_subscription):
    admit(NOT_DELETED)
    services.send(make_subscription(), "Hello")
    assert deliver_due().sent == 1


def test_is_active_always_applies(admit, make_user, make_subscription):
    admit(NOT_DELETED)
    user = make_user()
    make_subscription(user)
    services.send(user, "Hello")
    user.is_active = False
    user.save()
    assert deliver_due().outcomes == {"cancelled": 1}
    assert services.send(user, "Hello").queued == 0


@pytest.mark.parametrize("value", [raising, no_queryset, {"no_such_field": 1}, "no.such.path"])
class TestOneThatCannotBeUsed:
    def test_raises_an_error_that_names_the_setting(self, people, admit, value):
        admit(value)
        with pytest.raises(ImproperlyConfigured, match="ACTIVE_USERS"):
            services.send(people[0], "Hello")

    def test_does_not_stop_delivery(self, people, admit, value, caplog):
        services.send(people[0], "Hello")
        admit(value)
        assert deliver_due().sent == 1
        assert "ACTIVE_USERS" in caplog.text

    def test_is_found_by_a_check(self, admit, value):
        admit(value)
        assert [message.id for message in check_settings()] == ["webpush_kit.E012"]


def refused_by_the_database(users):
    return users.extra(where=["no_such_column = 1"])


class TestOneThatTheDatabaseRefuses:
    @pytest.mark.django_db(transaction=True)
    def test_does_not_stop_delivery(self, people, admit, caplog):
        services.send(people[0], "Hello")
        admit(refused_by_the_database)
        assert deliver_due().sent == 1
        assert "ACTIVE_USERS cannot be used" in caplog.text


def test_users_without_an_active_flag_are_active(subscription, monkeypatch):
    monkeypatch.setattr(active_users, "get_user_model", lambda: Session)
    services.send(subscription, "Hello")
    assert deliver_due().sent == 1

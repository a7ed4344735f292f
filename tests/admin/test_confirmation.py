"""Actions on many rows: the admin asks first, with the number, and does no more than it said."""

import pytest

from django_webpush_kit.admin import reading, subscriptions
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model
from tests.admin.test_admin import act, choose, confirm, messages_of, url_of
from tests.factories import make_notification

pytestmark = pytest.mark.django_db


def active():
    return get_subscription_model().objects.filter(is_active=True).count()


@pytest.fixture
def browsers(make_user, make_subscription):
    return [make_subscription(make_user()) for _ in range(5)]


def test_deactivating_shows_the_number_of_rows_and_waits_for_confirmation(admin_client, browsers):
    page = choose(admin_client, "deactivate", *browsers[:2])
    assert "2 subscriptions will be deactivated." in page.content.decode()
    assert active() == 5
    assert messages_of(confirm(admin_client, page)) == ["2 subscriptions were deactivated."]
    assert active() == 3


def test_a_second_click_on_the_button_sends_no_second_test(admin_client, browsers):
    page = choose(admin_client, "send_test", *browsers[:2])
    for _ in range(2):
        assert messages_of(confirm(admin_client, page)) == ["2 test notifications were queued."]
    assert get_notification_model().objects.count() == 2


def test_selecting_all_rows_selects_those_that_match_the_filter(admin_client, browsers):
    user = browsers[0].user
    page = choose(admin_client, "deactivate", browsers[0], query=f"?q={user.username}", select_across="1")
    assert "1 subscription will be deactivated." in page.content.decode()
    confirm(admin_client, page)
    assert active() == 4


def test_it_asks_again_if_more_rows_match_than_were_confirmed(admin_client, browsers, make_subscription):
    page = choose(admin_client, "deactivate", browsers[0], select_across="1")
    assert "5 subscriptions will be deactivated." in page.content.decode()
    make_subscription()
    again = confirm(admin_client, page)
    assert "There are more rows now" in again.content.decode()
    assert active() == 6
    assert messages_of(confirm(admin_client, again)) == ["6 subscriptions were deactivated."]


@pytest.mark.parametrize("number", ["", "x", "-1", "1e9", "\u0665", "9" * 5000, "4"])
def test_a_forged_number_of_rows_confirms_nothing(admin_client, browsers, number):
    choose(admin_client, "deactivate", *browsers, confirmed=number)
    assert active() == 5


@pytest.mark.parametrize("action", ["deactivate", "send_test", "delete_selected"])
def test_selecting_all_rows_is_refused_if_they_are_too_many_to_count(admin_client, browsers, monkeypatch, action):
    monkeypatch.setattr(reading, "COUNT_LIMIT", 4)
    page = choose(admin_client, action, browsers[0], select_across="1", confirmed="100", post="yes")
    assert messages_of(page) == ["Nothing was changed: the list has more than 4 rows. Filter the list first."]
    assert (active(), get_notification_model().objects.count()) == (5, 0)
    assert "These are the newest rows." in page.content.decode()


def test_a_list_of_exactly_the_counting_limit_is_not_called_longer(admin_client, browsers, monkeypatch):
    monkeypatch.setattr(reading, "COUNT_LIMIT", 5)
    page = admin_client.get(url_of(get_subscription_model(), "changelist"))
    assert "newest rows" not in page.content.decode()
    assert messages_of(confirm(admin_client, choose(admin_client, "deactivate", browsers[0], select_across="1")))


def test_test_notifications_go_to_a_limited_number_of_subscriptions(admin_client, browsers, monkeypatch):
    monkeypatch.setattr(subscriptions, "MAX_TESTS", 4)
    page = choose(admin_client, "send_test", *browsers, confirmed="5")
    assert messages_of(page) == ["Nothing was sent: select at most 4 subscriptions for a test."]
    assert not get_notification_model().objects.exists()
    assert act(admin_client, "send_test", *browsers[:4]) == ["4 test notifications were queued."]


def test_sending_test_notifications_asks_for_confirmation(admin_client, browsers):
    page = choose(admin_client, "send_test", *browsers)
    assert "A test notification will be sent to each of 5 active subscriptions." in page.content.decode()
    assert not get_notification_model().objects.exists()


def test_cancelling_counts_only_pending_notifications(admin_client, subscription):
    pending, sent = make_notification(subscription, "pending"), make_notification(subscription)
    page = choose(admin_client, "cancel", pending, sent)
    assert "1 pending notification will be cancelled." in page.content.decode()
    pending.refresh_from_db()
    assert pending.status == "pending"


def test_cancelling_broadcasts_asks_for_confirmation(admin_client):
    row = PushBroadcast.objects.create(type="news")
    page = choose(admin_client, "cancel", row)
    assert "1 broadcast will be cancelled." in page.content.decode()
    row.refresh_from_db()
    assert row.status == "pending"

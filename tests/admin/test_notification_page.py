"""The page of one notification: its story, its payload, what belongs to it, and what can be done with it."""

import re
import uuid
from datetime import datetime, timezone

import pytest

from django_webpush_kit import services
from django_webpush_kit.admin.outbox import PushNotificationAdmin
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model
from django_webpush_kit.services import subscribe
from django_webpush_kit.transports import PushResponse, locmem
from tests.admin.test_admin import confirm, messages_of, permit, staff, url_of  # noqa: F401  # a fixture among them
from tests.factories import make_event, make_notification

pytestmark = pytest.mark.django_db

MOMENTS = ("created_at", "sent_at", "scheduled_for", "next_attempt_at", "expires_at")


def page_of(client, row):
    return client.get(url_of(type(row), "change", row.pk)).content.decode()


def press(client, page, row):
    """Open the page that asks, press its button, and return the messages that come."""
    asked = client.get(url_of(type(row), page, row.pk))
    assert asked.status_code == 200
    return messages_of(confirm(client, asked))


@pytest.fixture
def notification(subscription):
    return make_notification(subscription, title="Order 7 <shipped>", body="On its way", type="order")


class TestPage:
    @pytest.mark.django_db(transaction=True)
    def test_it_shows_the_real_history_of_a_delivery(self, admin_client, subscription):
        locmem.answers.append(PushResponse(id=None, status=413))
        services.send(subscription, "Hello", actions=[{"action": "track", "title": "Track"}])
        deliver_due()
        row = get_notification_model().objects.get()
        make_event(row, "action_clicked", "track")
        page = page_of(admin_client, row)
        assert "Mozilla answered 413; this was the last attempt" in page
        assert "The message is too large." in page
        assert "Clicked: Track" in page
        assert "It is not tried again by itself." in page

    def test_times_have_seconds(self, admin_client, subscription):
        moments = {name: datetime(2026, 3, 4, 5, 6, second, tzinfo=timezone.utc) for second, name in enumerate(MOMENTS)}
        row = make_notification(subscription, "sent", **moments)
        event = make_event(row, "delivered")
        page = page_of(admin_client, row)
        assert [f"March 4, 2026 05:06:0{second}" in page for second in range(len(MOMENTS))] == [True] * len(MOMENTS)
        assert f"{event.timestamp:%H:%M:%S}" in page.rpartition("inline-group")[2]
        assert f"{event.timestamp:%H:%M:%S}" in admin_client.get(url_of(type(event), "changelist")).content.decode()

    def test_a_row_without_expires_at_shows_the_deadline_of_its_ttl(self, admin_client, subscription):
        created = datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone.utc)
        row = make_notification(subscription, "sent", created_at=created, options={"ttl": 60})
        assert "March 4, 2026 05:07:07 (from its TTL)" in page_of(admin_client, row)
        type(row).objects.filter(pk=row.pk).update(expires_at=created)
        assert "March 4, 2026 05:06:07\n" in re.sub(r"</?div[^>]*>", "\n", page_of(admin_client, row))

    def test_the_payload_is_shown_without_its_token(self, admin_client, notification, settings, push_settings):
        push_settings(BASE_URL="https://example.com")
        page = page_of(admin_client, notification)
        assert "&quot;title&quot;: &quot;Order 7 &lt;shipped&gt;&quot;" in page
        assert "&quot;token&quot;: &quot;(hidden)&quot;" in page
        assert "open/(hidden)" in page or "web_push" in page
        assert "Order 7 &lt;shipped&gt;</strong><p>On its way</p>" in page

    @pytest.mark.parametrize("fields", [{"options": {"ttl": "soon"}}, {"data": "text"}, {"options": 7}])
    def test_it_names_stored_values_that_cannot_be_sent(self, admin_client, subscription, fields):
        page = page_of(admin_client, make_notification(subscription, "failed", **fields))
        assert 'class="errornote"' in page

    def test_a_notification_to_an_anonymous_subscription_shows_no_user(self, admin_client, make_subscription):
        row = make_notification(make_subscription(), title="Anonymous")
        assert "To the same user" not in page_of(admin_client, row)
        assert 'class="field-recipient">-' in admin_client.get(url_of(type(row), "changelist")).content.decode()

    def test_the_number_of_queries_is_constant(self, admin_client, notification, django_assert_max_num_queries):
        for _ in range(20):
            make_notification(notification.subscription, batch=notification.batch)
        for action in ("delivered", "clicked", "dismissed"):
            make_event(notification, action)
        with django_assert_max_num_queries(15):
            page_of(admin_client, notification)

    def test_an_unknown_notification_is_404(self, admin_client, notification):
        notification.delete()
        assert admin_client.get(url_of(type(notification), "again", 1)).status_code == 404


class TestLinks:
    def test_other_notifications_of_the_batch_are_linked(
        self, admin_client, subscription, make_user, make_subscription, user
    ):
        batch = uuid.uuid4()
        row = make_notification(subscription, batch=batch)
        other = make_notification(make_subscription(make_user(username="bob")), batch=batch, title="Hello Bob")
        for number in range(7):
            make_notification(subscription, title=f"Number {number}")
        page = page_of(admin_client, row)
        assert "Hello Bob (bob, sent)" in page
        assert f"?batch={batch}" in page
        assert f"?user={user.pk}" in page
        assert url_of(type(other), "change", other.pk) in page
        assert "Number 6 (sent)" in page
        assert "Number 1 (sent)" not in page, "five are enough"
        assert f"?notification={row.pk}" in page

    def test_the_page_links_to_the_broadcast(self, admin_client, subscription):
        broadcast = PushBroadcast.objects.create(type="news")
        row = make_notification(subscription, batch=broadcast.batch)
        page = page_of(admin_client, row)
        assert url_of(PushBroadcast, "change", broadcast.pk) in page
        assert "Queued by the broadcast news" in page

    def test_a_subscription_links_to_its_notifications_and_those_of_its_user(
        self, admin_client, notification, make_subscription
    ):
        subscription, model = notification.subscription, get_subscription_model()
        page = page_of(admin_client, subscription)
        for query in (f"?subscription={subscription.pk}", f"?user={subscription.user_id}"):
            assert url_of(type(notification), "changelist") + query in page
        assert url_of(model, "changelist") + f"?user={subscription.user_id}" in page
        anonymous = make_subscription()
        assert "of this user" not in page_of(admin_client, anonymous)
        assert 'class="field-owner">-' in admin_client.get(url_of(model, "changelist")).content.decode()

    def test_an_event_links_to_its_notification(self, admin_client, notification):
        event = make_event(notification, "clicked")
        target = url_of(type(notification), "change", notification.pk)
        assert target in page_of(admin_client, event)
        assert target in admin_client.get(url_of(type(event), "changelist")).content.decode()


class TestResending:
    def test_it_asks_for_confirmation(self, admin_client, notification):
        model = get_notification_model()
        model.objects.filter(pk=notification.pk).update(
            options={"ttl": 60}, data={"n": 7}, language="de", topic="order-7", max_retries=1
        )
        asked = admin_client.get(url_of(model, "again", notification.pk)).content.decode()
        assert "Order 7 &lt;shipped&gt;" in asked
        assert url_of(model, "change", notification.pk) in asked, "a way back"
        assert model.objects.count() == 1, "a question sends nothing"
        (message,) = press(admin_client, "again", notification)
        assert message.startswith("1 notification was queued: ")
        copy = model.objects.exclude(pk=notification.pk).get()
        assert (copy.title, copy.body, copy.type, copy.data) == ("Order 7 <shipped>", "On its way", "order", {"n": 7})
        assert (copy.options["ttl"], copy.language, copy.topic, copy.max_retries) == (60, "de", "order-7", 1)
        assert (copy.subscription, copy.status) == (notification.subscription, "pending")
        assert url_of(model, "change", copy.pk) in message

    def test_a_subscription_of_another_user_gets_nothing(self, admin_client, notification, make_user):
        browser = notification.subscription
        subscribe(
            endpoint=browser.endpoint, p256dh=browser.p256dh_key, auth=browser.auth_key, user=make_user(username="bob")
        )
        page = admin_client.post(url_of(type(notification), "again", notification.pk), {"confirmed": "1"}, follow=True)
        assert messages_of(page) == ["Not sent: the browser belongs to another user now."]
        assert get_notification_model().objects.count() == 1

    def test_an_inactive_subscription_gets_nothing(self, admin_client, notification):
        services.unsubscribe(notification.subscription)
        page = admin_client.get(url_of(type(notification), "again", notification.pk), follow=True)
        assert messages_of(page) == ["Not sent: the subscription is not active."]

    @pytest.mark.parametrize("page", ["again", "to_me"])
    def test_a_notification_without_stored_text_cannot_be_resent(self, admin_client, subscription, page):
        row = make_notification(subscription, title="", data={}, options={})
        url = url_of(type(row), page, row.pk)
        assert url not in page_of(admin_client, row)
        for answer in (admin_client.get(url, follow=True), admin_client.post(url, {"confirmed": "1"}, follow=True)):
            (message,) = messages_of(answer)
            assert message == "Not sent: the text of this notification was deleted after TEXT_RETENTION_DAYS."
        assert get_notification_model().objects.count() == 1

    def test_an_exception_of_project_code_is_reported(self, admin_client, notification, push_settings):
        push_settings(ACTIVE_USERS=lambda users: 1 / 0)
        assert press(admin_client, "to_me", notification) == [
            'Not sent: WEBPUSH_KIT["ACTIVE_USERS"]: ZeroDivisionError: division by zero'
        ]

    def test_preferences_can_prevent_it(self, admin_client, notification):
        services.update_preferences(notification.subscription, {"categories": {"order": False}})
        (message,) = press(admin_client, "again", notification)
        assert message == "Nothing was queued: Blocked by user preferences"

    def test_a_message_that_cannot_be_sent_says_why(self, admin_client, subscription):
        row = make_notification(subscription, options={"ttl": "soon"})
        (message,) = press(admin_client, "again", row)
        assert message.startswith("Not sent: ")
        assert "ttl" in message

    def test_it_can_be_sent_to_ones_own_browsers(self, admin_client, admin_user, notification, make_subscription):
        assert press(admin_client, "to_me", notification) == ["Nothing was queued: there is no active subscription."]
        mine = make_subscription(admin_user, preferences={"categories": {"order": False}})
        (message,) = press(admin_client, "to_me", notification)
        assert message.startswith("1 notification was queued: ")
        copy = get_notification_model().objects.get(subscription=mine)
        assert (copy.title, copy.user, copy.topic, copy.status) == ("Order 7 <shipped>", admin_user, "", "pending")


@pytest.mark.thorough
@pytest.mark.parametrize("page", ["again", "to_me"])
def test_a_second_click_on_the_button_sends_nothing_more(
    admin_client, admin_user, notification, make_subscription, page
):
    make_subscription(admin_user)
    model = type(notification)
    asked = admin_client.get(url_of(model, page, notification.pk))
    answers = [messages_of(confirm(admin_client, asked)) for _ in range(2)]
    assert answers[0] == answers[1]
    assert model.objects.count() == 2
    confirm(admin_client, admin_client.get(url_of(model, page, notification.pk)))
    assert model.objects.count() == 3, "a question asked again is another one"


@pytest.mark.parametrize("asked", ["\x00", "a" * 5000, " ", "\U0001f514"])
def test_odd_values_of_the_question_do_no_harm(admin_client, notification, asked):
    url = url_of(type(notification), "again", notification.pk)
    for _ in range(2):
        page = admin_client.post(url, {"confirmed": "1", "asked": asked}, follow=True)
        assert page.status_code == 200
    assert type(notification).objects.count() in (2, 3)


def test_a_row_that_staff_may_not_see_is_not_sent(admin_client, notification, monkeypatch):
    monkeypatch.setattr(PushNotificationAdmin, "has_view_permission", lambda self, request, obj=None: obj is None)
    assert admin_client.get(url_of(type(notification), "again", notification.pk)).status_code == 403


@pytest.mark.thorough
def test_a_pending_notification_can_be_cancelled(admin_client, subscription):
    row = make_notification(subscription, "pending")
    assert url_of(type(row), "cancel", row.pk) in page_of(admin_client, row)
    assert press(admin_client, "cancel", row) == ["The notification was cancelled."]
    row.refresh_from_db()
    assert row.status == "cancelled"
    assert "Cancelled: Cancelled by the application" in page_of(admin_client, row)
    assert url_of(type(row), "cancel", row.pk) not in page_of(admin_client, row)
    assert press(admin_client, "cancel", row) == ["It is not pending any more; nothing was changed."]


@pytest.mark.parametrize("page", ["again", "to_me", "cancel"])
def test_it_requires_the_change_permission(client, staff, notification, page):  # noqa: F811  # the fixture
    model = type(notification)
    permit(staff, model, "view")
    for method in (client.get, client.post):
        assert method(url_of(model, page, notification.pk), {"confirmed": "1"}).status_code == 403
    assert url_of(model, page, notification.pk) not in page_of(client, notification)
    assert get_notification_model().objects.count() == 1
    permit(staff, model, "change")
    staff = type(staff).objects.get(pk=staff.pk)
    client.force_login(staff)
    assert client.get(url_of(model, page, notification.pk)).status_code == 200

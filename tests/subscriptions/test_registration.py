"""Registering browsers: ownership, replaced endpoints, and the pending notifications of a subscription that ends."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.exceptions import InvalidSubscription, KeyMismatch, TokenVoid
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model
from django_webpush_kit.signals import subscription_deactivated
from django_webpush_kit.subscriptions import deactivation
from django_webpush_kit.subscriptions.browsers import BrowserSubscription
from django_webpush_kit.subscriptions.deactivation import deactivate_subscriptions
from django_webpush_kit.subscriptions.registrants import ByToken, ByUser
from django_webpush_kit.subscriptions.registration import REPLACED, register
from django_webpush_kit.testing import outbox
from django_webpush_kit.tokens import read_subscription_token, sign_subscription

pytestmark = pytest.mark.django_db

ENDPOINT = "https://updates.push.services.mozilla.com/wpush/v2/abc"


def browser_of(subscription, endpoint=""):
    return BrowserSubscription.check(
        endpoint=endpoint or subscription.endpoint, p256dh=subscription.p256dh_key, auth=subscription.auth_key
    )


def test_a_token_replaced_after_it_was_read_is_void(subscription):
    claim = read_subscription_token(sign_subscription(subscription))
    assert register(browser_of(subscription), ByToken(claim)).subscription.pk == subscription.pk
    with pytest.raises(TokenVoid):
        register(browser_of(subscription), ByToken(claim))


def test_a_token_of_a_deleted_subscription_is_void(subscription):
    claim = read_subscription_token(sign_subscription(subscription))
    browser = browser_of(subscription)
    get_subscription_model().objects.all().delete()
    with pytest.raises(TokenVoid):
        register(browser, ByToken(claim))


class TestMergingTwoSubscriptionsOfOneBrowser:
    """The page registers the new endpoint before the service worker reports which endpoint it replaces."""

    @pytest.fixture
    def previous(self, user, make_subscription):
        return make_subscription(user, preferences={"categories": {"news": False}})

    @pytest.fixture
    def current(self, user, make_subscription):
        return make_subscription(user)

    def merge(self, user, previous, current):
        return register(browser_of(current), ByUser(user, previous.endpoint)).subscription

    def test_a_message_pending_for_both_is_sent_once(self, user, previous, current):
        services.send(user, "Hello")
        services.send(previous, "To the old one only")
        self.merge(user, previous, current)
        assert deliver_due().sent == 2
        assert sorted(message.title for message in outbox) == ["Hello", "To the old one only"]
        sent = get_notification_model().objects.filter(status="sent")
        assert set(sent.values_list("subscription", flat=True)) == {current.pk}

    def test_a_message_already_sent_to_the_new_one_is_cancelled(self, user, previous, current):
        result = services.send(user, "Hello")
        result.notifications.filter(subscription=current).update(status="sent")
        self.merge(user, previous, current)
        assert deliver_due().sent == 0
        assert {row.status for row in result.notifications} == {"sent", "cancelled"}

    def test_a_message_that_failed_for_the_new_one_is_moved_to_it(self, user, previous, current):
        result = services.send(user, "Hello")
        result.notifications.filter(subscription=current).update(status="failed")
        self.merge(user, previous, current)
        assert deliver_due().sent == 1

    def test_a_row_is_cancelled_if_its_broadcast_has_yet_to_reach_the_new_one(self, user, previous, current):
        services.send(previous, "News")
        row = get_notification_model().objects.get()
        PushBroadcast.objects.create(type="news", batch=row.batch, status="running", cursor=str(previous.pk))
        self.merge(user, previous, current)
        row.refresh_from_db()
        assert row.status == "cancelled"

    def test_a_row_is_moved_if_its_broadcast_has_passed_the_new_one(self, user, previous, current):
        services.send(previous, "News")
        row = get_notification_model().objects.get()
        PushBroadcast.objects.create(type="news", batch=row.batch, status="running", cursor=str(current.pk))
        self.merge(user, previous, current)
        row.refresh_from_db()
        assert (row.status, row.subscription_id) == ("pending", current.pk)

    def test_preferences_are_copied_if_the_new_one_has_none(self, user, previous, current):
        kept = self.merge(user, previous, current)
        kept.refresh_from_db()
        assert kept.preferences == {"categories": {"news": False}}

    def test_preferences_of_the_new_one_win(self, user, previous, current):
        services.update_preferences(current, {"categories": {"news": True}})
        kept = self.merge(user, previous, current)
        kept.refresh_from_db()
        assert kept.preferences == {"categories": {"news": True}}

    def test_the_deactivation_signal_is_sent_once(self, user, previous, current):
        told = []

        def receive(subscription, reason, **given):
            told.append((subscription.pk, subscription.is_active, reason))

        subscription_deactivated.connect(receive)
        try:
            self.merge(user, previous, current)
            self.merge(user, previous, current)
        finally:
            subscription_deactivated.disconnect(receive)
        assert told == [(previous.pk, False, REPLACED)]


class TestOneRuleForPendingNotifications:
    """Whatever ends a subscription, its pending notifications stay pending and are suppressed when they are due."""

    ENDINGS = {
        "unsubscribed": lambda row: services.unsubscribe(row),
        "deactivated": lambda row: deactivate_subscriptions(rows_of_it(row), "gone (410)"),
        "expired": lambda row: rows_of_it(row).update(expiration_time=timezone.now() - timedelta(days=1)),
    }

    @pytest.fixture(params=ENDINGS.values(), ids=ENDINGS)
    def ended(self, request, subscription):
        now = get_notification_model()
        services.send(subscription, "Now")
        services.send(subscription, "Later", scheduled_for=timezone.now() + timedelta(hours=1))
        request.param(subscription)
        assert set(now.objects.values_list("status", flat=True)) == {"pending"}
        return subscription

    def test_due_ones_are_suppressed(self, ended):
        assert deliver_due().outcomes == {"suppressed": 1}
        assert get_notification_model().objects.get(status="suppressed").title == "Now"

    def test_a_browser_that_returns_gets_its_scheduled_notifications(self, ended, user):
        deliver_due()
        register(browser_of(ended), ByUser(user))
        get_notification_model().objects.pending().update(next_attempt_at=timezone.now())
        deliver_due()
        assert [message.title for message in outbox] == ["Later"]

    def test_cancelled_notifications_stay_cancelled_when_it_returns(self, ended, user):
        deliver_due()
        assert services.cancel(get_notification_model().objects.filter(title="Later")) == 1
        register(browser_of(ended), ByUser(user))
        assert not get_notification_model().objects.pending().exists()


def rows_of_it(subscription):
    return get_subscription_model().objects.filter(pk=subscription.pk)


def test_invalid_stored_keys_count_as_other_keys(subscription):
    rows_of_it(subscription).update(p256dh_key="no key")
    with pytest.raises(KeyMismatch):
        register(browser_of(subscription), ByUser(None))


def test_many_subscriptions_are_deactivated_in_groups(user, monkeypatch):
    model = get_subscription_model()
    fields = {"p256dh_key": "x", "auth_key": "y", "user": user}
    model.objects.bulk_create(model(endpoint=f"https://web.push.apple.com/{number}", **fields) for number in range(7))
    monkeypatch.setattr(deactivation, "GROUP_SIZE", 3)
    assert deactivate_subscriptions(model.objects.all(), "gone") == 7
    assert not model.objects.active().exists()


def test_a_subscription_with_a_new_endpoint_is_not_deactivated(subscription):
    """The push service reports that its former endpoint is gone (410)."""
    former = get_subscription_model().objects.filter(pk=subscription.pk, endpoint=subscription.endpoint)
    with before_the_first_update(lambda: rows_of_it(subscription).update(endpoint=f"{ENDPOINT}/new")):
        assert deactivate_subscriptions(former, "gone") == 0
    subscription.refresh_from_db()
    assert subscription.is_active


@contextmanager
def before_the_first_update(change):
    """Run `change`, as if by another request, right before the next UPDATE."""
    pending = [change]

    def watch(execute, sql, params, many, context):
        if sql.startswith("UPDATE") and pending:
            pending.pop()()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        yield


class TestSavingAStaleRow:
    """The row was read before its endpoint was replaced, or before it was deactivated."""

    def test_saving_preferences_keeps_the_other_columns(self, subscription):
        stale = rows_of_it(subscription).get()
        replaced = browser_of(subscription, endpoint=f"{ENDPOINT}/new")
        register(replaced, ByUser(subscription.user, subscription.endpoint))
        services.unsubscribe(rows_of_it(subscription).get())
        stale.preferences = {"categories": {"news": False}}
        stale.save(update_fields=["preferences"])
        row = rows_of_it(subscription).get()
        assert (row.endpoint, row.endpoint_hash) == (replaced.endpoint.url, replaced.endpoint.hash)
        assert (row.is_active, row.preferences) == (False, {"categories": {"news": False}})

    def test_preferences_of_a_deleted_row_are_refused(self, subscription):
        stale = rows_of_it(subscription).get()
        subscription.delete()
        with pytest.raises(InvalidSubscription, match="deleted"):
            services.update_preferences(stale, {})
        services.unsubscribe(stale)

    def test_saving_no_fields_runs_no_query(self, subscription, django_assert_num_queries):
        with django_assert_num_queries(0):
            subscription.save(update_fields=[])

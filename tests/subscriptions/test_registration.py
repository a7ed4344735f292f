"""Storing browsers: what is accepted, who owns it, and what becomes of pending notifications."""

from contextlib import contextmanager
from datetime import datetime, timedelta
from datetime import timezone as datetime_timezone

import pytest
from django.db import connection
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.exceptions import InvalidSubscription, KeyMismatch, TokenVoid
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model
from django_webpush_kit.signals import subscription_deactivated
from django_webpush_kit.subscriptions import deactivation
from django_webpush_kit.subscriptions.deactivation import deactivate_subscriptions
from django_webpush_kit.subscriptions.registration import REPLACED, BrowserSubscription, ByToken, ByUser, register
from django_webpush_kit.testing import outbox
from django_webpush_kit.tokens import read_subscription_token, sign_subscription
from tests.conftest import new_keys

pytestmark = pytest.mark.django_db

UTC = datetime_timezone.utc

ENDPOINT = "https://updates.push.services.mozilla.com/wpush/v2/abc"


def browser_of(subscription, endpoint=""):
    return BrowserSubscription.check(
        endpoint=endpoint or subscription.endpoint, p256dh=subscription.p256dh_key, auth=subscription.auth_key
    )


def test_a_token_that_was_replaced_since_it_was_read_repairs_nothing(subscription):
    claim = read_subscription_token(sign_subscription(subscription))
    assert register(browser_of(subscription), ByToken(claim)).subscription.pk == subscription.pk
    with pytest.raises(TokenVoid):
        register(browser_of(subscription), ByToken(claim))


def test_a_token_of_a_subscription_that_is_gone_repairs_nothing(subscription):
    claim = read_subscription_token(sign_subscription(subscription))
    browser = browser_of(subscription)
    get_subscription_model().objects.all().delete()
    with pytest.raises(TokenVoid):
        register(browser, ByToken(claim))


class TestWhatHostCodeMayPass:
    """Every value is stored, or refused with the name of its field."""

    @pytest.mark.parametrize(
        ("name", "value", "stored"),
        [
            ("user_agent", None, ""),
            ("user_agent", "Browser\x00/1\ud800", "Browser/1?"),
            ("language", None, ""),
            ("language", "pt_BR", "pt-br"),
            ("language", "zh-Hant-TW", "zh-hant-tw"),
            ("language", "es-419", "es-419"),
            ("language", "sl-rozaj-biske", "sl-rozaj-biske"),
            ("language", "haw", "haw"),
            ("language", "", ""),
            ("timezone", None, ""),
            ("timezone", "Europe/Berlin", "Europe/Berlin"),
            ("ip_address", None, None),
            ("ip_address", "", None),
            ("ip_address", "2001:DB8::1", "2001:db8::1"),
            ("ip_address", "fe80::1%eth0", "fe80::1"),
            ("expiration_time", None, None),
            ("expiration_time", 4_000_000_000_000, datetime(2096, 10, 2, 7, 6, 40, tzinfo=UTC)),
            ("expiration_time", 4_000_000_000_000.0, datetime(2096, 10, 2, 7, 6, 40, tzinfo=UTC)),
        ],
    )
    def test_what_is_stored(self, name, value, stored):
        row = services.subscribe(endpoint=ENDPOINT, **new_keys(), **{name: value})
        row.refresh_from_db()
        assert getattr(row, name) == stored

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("user_agent", 7),
            ("user_agent", ["x"]),
            ("language", "xx-nonsense"),
            ("language", "de\x00-"),
            ("language", "../de"),
            ("language", "x" * 36),
            ("language", "ä"),
            ("language", 5),
            ("timezone", "Mars/Olympus"),
            ("timezone", 2),
            ("ip_address", "nowhere"),
            ("ip_address", "203.0.113.7:80"),
            ("expiration_time", datetime(2096, 10, 2)),  # noqa: DTZ001  # a naive one is refused
            ("expiration_time", datetime(2020, 1, 1, tzinfo=UTC)),
            ("expiration_time", 0),
            ("expiration_time", -1),
            ("expiration_time", True),
            ("expiration_time", float("nan")),
            ("expiration_time", float("inf")),
            ("expiration_time", 10**30),
            ("expiration_time", "2096-10-02"),
            ("preferences", []),
            ("preferences", {"x": 1}),
            ("endpoint", None),
            ("endpoint", 7),
            ("p256dh", None),
            ("auth", b"x"),
            ("user", "ada"),
        ],
    )
    def test_what_is_refused(self, name, value):
        with pytest.raises(InvalidSubscription) as refusal:
            services.subscribe(**{"endpoint": ENDPOINT, **new_keys(), name: value})
        assert refusal.value.field == name
        assert name in str(refusal.value)
        assert not get_subscription_model().objects.exists()

    def test_a_language_of_the_site_is_one(self, settings):
        settings.LANGUAGES = [("xx-nonsense", "Nonsense")]
        row = services.subscribe(endpoint=ENDPOINT, **new_keys(), language="xx-Nonsense")
        assert row.language == "xx-nonsense"


class TestANewEndpointThatCameBeforeItsOldOne:
    """The page registers it, and only then the service worker says which one it replaces."""

    @pytest.fixture
    def previous(self, user, make_subscription):
        return make_subscription(user, preferences={"categories": {"news": False}})

    @pytest.fixture
    def current(self, user, make_subscription):
        return make_subscription(user)

    def merge(self, user, previous, current):
        return register(browser_of(current), ByUser(user, previous.endpoint)).subscription

    def test_a_message_to_both_is_sent_once(self, user, previous, current):
        services.send(user, "Hello")
        services.send(previous, "To the old one alone")
        self.merge(user, previous, current)
        assert deliver_due().sent == 2
        assert sorted(message.title for message in outbox) == ["Hello", "To the old one alone"]
        sent = get_notification_model().objects.filter(status="sent")
        assert set(sent.values_list("subscription", flat=True)) == {current.pk}

    def test_a_message_that_has_been_sent_is_not_sent_again(self, user, previous, current):
        result = services.send(user, "Hello")
        result.notifications.filter(subscription=current).update(status="sent")
        self.merge(user, previous, current)
        assert deliver_due().sent == 0
        assert {row.status for row in result.notifications} == {"sent", "cancelled"}

    def test_a_message_that_the_new_one_did_not_get_is_moved(self, user, previous, current):
        result = services.send(user, "Hello")
        result.notifications.filter(subscription=current).update(status="failed")
        self.merge(user, previous, current)
        assert deliver_due().sent == 1

    def test_a_broadcast_that_has_not_come_to_the_new_one_yet_will(self, user, previous, current):
        services.send(previous, "News")
        row = get_notification_model().objects.get()
        PushBroadcast.objects.create(type="news", batch=row.batch, status="running", cursor=str(previous.pk))
        self.merge(user, previous, current)
        row.refresh_from_db()
        assert row.status == "cancelled"

    def test_a_broadcast_that_has_passed_it_will_not(self, user, previous, current):
        services.send(previous, "News")
        row = get_notification_model().objects.get()
        PushBroadcast.objects.create(type="news", batch=row.batch, status="running", cursor=str(current.pk))
        self.merge(user, previous, current)
        row.refresh_from_db()
        assert (row.status, row.subscription_id) == ("pending", current.pk)

    def test_preferences_come_along_where_the_new_one_has_none(self, user, previous, current):
        kept = self.merge(user, previous, current)
        kept.refresh_from_db()
        assert kept.preferences == {"categories": {"news": False}}

    def test_preferences_of_the_new_one_win(self, user, previous, current):
        services.update_preferences(current, {"categories": {"news": True}})
        kept = self.merge(user, previous, current)
        kept.refresh_from_db()
        assert kept.preferences == {"categories": {"news": True}}

    def test_receivers_are_told_that_the_old_one_ended(self, user, previous, current):
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
    """However a subscription ends, its pending notifications wait for their time, and are suppressed then."""

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

    def test_a_browser_that_comes_back_gets_what_was_scheduled(self, ended, user):
        deliver_due()
        register(browser_of(ended), ByUser(user))
        get_notification_model().objects.pending().update(next_attempt_at=timezone.now())
        deliver_due()
        assert [message.title for message in outbox] == ["Later"]

    def test_what_is_cancelled_meanwhile_stays_cancelled(self, ended, user):
        deliver_due()
        assert services.cancel(get_notification_model().objects.filter(title="Later")) == 1
        register(browser_of(ended), ByUser(user))
        assert not get_notification_model().objects.pending().exists()


def rows_of_it(subscription):
    return get_subscription_model().objects.filter(pk=subscription.pk)


def test_keys_written_past_the_checks_are_other_keys(subscription):
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


def test_a_subscription_that_changed_meanwhile_is_not_deactivated(subscription):
    """A push service called its former endpoint gone."""
    former = get_subscription_model().objects.filter(pk=subscription.pk, endpoint=subscription.endpoint)
    with before_the_first_update(lambda: rows_of_it(subscription).update(endpoint=f"{ENDPOINT}/new")):
        assert deactivate_subscriptions(former, "gone") == 0
    subscription.refresh_from_db()
    assert subscription.is_active


@contextmanager
def before_the_first_update(change):
    """Let another request write right before the next UPDATE."""
    pending = [change]

    def watch(execute, sql, params, many, context):
        if sql.startswith("UPDATE") and pending:
            pending.pop()()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        yield


class TestSavingAStaleRow:
    """A row that was read before its endpoint was replaced or it was deactivated."""

    def test_preferences_alone_leave_the_rest(self, subscription):
        stale = rows_of_it(subscription).get()
        replaced = browser_of(subscription, endpoint=f"{ENDPOINT}/new")
        register(replaced, ByUser(subscription.user, subscription.endpoint))
        services.unsubscribe(rows_of_it(subscription).get())
        stale.preferences = {"categories": {"news": False}}
        stale.save(update_fields=["preferences"])
        row = rows_of_it(subscription).get()
        assert (row.endpoint, row.endpoint_hash) == (replaced.endpoint.url, replaced.endpoint.hash)
        assert (row.is_active, row.preferences) == (False, {"categories": {"news": False}})

    def test_preferences_of_a_deleted_row_are_refused_in_words(self, subscription):
        stale = rows_of_it(subscription).get()
        subscription.delete()
        with pytest.raises(InvalidSubscription, match="deleted"):
            services.update_preferences(stale, {})
        services.unsubscribe(stale)

    def test_nothing_is_written_for_no_fields(self, subscription, django_assert_num_queries):
        with django_assert_num_queries(0):
            subscription.save(update_fields=[])

"""The public API: what a call writes, and what it does not."""

import uuid
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone as django_timezone
from django.utils.functional import SimpleLazyObject, lazy, lazystr

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.exceptions import (
    InvalidOption,
    InvalidRecipient,
    InvalidSubscription,
    PayloadTooLarge,
    TemplateNotFound,
    TemplateRenderError,
)
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model, get_template_model
from django_webpush_kit.services import PushNotificationService, SendResult, cancel, send, send_templated
from django_webpush_kit.signals import notifications_queued, subscription_deactivated
from django_webpush_kit.testing import outbox
from tests.factories import make_template

LAZY_ERROR = lazy(lambda: 1 / 0, str)()
"""A lazy text that raises when it is read."""

pytestmark = pytest.mark.django_db


def everything():
    return get_notification_model().objects.all()


def quiet_now():
    now = django_timezone.now()
    start, end = now - timedelta(hours=1), now + timedelta(hours=1)
    return {"quiet_hours": {"enabled": True, "start": f"{start:%H:%M}", "end": f"{end:%H:%M}", "timezone": "UTC"}}


def in_an_hour():
    return django_timezone.now() + timedelta(hours=1)


class TestRows:
    """What a call writes."""

    def test_send_writes_one_pending_row_per_subscription(self, user, make_subscription):
        mine = [make_subscription(user), make_subscription(user)]
        before = django_timezone.now()
        result = send(user, "Hello", "World", type="news", data={"a": 1}, url="/news", tag="news", app_badge=3)
        rows = list(result.notifications.order_by("subscription"))
        assert result == SendResult(result.batch, queued=2)
        assert [row.subscription_id for row in rows] == [one.pk for one in mine]
        for row in rows:
            assert (row.user, row.batch, row.status, row.type) == (user, result.batch, "pending", "news")
            assert (row.title, row.body, row.data, row.template) == ("Hello", "World", {"a": 1}, None)
            assert row.options == {"url": "/news", "tag": "news", "app_badge": 3, "ttl": 2_419_200, "urgency": "normal"}
            assert before <= row.created_at == row.next_attempt_at <= django_timezone.now()
            assert (row.scheduled_for, row.expires_at, row.retry_count, row.max_retries) == (None, None, 0, 3)

    def test_a_row_that_was_written_can_be_delivered(self, subscription):
        send(
            subscription,
            "Grüße 🎉",
            "Wörld",
            url="/news",
            actions=[{"action": "read", "title": "Read", "url": "/read"}],
        )
        # deliver_due refuses to run inside of a transaction, but knows that of a test case
        assert deliver_due().sent == 1
        (message,) = outbox
        assert (message.title, message.body, message.url) == ("Grüße 🎉", "Wörld", "/news")
        assert message.actions == [{"action": "read", "title": "Read", "navigate": "/read"}]

    def test_a_recipient_without_subscriptions_is_not_an_error(self, user):
        result = send(user, "Hello")
        assert (result.queued, result.deferred, result.suppressed, result.reused) == (0, 0, 0, False)
        assert not everything().exists()

    def test_the_number_of_queries_grows_with_pages_not_with_recipients(self, user, make_subscription):
        def queries(count):
            while get_subscription_model().objects.for_user(user).count() < count:
                make_subscription(user)
            with CaptureQueriesContext(connection) as captured:
                send(user, "Hello", topic="news")
            return len(captured)

        assert queries(2) == queries(30)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("",), "title must not be empty"),
            (("", "body"), "title must not be empty"),
            ((None,), "title must be str, not NoneType"),
            ((1,), "title must be str, not int"),
            (("Hello", b"World"), "body must be str, not bytes"),
            (("x" * 201,), "title has 201 characters; at most 200"),
        ],
    )
    def test_invalid_texts_are_refused_even_without_recipients(self, user, arguments, message):
        with pytest.raises(InvalidOption, match=message):
            send(user, *arguments)

    @pytest.mark.parametrize(
        ("type_", "message"), [("x" * 51, "type has 51 characters"), (7, "type must be str, not int")]
    )
    def test_invalid_types_are_refused(self, user, type_, message):
        with pytest.raises(InvalidOption, match=message):
            send(user, "Hello", type=type_)
        with pytest.raises(InvalidOption, match=message):
            send_templated(type_, user)

    def test_lazy_texts_are_accepted_and_unstorable_characters_are_replaced(self, subscription):
        row = send(subscription, lazystr("Hel\x00lo"), lazystr("W\ud800rld")).notifications.get()
        assert (row.title, row.body) == ("Hello", "W?rld")

    def test_errors_are_raised_before_anything_is_written(self, subscription):
        with pytest.raises(TypeError, match="unknown option 'titel'"):
            send(subscription, "Hello", titel="x")
        with pytest.raises(InvalidOption, match="ttl must be"):
            send(subscription, "Hello", ttl=-1)
        with pytest.raises(InvalidRecipient):
            send([subscription, None], "Hello")
        assert not everything().exists()

    def test_invalid_defaults_are_a_configuration_error(self, subscription, push_settings):
        push_settings(DEFAULTS={"urgency": "urgent"})
        with pytest.raises(ImproperlyConfigured, match=r'WEBPUSH_KIT\["DEFAULTS"\]: urgency must be one of'):
            send(subscription, "Hello")


class TestSizes:
    def test_a_message_that_is_too_large_is_refused(self, user, push_settings):
        with pytest.raises(PayloadTooLarge, match="above the budget of 3000"):
            send(user, "Hello", "x" * 3000)
        push_settings(PAYLOAD_BUDGET=9999)
        send(user, "Hello", "x" * 3000)
        with pytest.raises(PayloadTooLarge, match="above the budget of 3993"):
            send(user, "Hello", "x" * 4000)

    @pytest.mark.thorough
    def test_every_accepted_message_can_be_sent(self, subscription):
        size = 3000
        while True:
            try:
                send(subscription, "Hello", "x" * size)
                break
            except PayloadTooLarge:
                size -= 1
        assert deliver_due().sent == 1
        assert len(outbox[0].request.payload) <= 3000

    def test_a_setting_truncates_body_and_title_instead(self, subscription, push_settings):
        push_settings(OVERSIZE="truncate")
        row = send(subscription, "T" * 300, "ü" * 3000).notifications.get()
        assert row.title == "T" * 199 + "…"
        deliver_due()
        assert len(outbox[0].request.payload) <= 3000
        assert outbox[0].body.endswith("ü…")
        with pytest.raises(PayloadTooLarge):
            send(subscription, "Hello", data={"x": "x" * 3000})


class TestOptions:
    """Options of a row: where they come from."""

    @pytest.mark.parametrize(("urgency", "lane"), [("high", 0), ("normal", 1), ("low", 2), ("very-low", 2), (None, 1)])
    def test_urgency_decides_the_lane(self, subscription, push_settings, urgency, lane):
        push_settings(DEFAULTS={})
        assert send(subscription, "Hello", urgency=urgency).notifications.get().lane == lane

    def test_retry_options_come_from_the_call_then_the_template_then_the_settings(self, subscription, push_settings):
        push_settings(MAX_RETRIES=7)
        make_template("news", options={"max_retries": 5})
        make_template("plain")
        assert send(subscription, "Hello").notifications.get().max_retries == 7
        assert send_templated("plain", subscription, {"number": 1}).notifications.get().max_retries == 7
        assert send_templated("news", subscription, {"number": 1}).notifications.get().max_retries == 5
        assert send_templated("news", subscription, {"number": 1}, max_retries=0).notifications.get().max_retries == 0

    def test_explicit_options_override_the_template_which_overrides_the_defaults(self, subscription, push_settings):
        push_settings(DEFAULTS={"ttl": 1, "icon": "/default.png", "badge": "/default.png", "urgency": "low"})
        make_template(
            "news",
            url_template="/template/{{ n }}",
            icon_template="/template.png",
            require_interaction=True,
            vibrate_pattern=[1],
            actions=[{"action": "a", "title": "A{{ n }}", "url": "/a/{{ n }}", "icon": "{{ icon }}"}],
            options={"ttl": 2, "tag": "template", "data": {"from": "template"}},
        )
        options = send_templated("news", subscription, {"n": 7, "number": 1, "icon": ""}).notifications.get().options
        assert options == {
            "url": "/template/7",
            "icon": "/template.png",
            "badge": "/default.png",
            "tag": "template",
            "actions": [{"action": "a", "title": "A7", "url": "/a/7"}],
            "require_interaction": True,
            "vibrate": [1],
            "ttl": 2,
            "urgency": "low",
        }
        explicit = {"url": "/call", "icon": "/call.png", "actions": [], "ttl": 3, "tag": "call", "vibrate": []}
        row = send_templated("news", subscription, {"number": 1}, **explicit, data={"from": "call"}).notifications.get()
        assert {name: row.options[name] for name in explicit} == explicit
        assert row.data == {"from": "call"}


class TestSchedules:
    def test_a_scheduled_message_is_deferred(self, subscription):
        later = in_an_hour()
        result = send(subscription, "Hello", scheduled_for=later, expires_at=later + timedelta(hours=1))
        row = result.notifications.get()
        assert (result.queued, result.deferred) == (0, 1)
        assert row.scheduled_for == row.next_attempt_at == later
        assert row.expires_at == later + timedelta(hours=1)
        assert not deliver_due().claimed

    def test_a_message_scheduled_in_the_past_is_due_now(self, subscription):
        past = django_timezone.now() - timedelta(days=1)
        result = send(subscription, "Hello", scheduled_for=past)
        assert result.queued == 1
        row = result.notifications.get()
        assert row.scheduled_for == past
        assert row.next_attempt_at == row.created_at

    def test_a_local_time_uses_the_time_zone_of_each_subscription(self, user, make_subscription, settings):
        settings.TIME_ZONE = "Asia/Tokyo"
        zones = {"Europe/Berlin": "Europe/Berlin", "America/New_York": "America/New_York", "": "Asia/Tokyo"}
        for zone in zones:
            make_subscription(user, timezone=zone)
        tomorrow = (django_timezone.now() + timedelta(days=2)).replace(hour=9, minute=0, second=0, microsecond=0)
        result = send(user, "Good morning", scheduled_local=tomorrow.replace(tzinfo=None))
        assert result.deferred == 3
        for row in result.notifications:
            zone = ZoneInfo(zones[row.subscription.timezone])
            assert row.scheduled_for.astimezone(zone).replace(tzinfo=None) == tomorrow.replace(tzinfo=None)


class TestPreferences:
    """What subscribers want."""

    def test_a_blocked_type_is_stored_as_a_suppressed_row_with_the_reason(self, user, make_subscription):
        make_subscription(user, preferences={"categories": {"news": False}})
        make_subscription(user)
        result = send(user, "Hello", type="news")
        assert (result.queued, result.suppressed) == (1, 1)
        row = result.notifications.get(status="suppressed")
        assert row.failure_reason == "Blocked by user preferences"
        assert deliver_due().sent == 1

    def test_quiet_hours_defer_or_suppress_as_the_settings_say(self, user, make_subscription, push_settings):
        make_subscription(user, preferences=quiet_now())
        deferred = send(user, "Hello")
        assert deferred.deferred == 1
        assert deferred.notifications.get().next_attempt_at > django_timezone.now() + timedelta(minutes=58)
        push_settings(QUIET_HOURS="suppress")
        assert send(user, "Hello").notifications.get().failure_reason == "Quiet hours active"

    @pytest.mark.parametrize("options", [{"ttl": 60}, {"ttl": 0}, {"expires_at": "soon"}])
    def test_a_message_that_would_expire_during_quiet_hours_is_suppressed(self, user, make_subscription, options):
        if "expires_at" in options:
            options = {"expires_at": django_timezone.now() + timedelta(minutes=5)}
        make_subscription(user, preferences=quiet_now())
        row = send(user, "Hello", **options).notifications.get()
        assert row.failure_reason == "Quiet hours last longer than the message is valid"

    def test_critical_messages_bypass_preferences_and_quiet_hours(self, user, make_subscription):
        make_subscription(user, preferences={**quiet_now(), "categories": {"alarm": False}})
        result = send(user, "Fire", type="alarm", critical=True)
        assert result.queued == 1
        assert deliver_due().sent == 1


class TestTopics:
    def test_a_newer_message_of_the_same_topic_cancels_the_pending_one(self, user, make_subscription):
        one, other = make_subscription(user), make_subscription(user)
        old = send(user, "1:0", topic="score")
        another = send(user, "Weather", topic="weather")
        sent = send(one, "Sent", topic="score", scheduled_for=in_an_hour()).notifications
        sent.update(status="sent")
        new = send(one, "2:0", topic="score")
        assert old.notifications.get(subscription=one).status == "cancelled"
        assert old.notifications.get(subscription=one).failure_reason.startswith("Superseded")
        assert old.notifications.get(subscription=other).status == "pending"
        assert another.notifications.filter(status="pending").count() == 2
        assert sent.get().status == "sent"
        assert new.notifications.get().status == "pending"

    def test_a_suppressed_message_cancels_nothing(self, user, make_subscription):
        subscription = make_subscription(user, preferences={"categories": {"goals": False}})
        old = send(subscription, "Kick-off", type="match", topic="match")
        assert send(subscription, "1:0", type="goals", topic="match").suppressed == 1
        assert old.notifications.get().status == "pending"


class TestTemplates:
    def test_each_subscription_gets_its_language(self, user, make_subscription):
        make_template("hello", title_template="Hello {{ name }}")
        german = make_template("hello", language="de", title_template="Hallo {{ name }}")
        for language in ("de-AT", "de", "fr", ""):
            make_subscription(user, language=language)
        result = send_templated("hello", user, {"name": "Ada"})
        found = {row.subscription.language: (row.title, row.language) for row in result.notifications}
        assert found == {
            "de-at": ("Hallo Ada", "de"),
            "de": ("Hallo Ada", "de"),
            "fr": ("Hello Ada", ""),
            "": ("Hello Ada", ""),
        }
        assert result.notifications.filter(template=german).count() == 2

    def test_an_explicit_language_wins(self, user, make_subscription):
        make_template("hello", title_template="Hello")
        make_template("hello", language="de", title_template="Hallo")
        make_subscription(user, language="fr")
        assert send_templated("hello", user, language="de").notifications.get().title == "Hallo"
        row = send(user, "Bonjour", language="fr").notifications.get()
        assert row.language == "fr"

    def test_recipient_variables_differ_for_each_recipient(self, make_user, make_subscription):
        make_template("hello", title_template="Hello {{ recipient.first_name }}")
        users = [make_user(first_name=name) for name in ("Ada", "Grace")]
        for one in users:
            make_subscription(one)
        make_subscription()
        with CaptureQueriesContext(connection) as captured:
            result = send_templated("hello", type(users[0]).objects.all())
        assert {row.title for row in result.notifications} == {"Hello Ada", "Hello Grace"}
        assert not [query for query in captured if "first_name" in query["sql"] and "JOIN" not in query["sql"]]

    def test_datetimes_are_shown_in_each_recipients_time_zone(self, user, make_subscription, push_settings):
        push_settings(RECIPIENT_CONTEXT=next_booking)
        make_template("shared", title_template="{{ when|date:'H:i' }}")
        make_template("personal", title_template="{{ recipient.booking|date:'H:i' }}")
        make_subscription(user, timezone="Europe/Berlin")
        make_subscription(user, timezone="America/New_York")
        shared = send_templated("shared", user, {"when": datetime(2026, 7, 1, 22, 30, tzinfo=timezone.utc)})
        personal = send_templated("personal", user)
        for result in (shared, personal):
            assert {row.title for row in result.notifications} == {"00:30", "18:30"}

    def test_templates_accept_only_plain_values(self, subscription):
        make_template("order")
        row = send_templated("order", subscription, {"number": Decimal("7.50")}).notifications.get()
        assert row.title == "Order 7.50 is on its way"
        with pytest.raises(TypeError, match=r"context\['number'\] is a "):
            send_templated("order", subscription, {"number": subscription})

    @pytest.mark.parametrize(
        ("fields", "context", "error", "message"),
        [
            (
                {"title_template": "{{ empty }}"},
                {"empty": ""},
                TemplateRenderError,
                "Template news: title must not be empty",
            ),
            ({"title_template": "{% if %}"}, {}, TemplateRenderError, "Template news, title_template: "),
            ({"title_template": "{{ t }}"}, {"t": "x" * 201}, TemplateRenderError, "Template news: title has 201"),
            ({"url_template": "{{ u }}"}, {"u": "javascript:x"}, TemplateRenderError, "Template news: url: A URL must"),
            (
                {"url_template": "//{{ u }}"},
                {"u": "evil.example"},
                TemplateRenderError,
                "Template news: url: A URL must",
            ),
            ({"options": {"ttl": -1}}, {}, TemplateRenderError, "Template news: ttl must be from 0"),
            ({"options": {"nope": 1}}, {}, TemplateRenderError, "Template news: options cannot hold 'nope'"),
            (
                {"actions": [{"action": "a", "title": "{{ empty }}"}]},
                {"empty": ""},
                TemplateRenderError,
                r"Template news: actions\[0\].title must not be empty",
            ),
            ({"body_template": "{{ b }}"}, {"b": "x" * 3000}, PayloadTooLarge, "above the budget of 3000"),
        ],
    )
    def test_the_error_names_a_template_that_cannot_be_sent(self, subscription, fields, context, error, message):
        make_template("news", **{"title_template": "News", **fields})
        with pytest.raises(error, match=message):
            send_templated("news", subscription, context)
        assert not everything().exists()

    def test_a_missing_template_is_an_error_even_without_recipients(self, user):
        with pytest.raises(TemplateNotFound, match="'nothing'"):
            send_templated("nothing", user)

    def test_a_template_without_a_default_text_fails_for_other_languages(self, user, make_subscription):
        make_template("hello", language="de")
        make_subscription(user, language="fr")
        with pytest.raises(TemplateNotFound, match="neither in 'fr'"):
            send_templated("hello", user, {"number": 1})

    def test_the_signal_is_sent_for_each_batch_after_commit(self, subscription, django_capture_on_commit_callbacks):
        heard = []

        def receiver(sender, batch, result, **kwargs):
            heard.append((sender, batch, result))

        notifications_queued.connect(receiver)
        try:
            with django_capture_on_commit_callbacks(execute=True):
                result = send(subscription, "Hello")
                assert not heard
        finally:
            notifications_queued.disconnect(receiver)
        assert heard == [(get_notification_model(), result.batch, result)]


def next_booking(user):
    return {"booking": datetime(2026, 7, 1, 22, 30, tzinfo=timezone.utc)}


class TestCancel:
    def test_accepts_a_batch_in_every_form(self, subscription):
        for form in (
            lambda result: result,
            lambda result: result.batch,
            lambda result: str(result.batch),
            lambda result: result.notifications.get(),
            lambda result: result.notifications,
            lambda result: result.notifications.order_by("pk")[:5],
        ):
            result = send(subscription, "Hello", scheduled_for=in_an_hour())
            other = send(subscription, "Other", scheduled_for=in_an_hour())
            assert cancel(form(result)) == 1
            assert cancel(form(result)) == 0
            row = result.notifications.get()
            assert (row.status, row.failure_reason) == ("cancelled", "Cancelled by the application")
            assert other.notifications.get().status == "pending"

    def test_accepts_a_broadcast(self, subscription):
        broadcast = PushBroadcast.objects.create(type="news")
        send(subscription, "Hello").notifications.update(batch=broadcast.batch)
        assert cancel(broadcast) == 1
        broadcast.refresh_from_db()
        assert broadcast.status == "cancelled"

    def test_handles_any_number_of_rows(self, user, make_subscription, monkeypatch):
        monkeypatch.setattr(services, "CANCEL_SIZE", 2)
        for _ in range(5):
            make_subscription(user)
        send(user, "Hello")
        assert cancel(everything()) == 5

    def test_leaves_rows_that_are_sending_or_finished(self, user, make_subscription):
        for status in ("sending", "sent", "failed"):
            row = send(make_subscription(user), "Hello").notifications
            row.update(status=status, lease_token=uuid.uuid4())
        assert cancel(everything()) == 0

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({}, TypeError, "exactly one of"),
            ({"target": uuid.uuid4(), "idempotency_key": "x"}, TypeError, "exactly one of"),
            ({"target": "no-uuid"}, InvalidOption, "'no-uuid' is not a batch UUID"),
            ({"target": 7}, TypeError, "not int"),
            ({"target": get_template_model()()}, TypeError, "not a "),
            (
                {"target": get_template_model().objects.none()},
                TypeError,
                "not QuerySet|not NotificationTemplateQuerySet",
            ),
        ],
    )
    def test_refuses_anything_else(self, arguments, error, message):
        with pytest.raises(error, match=message):
            cancel(**arguments)


class TestIdempotencyKeys:
    def test_the_same_key_twice_is_one_batch(self, user, make_subscription):
        make_subscription(user)
        make_subscription(user, preferences={"categories": {"news": False}})
        first = send(user, "Hello", type="news", idempotency_key="order:7")
        make_subscription(user)
        second = send(user, "Something else", idempotency_key="order:7")
        assert second == SendResult(first.batch, queued=1, suppressed=1, reused=True)
        assert everything().count() == 2

    def test_the_same_key_twice_is_one_batch_with_nobody_subscribed(self, user, make_subscription):
        first = send(user, "Hello", idempotency_key="order:7")
        make_subscription(user)
        assert send(user, "Hello", idempotency_key="order:7") == SendResult(first.batch, reused=True)
        assert not everything().exists()

    def test_similar_keys_are_distinct(self, subscription):
        keys = ["order:7", "Order:7", "order:7 ", "órder:7"]
        assert [send(subscription, "Hello", idempotency_key=key).reused for key in keys] == [False] * 4

    def test_a_failed_call_does_not_use_up_its_key(self, subscription):
        with pytest.raises(InvalidOption):
            send(subscription, "", idempotency_key="order:7")
        with pytest.raises(InvalidRecipient):
            send(None, "Hello", idempotency_key="order:7")
        assert not send(subscription, "Hello", idempotency_key="order:7").reused

    def test_cancelling_frees_the_key(self, subscription):
        first = send(subscription, "Hello", scheduled_for=in_an_hour(), idempotency_key="reminder:7")
        assert cancel(idempotency_key="reminder:7") == 1
        assert cancel(idempotency_key="reminder:7") == 0
        again = send(subscription, "Hello", scheduled_for=in_an_hour(), idempotency_key="reminder:7")
        assert not again.reused
        assert again.batch != first.batch

    def test_a_key_used_by_send_is_refused_for_a_broadcast(self, subscription):
        make_template("news", title_template="News")
        send(subscription, "Hello", idempotency_key="order:7")
        with pytest.raises(InvalidOption, match="'order:7' was used for send"):
            services.broadcast("news", idempotency_key="order:7")


class TestSubscriptions:
    def test_an_anonymous_user_subscribes_without_an_owner(self, make_subscription):
        assert make_subscription(AnonymousUser()).user is None
        assert make_subscription(SimpleLazyObject(AnonymousUser)).user is None

    @pytest.mark.parametrize("owner", ["ada", 1, get_user_model()(username="unsaved"), object()])
    def test_only_a_saved_user_can_own_a_subscription(self, make_subscription, owner):
        with pytest.raises(InvalidSubscription, match="user must be") as refusal:
            make_subscription(owner)
        assert refusal.value.field == "user"
        assert not get_subscription_model().objects.exists()

    def test_unsubscribing_keeps_the_row_with_a_reason_and_suppresses_pending_rows(self, subscription, user):
        row = send(subscription, "Hello").notifications
        heard = []

        def receiver(subscription, reason, **kwargs):
            heard.append((subscription.pk, reason))

        subscription_deactivated.connect(receiver)
        try:
            services.unsubscribe(subscription)
            services.unsubscribe(subscription, reason="again")
        finally:
            subscription_deactivated.disconnect(receiver)
        assert not subscription.is_active
        assert subscription.deactivated_at
        assert subscription.deactivation_reason == "unsubscribed"
        assert deliver_due().outcomes == {"suppressed": 1}
        assert (row.get().status, row.get().failure_reason) == (
            "suppressed",
            "The subscription is not active: unsubscribed",
        )
        assert send(user, "Hello").queued == 0
        assert heard == [(subscription.pk, "unsubscribed")]

    @pytest.mark.parametrize("reason", [5, b"x", ["x"], LAZY_ERROR], ids=["int", "bytes", "list", "lazy"])
    def test_a_reason_that_is_no_text_is_refused(self, subscription, reason):
        with pytest.raises(InvalidSubscription, match="reason") as refusal:
            services.unsubscribe(subscription, reason=reason)
        assert refusal.value.field == "reason"
        subscription.refresh_from_db()
        assert subscription.is_active

    def test_a_reason_is_stored_without_what_databases_refuse(self, subscription):
        services.unsubscribe(subscription, reason="a\x00b\ud800" + "c" * 200)
        assert subscription.deactivation_reason.startswith("ab?ccc")

    @pytest.mark.parametrize("call", [services.unsubscribe, lambda found: services.update_preferences(found, {})])
    def test_what_is_no_subscription_is_named(self, user, call):
        model = get_subscription_model().__name__
        for found, name in ((user, "a User object"), (None, "NoneType"), ("7", "str")):
            with pytest.raises(TypeError, match=f"takes a {model}, not {name}"):
                call(found)

    def test_preferences_are_replaced_and_checked(self, subscription):
        services.update_preferences(subscription, {"categories": {"news": False}})
        subscription.refresh_from_db()
        assert subscription.preferences == {"categories": {"news": False}}
        with pytest.raises(InvalidSubscription) as refusal:
            services.update_preferences(subscription, {"categories": {"news": "no"}})
        assert refusal.value.field == "preferences.categories.news"
        subscription.refresh_from_db()
        assert subscription.preferences == {"categories": {"news": False}}


class TestServiceClass:
    """`PushNotificationService`, the class for projects that used such a service before."""

    def test_returns_dicts(self, user, make_subscription):
        subscription = make_subscription(user, preferences={"categories": {"news": False}})
        service = PushNotificationService()
        sent = service.send_notification(subscription, "Hello", "World", {"a": 1}, "orders")
        row = everything().get(pk=sent["notification_id"])
        assert sent == {"success": True, "notification_id": row.pk}
        assert (row.title, row.body, row.data, row.type) == ("Hello", "World", {"a": 1}, "orders")
        blocked = service.send_notification(subscription, "Hello", template_type="news")
        assert blocked["success"] is False
        assert blocked["error"] == "Blocked by user preferences"

    def test_reports_active_quiet_hours(self, user, make_subscription, push_settings):
        push_settings(QUIET_HOURS="suppress")
        answer = PushNotificationService().send_notification(make_subscription(user, preferences=quiet_now()), "Hello")
        assert (answer["success"], answer["error"]) == (False, "Quiet hours active")

    def test_sends_templates_and_to_many_users(self, user, make_subscription):
        make_template("hello", title_template="Hello {{ name }}")
        mine = [make_subscription(user), make_subscription(user, preferences={"categories": {"news": False}})]
        service = PushNotificationService()
        sent = service.send_templated_notification(mine[0], "hello", {"name": "Ada"})
        assert everything().get(pk=sent["notification_id"]).title == "Hello Ada"
        many = service.send_bulk_notifications(mine, "Hello", "World", {"a": 1}, "news")
        batch = everything().filter(batch=many["batch"])
        assert many == {"success": True, "batch": many["batch"], "sent": 1, "blocked": 1}
        assert batch.count() == 2

    def test_reports_a_user_without_subscriptions(self, subscription):
        services.unsubscribe(subscription)
        answer = PushNotificationService().send_notification(subscription, "Hello")
        assert answer == {"success": False, "error": "The subscription is not active"}


@pytest.mark.parametrize("name", ["title", "body", "type"])
def test_a_text_that_cannot_be_read_is_named(subscription, name):
    with pytest.raises(InvalidOption, match=f"{name} has a value that cannot be read"):
        send(subscription, **{"title": "Hello", name: LAZY_ERROR})
    assert not get_notification_model().objects.exists()


@pytest.mark.parametrize("value", [0, False, {}, []], ids=repr)
def test_a_type_that_is_no_text_is_refused_even_if_it_is_false(subscription, value):
    with pytest.raises(InvalidOption, match="type must be str"):
        send(subscription, "Hello", type=value)


@pytest.mark.parametrize("call", [services.pause_broadcast, services.resume_broadcast])
def test_what_is_no_broadcast_is_named(user, call):
    for found, name in ((user, "a User object"), (user.pk, "int"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"takes a PushBroadcast, not {name}"):
            call(found)

"""The models: what the database itself keeps true, and the questions their querysets answer."""

import uuid
from datetime import date, timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from django_webpush_kit import models
from django_webpush_kit.models import (
    ApiLocation,
    DailyStatistics,
    IdempotencyKey,
    OutboxDay,
    PushBroadcast,
    PushServiceState,
    get_analytics_model,
    get_notification_model,
    get_subscription_model,
    get_template_model,
)
from django_webpush_kit.protocol.endpoints import endpoint_hash
from django_webpush_kit.states import ActionType, Lane, NotificationStatus
from tests.factories import make_event, make_notification, make_template

pytestmark = pytest.mark.django_db


def refused(create):
    """Whether the database refuses a row."""
    try:
        with transaction.atomic():
            create()
    except IntegrityError:
        return True
    return False


def subscription_row(endpoint="https://example.com/1", **fields):
    return get_subscription_model().objects.create(endpoint=endpoint, **fields)


class TestConstraints:
    """What the database keeps true."""

    def test_an_endpoint_is_stored_once(self, subscription):
        assert refused(lambda: subscription_row(endpoint=subscription.endpoint))
        assert not refused(lambda: subscription_row(endpoint=subscription.endpoint + "x"))

    def test_endpoints_may_be_very_long(self):
        endpoint = "https://example.com/" + "x" * 2028
        row = subscription_row(endpoint)
        assert get_subscription_model().objects.get(endpoint_hash=endpoint_hash(endpoint)) == row

    def test_deactivating_sets_a_date(self, subscription):
        rows = get_subscription_model().objects.filter(pk=subscription.pk)
        assert refused(lambda: rows.update(is_active=False))
        subscription.is_active = False
        subscription.save(update_fields=["is_active"])
        assert rows.get().deactivated_at <= timezone.now()

    def test_a_given_date_is_kept(self, subscription):
        moment = timezone.now() - timedelta(days=3)
        subscription.is_active, subscription.deactivated_at = False, moment
        subscription.save()
        subscription.refresh_from_db()
        assert subscription.deactivated_at == moment

    def test_a_template_exists_once_per_type_and_language(self):
        make_template("news", language="de")
        assert refused(lambda: make_template("news", language="de"))
        assert not refused(lambda: make_template("news"))
        assert not refused(lambda: make_template("other", language="de"))

    def test_a_sending_row_must_have_a_lease(self, subscription):
        row = make_notification(subscription, "pending")
        rows = get_notification_model().objects.filter(pk=row.pk)
        assert refused(lambda: rows.update(status="sending", lease_token=None))
        assert not refused(lambda: rows.update(status="sending", lease_token=uuid.uuid4()))

    def test_unknown_statuses_lanes_and_events_are_refused(self, subscription):
        row = make_notification(subscription, "pending")
        rows = get_notification_model().objects.filter(pk=row.pk)
        assert refused(lambda: rows.update(status="lost"))
        assert refused(lambda: rows.update(lane=7))
        for lane in Lane:
            assert not refused(lambda lane=lane: rows.update(lane=lane))
        assert refused(lambda: make_event(row, "eaten"))
        for action in ActionType:
            assert not refused(lambda action=action: make_event(row, action))

    def test_an_event_is_recorded_once_per_button(self, subscription):
        row = make_notification(subscription)
        make_event(row, "action_clicked", "reply")
        assert refused(lambda: make_event(row, "action_clicked", "reply"))
        assert not refused(lambda: make_event(row, "action_clicked", "archive"))

    def test_idempotency_keys_and_breakers_are_unique(self):
        IdempotencyKey.objects.create(key_hash=IdempotencyKey.hash_of("order:7"), batch=uuid.uuid4())
        assert refused(
            lambda: IdempotencyKey.objects.create(key_hash=IdempotencyKey.hash_of("order:7"), batch=uuid.uuid4())
        )
        PushServiceState.objects.create(push_service="example.com", vapid_key_id="a")
        assert refused(lambda: PushServiceState.objects.create(push_service="example.com", vapid_key_id="a"))
        assert not refused(lambda: PushServiceState.objects.create(push_service="example.com"))

    def test_deleting_a_user_deletes_their_rows(self, user, subscription):
        make_event(make_notification(subscription), "clicked")
        user.delete()
        for model in (get_subscription_model(), get_notification_model(), get_analytics_model()):
            assert not model.objects.exists()

    def test_deleting_a_template_keeps_its_rows(self, subscription):
        template = make_template()
        row = make_notification(subscription, template=template)
        template.delete()
        row.refresh_from_db()
        assert row.template is None

    def test_no_index_is_a_prefix_of_another(self):
        """Such an index costs time at every write and serves no query that the other does not."""
        models = (get_subscription_model(), get_template_model(), get_notification_model(), get_analytics_model())
        for model in (*models, IdempotencyKey):
            with connection.cursor() as cursor:
                constraints = connection.introspection.get_constraints(cursor, model._meta.db_table)
            indexes = {
                name: found["columns"] for name, found in constraints.items() if found["index"] or found["unique"]
            }
            doubled = [
                (name, other)
                for name, columns in indexes.items()
                for other, others in indexes.items()
                if name != other and columns and others[: len(columns)] == columns
            ]
            assert doubled == [], model


def test_a_template_that_could_not_be_rendered_does_not_pass_validation():
    template = make_template(title_template="{% if %}")
    with pytest.raises(ValidationError) as refusal:
        template.full_clean()
    assert list(refusal.value.message_dict) == ["title_template"]


def test_every_row_has_a_distinct_str(subscription):
    row = make_notification(subscription, "pending", title="Hello")
    assert str(subscription) == f"updates.push.services.mozilla.com #{subscription.pk}"
    assert str(get_subscription_model()(pk=3)) == "subscription #3"
    assert str(row) == "Hello (pending)"
    assert str(make_event(row, "clicked")) == f"clicked #{row.pk}"
    assert str(make_template("news")) == "news"
    assert str(make_template("news", language="de")) == "news (de)"
    assert str(PushBroadcast(type="news")) == "news → all (pending)"
    assert str(IdempotencyKey(key_hash="0123456789abcdef")) == "0123456789ab"
    assert str(PushServiceState(push_service="example.com")) == "example.com"
    assert str(ApiLocation(path="/push/")) == "/push/"
    day = date(2026, 11, 26)
    assert str(OutboxDay(day=day)) == "2026-11-26"
    assert str(DailyStatistics(day=day, dimension="type", value="news")) == "2026-11-26 type news"
    assert str(PushServiceState(push_service="example.com", vapid_key_id="a")) == "example.com a"


def test_subscription_info_has_the_form_of_the_browser(subscription):
    assert subscription.subscription_info == {
        "endpoint": subscription.endpoint,
        "keys": {"p256dh": subscription.p256dh_key, "auth": subscription.auth_key},
    }


class TestQuerysets:
    def test_querysets_of_subscriptions(self, user, make_user, make_subscription):
        now = timezone.now()
        active = [make_subscription(user), make_subscription(user, expiration_time=now + timedelta(hours=1))]
        make_subscription(user, is_active=False, deactivated_at=now)
        expired = make_subscription(user)
        get_subscription_model().objects.filter(pk=expired.pk).update(expiration_time=now)
        other = make_subscription(make_user())
        rows = get_subscription_model().objects
        assert list(rows.active().for_user(user).order_by("pk")) == active
        assert list(rows.for_user(other.user_id)) == [other]
        assert list(rows.expired(now)) == [expired]

    def test_querysets_of_notifications(self, user, subscription):
        rows = {status: make_notification(subscription, status) for status in NotificationStatus.values}
        later = make_notification(subscription, "pending", next_attempt_at=timezone.now() + timedelta(hours=1))
        objects = get_notification_model().objects
        assert set(objects.pending()) == {rows["pending"], later}
        assert list(objects.due()) == [rows["pending"]]
        assert set(objects.due(later.next_attempt_at)) == {rows["pending"], later}
        assert objects.for_user(user).count() == len(rows) + 1
        assert objects.all().cancel("No more") == 2
        assert set(objects.filter(failure_reason="No more")) == {rows["pending"], later}
        assert objects.filter(status="cancelled").count() == 3


@pytest.mark.parametrize(
    ("setting", "getter"),
    [
        ("WEBPUSH_KIT_SUBSCRIPTION_MODEL", "get_subscription_model"),
        ("WEBPUSH_KIT_TEMPLATE_MODEL", "get_template_model"),
        ("WEBPUSH_KIT_NOTIFICATION_MODEL", "get_notification_model"),
        ("WEBPUSH_KIT_ANALYTICS_MODEL", "get_analytics_model"),
    ],
)
def test_getters_follow_the_settings_and_explain_what_is_wrong(settings, setting, getter):
    get = getattr(models, getter)
    label = getattr(settings, setting)
    assert get()._meta.label == label
    setattr(settings, setting, "auth.Group")
    assert get()._meta.label == "auth.Group"
    setattr(settings, setting, "NoDot")
    with pytest.raises(ImproperlyConfigured, match=f"{setting} must be \"app_label.ModelName\", not 'NoDot'"):
        get()
    setattr(settings, setting, "shop.Nothing")
    with pytest.raises(ImproperlyConfigured, match=f"{setting} names the model 'shop.Nothing', which is not installed"):
        get()


def test_a_row_gets_the_owner_of_its_subscription_by_default(subscription, user):
    row = get_notification_model().objects.create(subscription=subscription, title="By hand")
    assert row.user == user
    assert row.batch is not None

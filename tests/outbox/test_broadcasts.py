"""What a broadcast stores, what it refuses, and how its progress reads in every state."""

import json
from decimal import Decimal

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.fan_out import fan_out
from django_webpush_kit.exceptions import InvalidOption, TemplateRenderError
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model
from django_webpush_kit.outbox import idempotency
from django_webpush_kit.outbox.broadcasts import BroadcastProgress, progress
from django_webpush_kit.outbox.snapshots import freeze, thaw
from django_webpush_kit.states import Lane
from django_webpush_kit.testing import outbox
from tests.factories import make_template

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _template():
    make_template("news", title_template="News{{ extra }}")


@pytest.fixture
def subscriptions(make_subscription):
    return [make_subscription() for _ in range(5)]


def broadcast(**options):
    return services.broadcast("news", **{"context": {"extra": ""}, **options})


class TestWhatIsStored:
    def test_lazy_urls_are_urls(self, subscriptions):
        broadcast(url=reverse_lazy("admin:index"))
        deliver_due()
        assert outbox[0].url == "/admin/"

    def test_data_that_looks_like_a_stored_date_stays_what_it_is(self, subscriptions):
        data = {"$type": "date", "value": "2026-05-01", "a": {"$type": "date"}, "b": [{"$$type": "uuid"}]}
        broadcast(data=data)
        deliver_due()
        assert get_notification_model().objects.values_list("data", flat=True)[0] == data

    @pytest.mark.parametrize(
        "value",
        [{"$type": "date"}, {"$type": "date", "value": "2026-05-01"}, {"$$type": 1}, {"a": [{"$type": 3}]}],
    )
    def test_a_dict_with_any_keys_survives(self, value):
        assert thaw(json.loads(json.dumps(freeze(value)))) == value

    @pytest.mark.parametrize(
        "stored", [{"$type": "date"}, {"$type": "date", "value": "no date"}, {"$type": [], "value": None}]
    )
    def test_an_unknown_tagged_value_is_read_as_a_dict(self, stored):
        assert thaw(stored) == stored

    @pytest.mark.parametrize(
        ("options", "lane"),
        [({}, Lane.LOW), ({"urgency": "high"}, Lane.HIGH), ({"urgency": "normal"}, Lane.NORMAL)],
    )
    def test_its_urgency_comes_from_the_call_or_the_template(self, options, lane):
        make_template("ad", title_template="Ad", options={"urgency": "very-low"})
        assert services.broadcast("ad", **options).lane == lane


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (float("nan"), "finite"),
            (float("1e999"), "finite"),
            (Decimal("Infinity"), "finite"),
            ("a\x00b", "must not contain NUL characters or lone surrogates"),
            ("a\ud800b", "must not contain NUL characters or lone surrogates"),
            ({"a\x00": 1}, "must not contain NUL characters or lone surrogates"),
            (["fine", ["also", "a\x00b"]], "must not contain NUL characters or lone surrogates"),
        ],
    )
    def test_context_that_cannot_be_stored_names_its_key(self, value, message):
        for context in ({"extra": value}, {"extra": "", "deep": [{"er": value}]}):
            with pytest.raises((TypeError, ValueError), match=message) as refusal:
                services.broadcast("news", context=context)
            assert "extra" in str(refusal.value) or "deep" in str(refusal.value)
        assert not PushBroadcast.objects.exists()

    def test_the_admin_s_form_names_the_field(self, admin_client):
        page = admin_client.post(
            "/admin/webpush_kit/pushbroadcast/add/",
            {"type": "news", "audience": "all", "context": '{"extra": "a\\u0000b"}', "options": "{}", "key": "k"},
        )
        assert page.status_code == 200
        assert list(page.context["adminform"].form.errors) == ["context"]

    def test_a_template_whose_options_are_wrong(self):
        make_template("bad", title_template="Bad", options={"ttl": -1})
        with pytest.raises(TemplateRenderError, match="ttl"):
            services.broadcast("bad")

    @pytest.mark.parametrize("key", ["a\x00b", "a\ud800b"])
    def test_a_key_that_cannot_be_stored(self, key):
        with pytest.raises(ValueError, match="idempotency_key must not contain NUL"):
            broadcast(idempotency_key=key)


class TestProgress:
    def test_of_a_broadcast_whose_messages_all_failed(self, subscriptions):
        row = broadcast()
        deliver_due()
        get_notification_model().objects.update(status="failed")
        state = progress(row)
        assert state == BroadcastProgress(total=5, processed=5, written=5, ended=5, accepted=0)
        assert (state.done, state.unaccepted) == (5, 5)

    def test_of_a_cancelled_broadcast_has_no_remaining_time(self, subscriptions, push_settings):
        push_settings(BROADCAST_AHEAD=2)
        row = broadcast()
        fan_out()
        deliver_due(batch=row.batch)
        fan_out()
        assert progress(row).remaining is not None
        services.cancel(row)
        state = progress(row)
        assert (state.total, state.written, state.ended, state.accepted) == (5, 4, 4, 2)
        assert (state.rate, state.remaining) == (None, None)

    def test_of_a_paused_broadcast_has_no_remaining_time(self, subscriptions, push_settings):
        push_settings(BROADCAST_AHEAD=2)
        row = broadcast()
        fan_out()
        deliver_due(batch=row.batch)
        services.pause_broadcast(row)
        assert progress(row).remaining is None

    def test_total_includes_subscribers_added_meanwhile(self, subscriptions, make_subscription, push_settings):
        """Subscribers who come while a broadcast is under way are processed, too."""
        push_settings(BROADCAST_AHEAD=3)
        row = broadcast()
        fan_out()
        for _ in range(4):
            make_subscription()
        deliver_due()
        state = progress(row)
        assert (state.total, state.processed, state.done) == (9, 9, 9)


@pytest.mark.parametrize("name", ["123", "0", "offers", "a.b"])
def test_opted_in_works_for_any_type_name(make_subscription, name):
    make_template(name, title_template="News")
    wanting = make_subscription(preferences={"categories": {name: True}})
    make_subscription(preferences={"categories": {name: False}})
    make_subscription()
    row = services.broadcast(name, "opted-in")
    deliver_due()
    rows = get_notification_model().objects.filter(batch=row.batch)
    assert [one.subscription_id for one in rows] == [wanting.pk]
    assert get_subscription_model().objects.count() == 3


def test_an_audience_that_cannot_be_imported_is_an_error_that_names_it(push_settings):
    push_settings(AUDIENCES={"staff": "tests.no.such.function"})
    with pytest.raises(ImproperlyConfigured, match=r"AUDIENCES.*'staff' cannot be imported: No module"):
        broadcast(audience="staff")


def test_a_key_that_others_keep_using_and_cancelling_is_an_error(settings, monkeypatch):
    monkeypatch.setattr(idempotency, "ATTEMPTS", 0)
    with pytest.raises(InvalidOption, match="try again"):
        broadcast(idempotency_key="may")

"""Broadcasts: stored audience, background fan-out, resumable cursor."""

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone as django_timezone

from django_webpush_kit import services
from django_webpush_kit.delivery import fan_out as fan_out_module
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.fan_out import fan_out
from django_webpush_kit.exceptions import InvalidOption, TemplateNotFound, TemplateRenderError
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model, get_template_model
from django_webpush_kit.outbox.snapshots import freeze, thaw
from django_webpush_kit.signals import notifications_queued
from django_webpush_kit.templating.context import plain_context
from django_webpush_kit.testing import outbox
from tests.factories import make_template

pytestmark = pytest.mark.django_db(transaction=True)

Status = PushBroadcast.Status


@pytest.fixture(autouse=True)
def _small_steps(push_settings):
    push_settings(
        BROADCAST_AHEAD=5,
        CHUNK_SIZE=4,
        AUDIENCES={"staff": staff, "german": f"{__name__}.german", "joined": german_or_staff},
    )


@pytest.fixture(autouse=True)
def template(db):
    return get_template_model().objects.create(type="news", title_template="News of {{ day|date:'j F' }}")


@pytest.fixture
def subscriptions(make_subscription):
    return [make_subscription() for _ in range(12)]


def staff():
    return get_user_model().objects.filter(is_staff=True)


def german():
    return get_subscription_model().objects.filter(language="de")


def german_or_staff():
    return german().union(get_subscription_model().objects.filter(user__is_staff=True))


def queue(*arguments, **options):
    return services.broadcast("news", *arguments, context={"day": date(2026, 5, 1)}, **options)


def fresh(row):
    row.refresh_from_db()
    return row


class TestAudience:
    def test_everybody_gets_it_once_and_is_counted(self, subscriptions):
        row = queue()
        assert (row.status, row.queued) == (Status.PENDING, 0)
        assert deliver_due().sent == 12
        fresh(row)
        assert (row.status, row.total, row.queued, row.suppressed) == (Status.COMPLETED, 12, 12, 0)
        assert {message.title for message in outbox} == {"News of 1 May"}
        assert get_notification_model().objects.filter(batch=row.batch).values("subscription").distinct().count() == 12

    def test_opted_out_users_are_excluded_in_the_query_and_counted(self, subscriptions):
        for subscription in subscriptions[:3]:
            services.update_preferences(subscription, {"categories": {"news": False}})
        row = queue()
        deliver_due()
        assert (fresh(row).total, row.queued, row.suppressed) == (9, 9, 3)

    def test_opted_in_reaches_those_who_chose_the_type(self, subscriptions):
        services.update_preferences(subscriptions[0], {"categories": {"news": True}})
        services.update_preferences(subscriptions[1], {"categories": {"news": False}})
        row = queue("opted-in")
        deliver_due()
        assert fresh(row).queued == 1

    @pytest.mark.thorough
    @pytest.mark.parametrize("type_", ["7", "-1", 'a"b', "a\\b", "a.b", "a[0]", "$", "a'b", "a%b", "a%sb", "{}", "ä ☺"])
    def test_a_type_may_have_any_characters(self, subscriptions, type_):
        make_template(type_, title_template="News")
        services.update_preferences(subscriptions[0], {"categories": {type_: True}})
        services.update_preferences(subscriptions[1], {"categories": {type_: False}})
        found = [services.broadcast(type_, audience) for audience in ("opted-in", "all")]
        deliver_due()
        assert [fresh(row).queued for row in found] == [1, 11]

    def test_a_type_that_is_off_by_default_needs_an_opt_in(self, subscriptions, push_settings):
        push_settings(NOTIFICATION_TYPES={"news": {"label": "News", "default": False}})
        services.update_preferences(subscriptions[0], {"categories": {"news": True}})
        row = queue()
        deliver_due()
        assert (fresh(row).queued, row.suppressed) == (1, 11)

    def test_project_audiences_may_be_users_or_subscriptions(self, make_user, make_subscription):
        make_subscription(make_user(is_staff=True))
        make_subscription(make_user(is_staff=True), language="de")
        make_subscription(make_user(), language="de")
        for audience, number in (("staff", 2), ("german", 2), ("joined", 3)):
            row = queue(audience)
            deliver_due()
            assert fresh(row).queued == number

    @pytest.mark.parametrize("audience", [["all"], {"all": 1}, None])
    def test_an_audience_that_is_not_a_name_is_an_error_that_names_the_argument(self, audience):
        with pytest.raises(InvalidOption, match=r"^audience must be str, not "):
            services.broadcast("news", audience)

    def test_an_unknown_audience_is_an_error_that_lists_the_known_ones(self):
        with pytest.raises(InvalidOption, match="all, german, joined, opted-in, staff"):
            queue("vips")


class TestCourse:
    """What workers do with a broadcast until its end."""

    def test_pending_rows_are_limited(self, subscriptions):
        row = queue()
        assert fan_out() == 5
        assert fan_out() == 0
        assert (fresh(row).status, row.queued, row.cursor) == (Status.RUNNING, 5, str(subscriptions[4].pk))

    def test_a_scheduled_broadcast_waits_for_its_time(self, subscriptions):
        row = queue(scheduled_for=django_timezone.now() + timedelta(hours=1))
        assert deliver_due().claimed == 0
        PushBroadcast.objects.update(scheduled_for=django_timezone.now() - timedelta(seconds=1), options={})
        assert deliver_due().sent == 12
        assert fresh(row).status == Status.COMPLETED

    def test_a_killed_fan_out_continues_without_gaps_or_repeats(self, subscriptions, monkeypatch):
        row = queue()
        write = fan_out_module.insert_page

        class Killed(BaseException):
            """Stands for the end of the process in the middle of a page."""

        def dies(*arguments, **options):
            write(*arguments, **options)
            raise Killed

        fan_out()
        deliver_due(batch=row.batch)
        monkeypatch.setattr(fan_out_module, "insert_page", dies)
        with pytest.raises(Killed):
            fan_out()
        monkeypatch.setattr(fan_out_module, "insert_page", write)
        assert fresh(row).queued == 5
        deliver_due()
        assert (fresh(row).status, row.queued) == (Status.COMPLETED, 12)
        assert len({message.id for message in outbox}) == 12

    def test_a_lease_is_taken_over_only_after_it_has_lapsed(self, subscriptions):
        row = queue()
        lapse = django_timezone.now() + timedelta(seconds=30)
        PushBroadcast.objects.update(lease_token=UUID(int=1), lease_until=lapse)
        assert fan_out() == 0
        PushBroadcast.objects.update(lease_until=django_timezone.now() - timedelta(seconds=1))
        assert fan_out() == 5
        assert fresh(row).lease_token is None

    def test_a_worker_that_loses_the_race_for_the_lease_writes_nothing(self, subscriptions, monkeypatch):
        queue()
        retry = fan_out_module.retry_on_conflict

        def another_is_faster(statement):
            lapse = django_timezone.now() + timedelta(seconds=30)
            PushBroadcast.objects.update(lease_token=UUID(int=1), lease_until=lapse)
            return retry(statement)

        monkeypatch.setattr(fan_out_module, "retry_on_conflict", another_is_faster)
        assert fan_out() == 0

    def test_a_broadcast_that_cannot_continue_fails_with_a_reason(self, subscriptions, push_settings):
        row = queue("staff")
        push_settings(AUDIENCES={})
        assert deliver_due().claimed == 0
        assert fresh(row).status == Status.FAILED
        assert "audience 'staff' does not exist" in row.failure_reason

    def test_it_stops_at_the_time_limit(self, subscriptions, monkeypatch):
        monkeypatch.setattr(fan_out_module, "PAGE_SIZE", 2)
        queue()
        assert fan_out(deadline=0) == 2

    def test_a_large_page_wakes_more_workers(self, subscriptions, push_settings):
        push_settings(CHUNK_SIZE=2)
        queue()
        asked = []
        deliver_due(1, on_backlog=lambda: asked.append(True))
        assert asked

    def test_the_signal_for_a_finished_fan_out_is_sent_once(self, subscriptions):
        heard = []

        def receiver(batch, result, **kwargs):
            heard.append((batch, result.queued))

        notifications_queued.connect(receiver)
        row = queue()
        deliver_due()
        notifications_queued.disconnect(receiver)
        assert heard == [(row.batch, 12)]

    def test_urgent_messages_overtake_a_broadcast(self, subscriptions):
        queue()
        fan_out()
        services.send(subscriptions[0], "password", urgency="high")
        deliver_due()
        assert outbox[0].title == "password"

    def test_an_urgent_broadcast_overtakes_the_backlog_of_one_that_is_not(self, subscriptions, push_settings):
        push_settings(BROADCAST_AHEAD=100)
        queue(urgency="low")
        fan_out()
        queue(urgency="high")
        deliver_due()
        # it waits for the chunk that was claimed first, and for no other
        assert [message.urgency for message in outbox] == ["low"] * 4 + ["high"] * 12 + ["low"] * 8

    def test_one_without_room_or_time_to_write_delays_nothing(self, subscriptions, push_settings):
        push_settings(BROADCAST_AHEAD=100)
        queue(urgency="low")
        fan_out()
        queue(urgency="high", scheduled_for=django_timezone.now() + timedelta(days=1))
        assert deliver_due().sent == 12
        assert not fan_out_module.may_write_before(3)
        PushBroadcast.objects.filter(status=Status.PENDING).update(scheduled_for=None)
        assert fan_out_module.may_write_before(3)
        push_settings(BROADCAST_AHEAD=5)
        fan_out()
        assert not fan_out_module.may_write_before(3), "as many rows are due as it may be ahead"

    def test_the_idempotency_key_makes_two_calls_one_broadcast(self, subscriptions):
        first, second = queue(idempotency_key="may"), queue(idempotency_key="may")
        assert first.pk == second.pk
        assert deliver_due().sent == 12


class TestTexts:
    def test_a_missing_template_is_refused_at_once(self):
        with pytest.raises(TemplateNotFound):
            services.broadcast("nothing")

    def test_a_missing_variable_is_an_error_at_once(self, subscriptions):
        fields = {"title_template": "Hello", "body_template": "{{ where }}"}
        get_template_model().objects.create(type="lacking", language="de", **fields)
        with pytest.raises(
            TemplateRenderError, match=r"Template lacking \(de\), body: The variable 'where' is missing"
        ):
            services.broadcast("lacking")
        assert not PushBroadcast.objects.exists()

    def test_the_texts_are_fixed_at_the_start(self, subscriptions, template):
        queue()
        fan_out()
        template.title_template = "Changed"
        template.save()
        deliver_due()
        assert {message.title for message in outbox} == {"News of 1 May"}

    def test_deleting_the_template_does_not_stop_it(self, subscriptions, template):
        row = queue()
        fan_out()
        template.delete()
        deliver_due()
        assert fresh(row).queued == 12

    def test_recipient_variables_differ_for_each_recipient(self, make_user, make_subscription, template):
        template.title_template = "Hi {{ recipient.first_name }}"
        template.save()
        for name in ("Ada", "Grace"):
            make_subscription(make_user(first_name=name))
        queue()
        deliver_due()
        assert sorted(message.title for message in outbox) == ["Hi Ada", "Hi Grace"]

    @pytest.mark.parametrize(
        "value",
        [
            datetime(2026, 5, 1, 10, tzinfo=timezone.utc),
            date(2026, 5, 1),
            time(10, 30),
            timedelta(hours=2),
            Decimal("2.50"),
            UUID(int=7),
            "text",
            3,
            1.5,
            True,
            None,
            ["a", {"b": Decimal(1)}],
            {"nested": {"day": date(2026, 5, 1)}},
        ],
    )
    def test_every_plain_value_survives_being_stored(self, value):
        context = plain_context({"value": value})
        assert plain_context(thaw(freeze(context))) == context


class TestPauseAndCancel:
    def test_a_paused_fan_out_can_be_resumed(self, subscriptions):
        row = queue()
        assert services.pause_broadcast(row)
        assert deliver_due().claimed == 0
        assert services.resume_broadcast(row)
        assert row.status == Status.PENDING
        fan_out()
        assert services.pause_broadcast(row)
        assert deliver_due().sent == 5
        assert services.resume_broadcast(row)
        assert not services.resume_broadcast(row)
        assert deliver_due().sent == 7
        assert not services.pause_broadcast(row)

    def test_a_pause_takes_effect_between_two_pages(self, subscriptions, monkeypatch):
        row = queue()
        write = fan_out_module.insert_page

        def write_and_pause(*arguments, **options):
            counts = write(*arguments, **options)
            PushBroadcast.objects.update(status=Status.PAUSED)
            return counts

        monkeypatch.setattr(fan_out_module, "insert_page", write_and_pause)
        monkeypatch.setattr(fan_out_module, "PAGE_SIZE", 2)
        assert fan_out() == 2
        assert (fresh(row).status, row.queued) == (Status.PAUSED, 2)

    def test_cancel_stops_the_fan_out_and_cancels_pending_rows(self, subscriptions):
        row = queue()
        fan_out()
        assert services.cancel(row) == 5
        assert deliver_due().claimed == 0
        assert (fresh(row).status, row.queued) == (Status.CANCELLED, 5)

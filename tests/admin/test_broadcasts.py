"""Broadcasts in the admin: the composer, the page that asks, and the page that shows how it goes."""

import json
import re
from datetime import datetime, timedelta
from datetime import timezone as fixed
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse, reverse_lazy
from django.utils import timezone
from django.utils.translation import override

from django_webpush_kit import models
from django_webpush_kit.admin import PushBroadcastAdmin, broadcast_review, broadcasts
from django_webpush_kit.admin.broadcast_page import broadcast_page, duration
from django_webpush_kit.caching import forget_kept_values
from django_webpush_kit.delivery.fan_out import fan_out
from django_webpush_kit.models import PushBroadcast
from django_webpush_kit.outbox import broadcast_figures, reach
from django_webpush_kit.services import broadcast, cancel, pause_broadcast
from tests.admin.test_admin import act, confirm, messages_of, permit, url_of
from tests.factories import make_event, make_notification, make_template

pytestmark = pytest.mark.django_db


def test_broadcasts_are_paused_resumed_and_cancelled(admin_client, make_user, make_subscription):
    make_template("news")
    make_subscription(make_user())
    row = broadcast("news", context={"number": 7})
    assert act(admin_client, "pause", row) == ["1 broadcast was changed."]
    assert act(admin_client, "pause", row) == ["0 broadcasts were changed."]
    assert act(admin_client, "resume", row) == ["1 broadcast was changed."]
    fan_out()
    assert act(admin_client, "cancel", row) == ["1 broadcast was changed. 1 notification was cancelled."]
    entries = LogEntry.objects.count()
    assert act(admin_client, "cancel", row) == ["0 broadcasts were changed. 0 notifications were cancelled."]
    assert LogEntry.objects.count() == entries


class TestStartingABroadcast:
    """The page "add broadcast"."""

    url = reverse_lazy("admin:webpush_kit_pushbroadcast_add")

    def filled_in(self, client, **changes):
        """What the page sends when somebody has filled it in."""
        key = client.get(self.url).context["adminform"].form["key"].value()
        given = {"type": "news", "audience": "all", "context": '{"number": 7}', "options": '{"ttl": 60}', "key": key}
        return {**given, "scheduled_for_0": "", "scheduled_for_1": "", **changes}

    def errors(self, client, **changes):
        form = client.post(self.url, self.filled_in(client, **changes)).context["adminform"].form
        assert not PushBroadcast.objects.exists()
        return form.errors

    @pytest.fixture(autouse=True)
    def _template(self, db):
        make_template("news")

    def test_it_is_fanned_out(self, admin_client, admin_user, make_user, make_subscription):
        make_subscription(make_user())
        page = admin_client.post(self.url, self.filled_in(admin_client))
        assert not PushBroadcast.objects.exists(), "it asks first"
        response = confirm(admin_client, page)
        row = PushBroadcast.objects.get()
        assert f"{row}" in str(next(iter(response.context["messages"])))
        assert (row.type, row.audience, row.created_by) == ("news", "all", admin_user)
        fan_out()
        notification = models.get_notification_model().objects.get()
        assert (notification.title, notification.options["ttl"]) == ("Order 7 is on its way", 60)

    @pytest.mark.thorough
    def test_the_same_form_sent_twice_starts_one(self, admin_client):
        form = self.filled_in(admin_client)
        for _ in range(2):
            assert admin_client.post(self.url, {**form, "confirmed": "1"}).status_code == 302
        assert PushBroadcast.objects.count() == 1
        confirm(admin_client, admin_client.post(self.url, self.filled_in(admin_client)))
        assert PushBroadcast.objects.count() == 2

    def test_it_can_be_scheduled(self, admin_client):
        moment = {"scheduled_for_0": "2030-01-02", "scheduled_for_1": "08:30:00"}
        page = admin_client.post(self.url, self.filled_in(admin_client, **moment))
        assert "It goes out at Jan. 2, 2030, 8:30 a.m." in page.content.decode()
        confirm(admin_client, page)
        assert PushBroadcast.objects.get().scheduled_for.year == 2030

    def test_the_confirmation_page_says_what_will_happen(self, admin_client, make_user, make_subscription):
        ada = make_user()
        make_subscription(ada)
        make_subscription(ada)
        make_template("news", language="de", title_template="Bestellung {{ number }}", body_template="<b>")
        page = admin_client.post(self.url, self.filled_in(admin_client)).content.decode()
        assert "Audience all: 2 browsers of 1 person now." in page
        assert "It goes out as soon as you start it." in page
        assert "Quiet hours are respected." in page
        assert "Quiet hours are ignored." in self.asked(admin_client, options='{"critical": true}')
        assert "Browsers that are offline get it within 60 seconds, or not at all." in page
        assert "<strong>Order 7 is on its way</strong>" in page
        assert re.search(r"<strong>Bestellung 7</strong>\s+<p>&lt;b&gt;</p>", page)

    def test_without_a_ttl_the_confirmation_page_does_not_mention_it(self, admin_client, push_settings):
        push_settings(DEFAULTS={})
        assert "or not at all" not in self.asked(admin_client, options="{}")

    def test_a_template_broken_before_confirmation_is_reported_instead_of_previewed(self):
        models.get_template_model().objects.update(title_template="{% debug %}")
        review = broadcast_review.Review({"context": {}}, list(models.get_template_model().objects.all()))
        assert "Invalid block tag" in review.messages[0].problems[0]
        assert (review.variables, review.left_empty) == ([], [])

    def test_the_confirmation_page_reports_an_audience_that_raises_or_is_large(
        self, admin_client, push_settings, monkeypatch, make_subscription
    ):
        push_settings(AUDIENCES={"odd": lambda: 1 / 0})
        assert "Audience odd: it cannot be counted (division by zero)." in self.asked(admin_client, audience="odd")
        monkeypatch.setattr(reach, "READ_LIMIT", 1)
        for _ in range(2):
            make_subscription()
        assert "Audience all: more than 1 browser of 1 person now." in self.asked(admin_client)

    def test_the_confirmation_page_reports_opt_outs_and_an_empty_audience(
        self, admin_client, make_user, make_subscription
    ):
        assert "Nobody will get it." in self.asked(admin_client)
        for wants in (False, False, True):
            make_subscription(make_user(), preferences={"categories": {"news": wants}}, language="de-AT")
        page = self.asked(admin_client)
        assert "1 browser of 1 person now." in page
        assert "2 browsers are left out because they do not want this type." in page
        assert re.search(r">de-at</th><td>1</td>", page)
        assert re.search(r">updates.push.services.mozilla.com</th><td>1</td>", page)

    def test_dates_in_the_variables_are_dates(self, admin_client, make_user, make_subscription):
        models.get_template_model().objects.update(title_template="Until {{ until|date:'j F' }} at {{ at|date:'H:i' }}")
        page = self.asked(admin_client, context='{"until": "2030-05-03", "at": "2030-05-03T18:30"}')
        assert "<strong>Until 3 May at 18:30</strong>" in page
        errors = self.errors(admin_client, context='{"until": "soon", "at": 7}')
        assert [str(problem) for problem in errors["context"]] == [
            '"until" must be a date such as "2030-05-01" or "2030-05-01T18:00".',
            '"at" must be a date such as "2030-05-01" or "2030-05-01T18:00".',
        ]

    def test_the_field_lists_every_missing_variable(self, admin_client, push_settings):
        make_template("news", language="de", title_template="{{ order.number }} {{ recipient.first_name }}")
        errors = self.errors(admin_client, context="")
        assert [str(problem) for problem in errors["context"]] == ["Missing variables: number, order.number."]
        push_settings(MISSING_VARIABLES="empty")
        assert "Left empty: number, order.number." in self.asked(admin_client, context="")

    def test_it_can_be_scheduled_in_each_recipients_local_time(self, admin_client, settings):
        settings.TIME_ZONE = "Europe/Berlin"
        moment = {"scheduled_for_0": "2030-07-02", "scheduled_for_1": "08:30", "is_local": "on"}
        page = admin_client.post(self.url, self.filled_in(admin_client, **moment))
        assert "It goes out at July 2, 2030, 8:30 a.m. on each recipient&#x27;s own clock." in page.content.decode()
        confirm(admin_client, page)
        row = PushBroadcast.objects.get()
        assert row.scheduled_for is None
        assert row.options["scheduled_local"]["value"] == "2030-07-02T08:30:00"

    @pytest.mark.thorough
    def test_rate_expiry_and_urgency_have_fields(self, admin_client, make_user, make_subscription, monkeypatch):
        for _ in range(3):
            make_subscription(make_user())
        given = {
            "rate": "60/h",
            "urgency": "low",
            "url": "/sale/",
            "expires_at_0": "2031-01-01",
            "expires_at_1": "12:00",
        }
        page = admin_client.post(self.url, self.filled_in(admin_client, **given))
        text = page.content.decode()
        assert "At most 60/h messages. This takes about 3 minutes." in text
        assert "What has not been received at Jan. 1, 2031, noon is dropped." in text
        assert "This takes" not in self.asked(admin_client, rate="9000/s")
        confirm(admin_client, page)
        row = PushBroadcast.objects.get()
        assert (row.rate, row.options["urgency"], row.options["url"]) == ("60/h", "low", "/sale/")
        assert row.options["expires_at"]["value"] == "2031-01-01T12:00:00+00:00"
        monkeypatch.setattr(reach, "READ_LIMIT", 1)
        assert "This takes" not in self.asked(admin_client, rate="1/d"), "the size of the audience is unknown"

    def test_a_message_entered_in_the_form_needs_no_template(self, admin_client, make_user, make_subscription):
        models.get_template_model().objects.all().delete()
        make_subscription(make_user(first_name="Ada"), language="de")
        given = {
            "type": "announcement",
            "content": "text",
            "title": "Hello {{ recipient.first_name }}",
            "body": "We moved.",
            "url": "/news/",
            "context": "",
            "options": "",
        }
        page = admin_client.post(self.url, self.filled_in(admin_client, **given))
        assert "<strong>Hello [recipient.first_name]</strong>" in page.content.decode()
        confirm(admin_client, page)
        fan_out()
        row = models.get_notification_model().objects.get()
        assert (row.title, row.body, row.options["url"]) == ("Hello Ada", "We moved.", "/news/")
        assert (row.type, row.template) == ("announcement", None)
        broadcast_row = PushBroadcast.objects.get()
        page = admin_client.get(url_of(PushBroadcast, "change", broadcast_row.pk)).content.decode()
        assert "<strong>Hello [recipient.first_name]</strong>" in page

    def test_a_message_entered_in_the_form_replaces_the_templates_of_its_type(
        self, admin_client, make_user, make_subscription
    ):
        make_subscription(make_user())
        page = admin_client.post(self.url, self.filled_in(admin_client, content="text", title="Typed", context=""))
        confirm(admin_client, page)
        fan_out()
        assert models.get_notification_model().objects.get().title == "Typed"

    def test_the_form_keeps_the_input_after_an_error(self, admin_client):
        given = self.filled_in(admin_client, context='{"number": 77}', _preview="Update the preview")
        page = admin_client.post(self.url, given)
        assert not PushBroadcast.objects.exists()
        text = page.content.decode()
        assert "<strong>Order 77 is on its way</strong>" in text
        assert "&quot;number&quot;: 77" in text
        asked = admin_client.post(self.url, {**given, "confirmed": "1"})
        assert "<strong>Order 77 is on its way</strong>" in asked.content.decode(), "back from the page that asks"
        assert not PushBroadcast.objects.exists()

    def test_the_preview_shows_unsaved_input(self, admin_client, make_user, make_subscription):
        make_subscription(make_user())
        url = reverse("admin:webpush_kit_pushbroadcast_preview")
        assert url in admin_client.get(self.url).content.decode()
        page = admin_client.post(url, self.filled_in(admin_client, context='{"number": 5}')).content.decode()
        assert "<strong>Order 5 is on its way</strong>" in page
        assert "data-webpush-kit-fragment" in page
        assert "<code>number</code>" in page
        assert "<html" not in page
        page = admin_client.post(url, {"type": "news", "context": "{", "audience": "nobody"}).content.decode()
        assert "<li>Variables: Enter a valid JSON.</li>" in page
        assert "Order [number] is on its way" in page
        assert "person" not in page
        assert admin_client.get(url).status_code == 405
        assert admin_client.post(url, {}).status_code == 200

    def test_the_preview_reports_an_audience_that_raises(self, admin_client, push_settings):
        push_settings(AUDIENCES={"odd": lambda: 1 / 0})
        url = reverse("admin:webpush_kit_pushbroadcast_preview")
        page = admin_client.post(url, self.filled_in(admin_client, audience="odd")).content.decode()
        assert "The audience cannot be counted: division by zero" in page

    def test_an_audience_whose_query_fails_does_not_break_the_page(self, admin_client, push_settings):
        broken = models.get_subscription_model().objects.extra(where=["no_such_column = 1"])
        push_settings(AUDIENCES={"odd": lambda: broken})
        given = self.filled_in(admin_client, audience="odd", _preview="x")
        page = admin_client.post(self.url, given).content.decode()
        assert "The audience cannot be counted: " in page
        assert "no_such_column" in page

    @pytest.mark.parametrize("value", ["%00", "nothing", "%F0%9F%8F%BA"])
    def test_unknown_values_in_the_url_show_the_empty_form(self, admin_client, value):
        page = admin_client.get(f"{self.url}?type={value}&audience={value}&rate={value}&context={value}")
        assert page.status_code == 200
        assert "Order [number] is on its way" in page.content.decode()

    @pytest.mark.thorough
    def test_a_changed_form_starts_another_broadcast(self, admin_client):
        form = {**self.filled_in(admin_client), "confirmed": "1"}
        admin_client.post(self.url, form)
        page = admin_client.post(self.url, form, follow=True)
        assert messages_of(page)[-1].startswith("This form had been sent before")
        page = admin_client.post(self.url, {**form, "context": '{"number": 8}'}, follow=True)
        assert messages_of(page)[-1].startswith("The broadcast news")
        assert PushBroadcast.objects.count() == 2

    def test_without_the_view_permission_it_redirects_to_the_admin_index(self, client, make_user):
        user = make_user(is_staff=True)
        client.force_login(user)
        permit(user, PushBroadcast, "add")
        response = client.post(self.url, {**self.filled_in(client), "confirmed": "1"})
        assert response.status_code == 302
        assert response.url == reverse("admin:index")
        assert PushBroadcast.objects.count() == 1

    def test_the_composer_runs_few_queries(
        self, admin_client, make_user, make_subscription, settings, monkeypatch, django_assert_max_num_queries
    ):
        for code, _name in settings.LANGUAGES[:20]:
            make_subscription(make_user(), language=code)
            models.get_template_model().objects.get_or_create(
                type="news", language=code, defaults={"title_template": "No. {{ number }}"}
            )
        monkeypatch.setattr(reach, "READ_SLICE", 5)
        url = reverse("admin:webpush_kit_pushbroadcast_preview")
        form = self.filled_in(admin_client)
        for page in (lambda: admin_client.get(self.url), lambda: admin_client.post(url, form)):
            with django_assert_max_num_queries(12):
                assert "others" in page().content.decode()

    def asked(self, client, **changes):
        """The page that asks before the broadcast starts."""
        return client.post(self.url, self.filled_in(client, **changes)).content.decode()

    def test_the_form_offers_types_with_templates_and_all_audiences(self, admin_client, push_settings):
        push_settings(AUDIENCES={"staff": "tests.backends.nowhere"}, NOTIFICATION_TYPES={"news": {"label": "News!"}})
        fields = admin_client.get(self.url).context["adminform"].form.fields
        assert list(fields["type"].choices) == [("news", "News!")]
        assert [name for name, _label in fields["audience"].choices] == ["all", "opted-in", "staff"]

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("type", "olds"),
            ("audience", "nobody"),
            ("context", "{"),
            ("context", "[1]"),
            ("options", "[1]"),
            ("options", '{"ttl": -1}'),
            ("options", '{"colour": "red"}'),
            ("options", '{"idempotency_key": "x"}'),
            ("options", '{"scheduled_for": "tomorrow"}'),
            ("options", '{"ttl": NaN}'),
            ("options", '{"tag": ["a"]}'),
            ("options", "[" * 100_000),
            ("context", "[" * 100_000),
            ("context", "9" * 5000),
            ("context", '{"number": NaN}'),
            ("context", '{"number": Infinity}'),
            ("context", '{"number": "a\\u0000"}'),
            ("context", '{"number": "\\ud800"}'),
            ("context", '{"\\ud800": 1, "number": 1}'),
            ("context", '{"number": ' + "[" * 40 + "]" * 40 + "}"),
            ("rate", "fast"),
            ("rate", "0/s"),
            ("urgency", "very"),
            ("url", "javascript:alert(1)"),
            ("icon", "//evil.example/"),
            ("expires_at_1", "12:00"),
            ("is_local", "on"),
        ],
    )
    def test_invalid_input_is_reported_and_starts_nothing(self, admin_client, field, value):
        named = {"expires_at_1": "expires_at", "is_local": "scheduled_for"}.get(field, field)
        assert list(self.errors(admin_client, **{field: value})) == [named]

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ({"title": ""}, "title"),
            ({"title": "{% if %}"}, "title"),
            ({"title": "{{ number }}", "context": ""}, "context"),
            ({"title": "{{ 5|add:1 }}"}, "title"),
            ({"title": "x" * 201}, "title"),
            ({"title": "{{ number }}", "context": json.dumps({"number": "x" * 300})}, "title"),
            ({"title": "a", "body": "x" * 5000}, "title"),
            ({"title": "a", "body": "{% debug %}"}, "body"),
            ({"title": "a", "url": "javascript:alert(1)"}, "url"),
            ({"title": "a", "icon": "http://example.com/"}, "icon"),
            ({"title": "a", "type": "nothing"}, "type"),
            ({"title": "a", "content": "else"}, "content"),
            ({"title": "a", "urgency": "low", "options": '{"urgency": "high"}'}, "options"),
            ({"title": "a", "scheduled_for_0": "2001-01-01", "scheduled_for_1": "10:00"}, "scheduled_for"),
            ({"title": "a", "expires_at_0": "2001-01-01", "expires_at_1": "10:00"}, "expires_at"),
            (
                {
                    "title": "a",
                    "scheduled_for_0": "2031-01-01",
                    "scheduled_for_1": "10:00",
                    "expires_at_0": "2031-01-01",
                    "expires_at_1": "09:00",
                },
                "expires_at",
            ),
        ],
    )
    def test_invalid_messages_entered_in_the_form_are_reported(self, admin_client, given, field):
        assert list(self.errors(admin_client, **{"content": "text", **given})) == [field]

    @pytest.mark.thorough
    def test_a_local_time_is_refused_only_after_it_has_passed_in_every_time_zone(
        self, admin_client, admin_user, time_machine
    ):
        time_machine.move_to(datetime(2030, 1, 1, 12, tzinfo=fixed.utc), tick=False)
        admin_client.force_login(admin_user)
        local = {"scheduled_for_0": "2030-01-01", "is_local": "on"}
        assert "on each recipient" in self.asked(admin_client, **local, scheduled_for_1="00:30")
        moment = {**local, "scheduled_for_0": "2029-12-31", "scheduled_for_1": "23:00"}
        assert list(self.errors(admin_client, **moment)) == ["scheduled_for"]

    @pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
    def test_a_local_time_may_be_the_first_or_the_last_that_there_is(self, admin_client, day, settings):
        settings.TIME_ZONE = "Europe/Berlin"
        moment = {"scheduled_for_0": day, "scheduled_for_1": "12:00", "is_local": "on"}
        page = admin_client.post(self.url, self.filled_in(admin_client, **moment))
        assert page.status_code == 200

    def test_a_broken_template_is_reported(self, admin_client):
        models.get_template_model().objects.update(title_template="{% if %}")
        assert list(self.errors(admin_client)) == ["context"]

    def test_it_requires_the_add_permission(self, client, make_user):
        client.force_login(make_user(is_staff=True))
        assert client.get(self.url).status_code == 403


@pytest.fixture
def staff(client, make_user):
    user = make_user(is_staff=True)
    client.force_login(user)
    return user


class TestTheFigures:
    """The page of one broadcast in every state."""

    def figures(self, row):
        cache.clear()
        page = broadcast_page(row)
        return {str(figure.label): figure.count for figure in page.figures}, " ".join(page.summary)

    def controls(self, row):
        cache.clear()
        return [control.name for control in broadcast_page(row).controls]

    @pytest.fixture
    def running(self, make_user, make_subscription):
        make_template("news")
        for _ in range(4):
            make_subscription(make_user())
        row = broadcast("news", context={"number": 7})
        fan_out()
        return row

    @property
    def rows(self):
        return models.get_notification_model().objects

    def test_of_a_running_broadcast(self, running, time_machine):
        time_machine.move_to(PushBroadcast.objects.get().started_at + timedelta(seconds=10), tick=False)
        figures, summary = self.figures(running)
        assert figures == {"recipients": 4, "accepted": 0, "shown": 0, "clicked": 0, "pending": 4}
        assert summary == "All notifications are written. 4 notifications are pending."
        self.rows.filter(pk=self.rows.first().pk).update(status="sent")
        figures, summary = self.figures(running)
        assert (figures["accepted"], figures["pending"]) == (1, 3)
        assert "0.1 per second, about 30 seconds left." in summary
        self.rows.update(status="sent")
        assert self.figures(running)[1] == "It is finished."

    def test_while_its_rows_are_being_written(self, running):
        PushBroadcast.objects.update(status="running", total=1000, processed=400, failure_reason="KeyError: 'x'")
        summary = self.figures(running)[1]
        assert summary.startswith("Notifications are being written: 400 of 1,000 recipients so far.")
        assert summary.endswith("Last error: KeyError: 'x'")

    def test_a_high_rate_is_shown_without_decimals(self, running, time_machine):
        time_machine.move_to(PushBroadcast.objects.get().started_at + timedelta(seconds=0.1), tick=False)
        self.rows.filter(pk=self.rows.first().pk).update(status="sent")
        assert "10 per second, about 1 second left." in self.figures(running)[1]

    def test_before_the_start(self):
        row = PushBroadcast.objects.create(type="news")
        assert self.figures(row)[1] == "It waits for a worker to start it."
        row.scheduled_for = datetime(2031, 5, 1, 9, 30, tzinfo=fixed.utc)
        row.save()
        assert self.figures(row)[1] == "It starts at May 1, 2031, 9:30 a.m.."
        assert self.controls(row) == ["pause", "cancel"]

    def test_when_all_messages_failed(self, running):
        self.rows.update(status="failed", failure_reason="HTTP 403", response_status=403)
        figures, summary = self.figures(running)
        assert figures == {"recipients": 4, "accepted": 0, "shown": 0, "clicked": 0, "failed": 4}
        assert summary == "It is finished."
        assert broadcast_page(running).reasons == [("failed", "HTTP 403", 4)]
        assert self.controls(running) == ["retry"]

    def test_when_the_broadcast_failed(self, running):
        PushBroadcast.objects.update(status="failed", failure_reason="")
        self.rows.all().delete()
        assert self.figures(running)[1] == "It failed: no reason was recorded."
        assert self.controls(running) == ["resume"]

    def test_a_paused_or_cancelled_broadcast_has_no_remaining_time(self, running):
        self.rows.filter(pk=self.rows.first().pk).update(status="sent")
        PushBroadcast.objects.update(status="running", total=10)
        pause_broadcast(running)
        summary = self.figures(running)[1]
        assert summary.startswith("It is paused. Notifications that are already written are still sent.")
        assert "left" not in summary
        assert self.controls(running) == ["resume", "cancel"]
        cancel(running)
        figures, summary = self.figures(running)
        assert (figures["accepted"], figures["cancelled"], summary) == (1, 3, "It was cancelled.")
        assert self.controls(running) == []

    def test_deferred_rows_are_counted(self, running):
        moment = timezone.now() + timedelta(hours=5)
        self.rows.filter(pk=self.rows.last().pk).update(next_attempt_at=moment)
        self.rows.filter(pk=self.rows.first().pk).update(status="sent")
        summary = self.figures(running)[1]
        assert "about 5 hours left" in summary
        assert "The last one is due at" in summary

    def test_every_reason_for_not_sending_is_counted(self, running):
        first, second, third, _fourth = self.rows.order_by("pk")
        self.rows.filter(pk=first.pk).update(status="suppressed", failure_reason="")
        self.rows.filter(pk=second.pk).update(status="expired")
        third.delete()
        PushBroadcast.objects.update(suppressed=7, failed=2)
        figures, _summary = self.figures(running)
        others = {"opted out": 7, "skipped": 2, "suppressed later": 1, "expired": 1, "deleted": 1, "pending": 1}
        assert {name: figures[name] for name in others} == others

    def test_browser_events_and_opt_outs_are_counted(self, running):
        first, second, *_others = self.rows.order_by("pk")
        sent_at = timezone.now() - timedelta(hours=3)
        self.rows.update(status="sent", sent_at=sent_at)
        for notification, action in ((first, "delivered"), (first, "clicked"), (first, "action_clicked")):
            make_event(notification, action)
        make_event(second, "delivered")
        ends = ((-1, "unsubscribed"), (1, "unsubscribed"), (24, "unsubscribed"), (1, "HTTP 410"))
        for row, (hours, reason) in zip(self.rows.order_by("pk"), ends, strict=True):
            ended = {"is_active": False, "deactivated_at": sent_at + timedelta(hours=hours)}
            type(row.subscription).objects.filter(pk=row.subscription_id).update(**ended, deactivation_reason=reason)
        figures, _summary = self.figures(running)
        assert (figures["shown"], figures["clicked"], figures["unsubscribed"]) == (2, 1, 1)

    def test_the_page_and_its_refresh_run_few_queries(self, admin_client, running, django_assert_max_num_queries):
        for page in ("change", "figures"):
            with django_assert_max_num_queries(14):
                text = admin_client.get(url_of(PushBroadcast, page, running.pk)).content.decode()
            assert "4 notifications are pending." in text
            assert "data-live" in text

    def test_the_page_refreshes_only_while_something_can_change(self, admin_client, running):
        page = admin_client.get(url_of(PushBroadcast, "change", running.pk)).content.decode()
        assert f'data-webpush-kit-refresh="{url_of(PushBroadcast, "figures", running.pk)}"' in page
        assert '<noscript><meta http-equiv="refresh"' in page
        self.rows.update(status="sent")
        cache.clear()
        page = admin_client.get(url_of(PushBroadcast, "change", running.pk)).content.decode()
        assert "data-live" not in page
        assert "http-equiv" not in page

    def test_the_page_links_to_a_copy_of_the_broadcast(self, admin_client, running):
        page = admin_client.get(url_of(PushBroadcast, "change", running.pk))
        query = parse_qs(urlsplit(page.context["again_url"]).query)
        assert query == {"type": ["news"], "audience": ["all"]}
        form = admin_client.get(page.context["again_url"]).context["adminform"].form
        assert form["type"].value() == "news"

    @pytest.mark.parametrize("texts", [{"templates": 7}, {"templates": [7]}, {"templates": [{"x": 1}]}, []])
    def test_malformed_stored_texts_do_not_break_the_page(self, admin_client, texts):
        row = PushBroadcast.objects.create(type="news", texts=texts)
        assert admin_client.get(url_of(PushBroadcast, "change", row.pk)).status_code == 200

    def test_the_page_links_to_its_notifications(self, admin_client, running, subscription):
        make_notification(subscription)
        page = admin_client.get(url_of(PushBroadcast, "change", running.pk))
        listed = admin_client.get(page.context["notifications_url"]).context["cl"].result_list
        assert {row.batch for row in listed} == {running.batch}
        assert len(listed) == 4


class TestTheFiguresOfALargeBroadcast:
    """They are counted after the page is shown, by its own request."""

    @pytest.fixture
    def large(self, make_user, make_subscription, monkeypatch):
        make_template("news")
        for _ in range(4):
            make_subscription(make_user())
        row = broadcast("news", context={"number": 7})
        fan_out()
        self.rows.filter(pk=self.rows.first().pk).update(status="failed", failure_reason="HTTP 400")
        PushBroadcast.objects.update(status="running", total=10, suppressed=2)
        monkeypatch.setattr(broadcast_figures, "LONG_COUNT", 3)
        return row

    @property
    def rows(self):
        return models.get_notification_model().objects

    def page(self, row):
        page = broadcast_page(row, counts=False)
        return {str(figure.label): figure.count for figure in page.figures}, " ".join(page.summary), page

    def test_the_first_page_shows_what_needs_no_counting(self, large):
        with CaptureQueriesContext(connection) as captured:
            figures, summary, page = self.page(large)
        assert not any(models.get_notification_model()._meta.db_table in query["sql"] for query in captured)
        assert figures == {"recipients": 10, "opted out": 2}
        assert summary == ("Notifications are being written: 4 of 10 recipients so far. The results are being counted.")
        assert (page.percent, page.is_live, page.is_stale, page.reasons) == (None, True, True, [])

    def test_later_pages_show_the_latest_figures(self, large, time_machine):
        time_machine.move_to(timezone.now(), tick=False)
        assert not broadcast_page(large).is_stale
        self.rows.update(status="sent")
        figures, _summary, page = self.page(large)
        assert (figures["pending"], figures["failed"]) == (3, 1)
        assert (page.percent, page.is_live, page.is_stale) == (10, True, False)
        time_machine.shift(60)
        _figures, summary, page = self.page(large)
        assert page.is_stale
        assert re.search(r"Counted at \d", summary)
        forget_kept_values()
        assert {str(figure.label): figure.count for figure in broadcast_page(large).figures}["accepted"] == 4

    def test_old_figures_do_not_hide_that_it_was_paused(self, large, time_machine):
        time_machine.move_to(large.created_at + timedelta(seconds=20), tick=False)
        assert "left" in " ".join(broadcast_page(large).summary)
        pause_broadcast(large)
        _figures, summary, page = self.page(large)
        assert summary.startswith("It is paused.")
        assert "left" not in summary
        assert [control.name for control in page.controls] == ["resume", "retry", "cancel"]

    @pytest.mark.parametrize(("language", "number"), [("en", "50,000"), ("de", "50.000"), ("fr", "50 000")])
    def test_numbers_have_the_separators_of_the_language(self, admin_client, large, language, number):
        PushBroadcast.objects.update(total=50_000)
        with override(language):
            text = admin_client.get(url_of(PushBroadcast, "change", large.pk)).content.decode()
        text = re.sub("[\xa0\u202f]", " ", text)
        assert f"<strong>{number}</strong>" in text
        assert re.search(rf"\b4 \D+ {number} ", text), "the sentence"

    def test_the_page_asks_for_them_at_once(self, admin_client, large):
        text = admin_client.get(url_of(PushBroadcast, "change", large.pk)).content.decode()
        assert "data-stale" in text
        assert '<progress max="100" aria-label' in text
        assert '<noscript><meta http-equiv="refresh" content="0; url=?count"></noscript>' in text
        for url in (f"{url_of(PushBroadcast, 'change', large.pk)}?count", url_of(PushBroadcast, "figures", large.pk)):
            text = admin_client.get(url).content.decode()
            assert "data-stale" not in text
            assert "3 notifications are pending." in text

    def test_one_that_was_just_started_is_counted_at_once(self, large):
        PushBroadcast.objects.update(queued=3)
        assert self.page(large)[0]["failed"] == 1


class TestControls:
    """The buttons on the page of a broadcast."""

    @pytest.fixture
    def row(self, make_user, make_subscription):
        make_template("news")
        make_subscription(make_user())
        return broadcast("news", context={"number": 7})

    def press(self, client, row, control, **fields):
        url = url_of(PushBroadcast, "control", row.pk)
        return client.post(url, {"control": control, **fields}, follow=True)

    def test_pause_resume_and_cancel(self, admin_client, admin_user, row):
        for control, status in (("pause", "paused"), ("resume", "pending")):
            assert messages_of(self.press(admin_client, row, control)) == ["1 broadcast was changed."]
            row.refresh_from_db()
            assert row.status == status
        page = self.press(admin_client, row, "cancel")
        assert "1 broadcast will be cancelled." in page.content.decode()
        row.refresh_from_db()
        assert row.status == "pending"
        confirm(admin_client, page)
        row.refresh_from_db()
        assert row.status == "cancelled"
        notes = LogEntry.objects.filter(object_id=row.pk, user=admin_user).order_by("pk")
        assert [note.get_change_message() for note in notes] == ["Paused.", "Resumed.", "Cancelled."]

    def test_failed_notifications_are_sent_again(self, admin_client, row):
        fan_out()
        failed = models.get_notification_model().objects
        failed.update(status="failed", failure_reason="HTTP 500")
        page = self.press(admin_client, row, "retry")
        assert "1 failed notification will be sent again." in page.content.decode()
        assert failed.get().status == "failed"
        assert messages_of(confirm(admin_client, page)) == ["1 notification is pending again."]
        assert (failed.get().status, failed.get().failure_reason) == ("pending", "")
        assert messages_of(self.press(admin_client, row, "retry")) == ["0 notifications are pending again."]

    def test_too_many_failed_notifications_are_left_to_the_command(self, admin_client, row, monkeypatch, subscription):
        monkeypatch.setattr(broadcasts, "COUNT_LIMIT", 1)
        for _ in range(2):
            make_notification(subscription, "failed", batch=row.batch)
        page = self.press(admin_client, row, "retry")
        assert messages_of(page) == ["More than 1 notifications failed. Run the command push_retry instead."]

    def test_unknown_objects_are_404(self, admin_client, row):
        assert self.press(admin_client, row, "explode").status_code == 404
        assert self.press(admin_client, PushBroadcast(pk=row.pk + 1), "pause").status_code == 404
        assert admin_client.get(url_of(PushBroadcast, "figures", "x")).status_code == 404
        assert admin_client.get(url_of(PushBroadcast, "control", row.pk)).status_code == 405

    def test_each_button_requires_its_permission(self, client, staff, row):
        figures = url_of(PushBroadcast, "figures", row.pk)
        preview = url_of(PushBroadcast, "preview")
        assert [client.get(figures).status_code, client.post(preview, {}).status_code] == [403, 403]
        permit(staff, PushBroadcast, "view")
        assert client.get(figures).status_code == 200
        assert "formaction" not in client.get(figures).content.decode()
        assert self.press(client, row, "pause").status_code == 403
        assert client.post(preview, {}).status_code == 403
        permit(staff, PushBroadcast, "change")
        assert "formaction" in client.get(figures).content.decode()
        assert self.press(client, row, "pause").status_code == 200
        page = client.get(url_of(PushBroadcast, "change", row.pk))
        assert "again_url" not in page.context
        client.logout()
        assert client.get(figures).status_code == 302


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 second"),
        (45, "45 seconds"),
        (100, "2 minutes"),
        (7200, "2 hours"),
        (86_400 * 3, "3 days"),
    ],
)
def test_durations_are_rounded(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(("total", "text"), [(0, "-"), (10, "5 / 10 (50 %)")])
def test_broadcasts_show_their_progress(total, text):
    shown = PushBroadcastAdmin(PushBroadcast, admin.site)
    assert shown.progress(PushBroadcast(total=total, processed=total // 2)) == text

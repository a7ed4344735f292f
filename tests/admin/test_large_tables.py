"""Lists of large tables: windows, search, and filters that an index serves."""

import uuid
from datetime import datetime, timedelta
from urllib.parse import parse_qs

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.utils import timezone

from django_webpush_kit.admin import finding, large_tables, list_filters, pages, reading
from django_webpush_kit.admin.outbox import PushNotificationAdmin
from django_webpush_kit.models import (
    ApiLocation,
    IdempotencyKey,
    PushBroadcast,
    get_analytics_model,
    get_notification_model,
    get_subscription_model,
)
from django_webpush_kit.tokens import NotificationIdentity
from tests.admin.test_admin import choose, confirm, messages_of, own_filters, url_of
from tests.factories import make_event, make_notification, make_template

pytestmark = pytest.mark.django_db


def listed(client, model, **query):
    """The changelist with a query."""
    response = client.get(url_of(model, "changelist"), query)
    assert response.status_code == 200
    return response.context["cl"]


def titles(client, **query):
    return [row.title for row in listed(client, get_notification_model(), **query).result_list]


def older(changelist):
    """The query of the window before."""
    return {name: values[0] for name, values in parse_qs(changelist.older_query.removeprefix("?")).items()}


@pytest.fixture
def many(subscription):
    """Nine notifications, the newest first; three are created at the same time, every third is of type news."""
    now = timezone.now()
    return [
        make_notification(
            subscription,
            title=f"Number {number}",
            type="news" if number % 3 == 0 else "",
            created_at=now - timedelta(minutes=max(number, 3) if number < 6 else number),
        )
        for number in range(9)
    ]


class TestWindows:
    """A list shows the newest rows, and leads to those before."""

    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch):
        monkeypatch.setattr(reading, "COUNT_LIMIT", 4)
        monkeypatch.setattr(large_tables, "SCAN_LIMIT", 6)

    @pytest.mark.parametrize("name", ["notification", "event", "subscription"])
    def test_paging_shows_every_row_once(self, admin_client, many, make_subscription, name):
        for row in many:
            make_event(row, "clicked")
        for _ in range(8):
            make_subscription()
        model = {
            "notification": get_notification_model(),
            "event": get_analytics_model(),
            "subscription": get_subscription_model(),
        }[name]
        seen, windows, query = [], 0, {}
        while True:
            changelist = listed(admin_client, model, **query)
            seen += [row.pk for row in changelist.result_list]
            windows += 1
            if not changelist.older_query:
                break
            query = older(changelist)
        assert windows == 3
        assert sorted(seen, key=str) == sorted(model.objects.values_list("pk", flat=True), key=str)
        assert len(seen) == 9

    def test_the_number_is_a_lower_bound_and_the_page_says_so(self, admin_client, many, settings):
        url = url_of(get_notification_model(), "changelist")
        page = admin_client.get(url).content.decode()
        assert "more than 4 push notifications" in " ".join(page.split())
        assert "These are the newest rows, back to" in page
        assert page.count(">Older rows<") == 2
        settings.USE_THOUSAND_SEPARATOR = True
        assert "4 push notifications" in " ".join(admin_client.get(url).content.decode().split())
        changelist = listed(admin_client, get_notification_model())
        page = admin_client.get(url, older(changelist)).content.decode()
        assert ">before " in page
        assert ">Newest<" in page

    def test_a_list_without_a_date_column_shows_no_date(self, admin_client, make_subscription):
        for _ in range(9):
            make_subscription()
        url = url_of(get_subscription_model(), "changelist")
        page = admin_client.get(url).content.decode()
        assert "These are the newest rows." in page
        assert "Only the newest rows were searched." in admin_client.get(url, {"service": "x"}).content.decode()
        query = older(listed(admin_client, get_subscription_model()))
        assert ">older<" in admin_client.get(url, query).content.decode()

    def test_a_filter_without_an_index_searches_a_wider_window(self, admin_client, many):
        changelist = listed(admin_client, get_notification_model(), type="news")
        assert [row.title for row in changelist.result_list] == ["Number 3", "Number 0"]
        assert changelist.result_count == 2
        assert str(changelist.result_count) == "2"
        assert (
            "Searched back to"
            in admin_client.get(url_of(get_notification_model(), "changelist"), {"type": "news"}).content.decode()
        )
        assert titles(admin_client, **older(changelist)) == ["Number 6"]

    def test_a_window_ends_at_the_counting_limit(self, admin_client, many, monkeypatch):
        monkeypatch.setattr(PushNotificationAdmin, "list_per_page", 2)
        get_notification_model().objects.update(type="news")
        changelist = listed(admin_client, get_notification_model(), type="news")
        assert changelist.has_more
        first = titles(admin_client, type="news") + titles(admin_client, type="news", p="2")
        second = titles(admin_client, **older(changelist))
        assert (len(first), len(second)) == (4, 2)
        assert not set(first).intersection(second)

    def test_an_action_on_all_rows_is_offered_only_if_they_can_be_counted(self, admin_client, many):
        row = make_notification(many[0].subscription, "pending", title="Pending")
        page = choose(admin_client, "cancel", row, select_across="1", confirmed="9")
        assert messages_of(page) == ["Nothing was changed: the list has more than 4 rows. Filter the list first."]
        narrowed = choose(admin_client, "cancel", row, query="?q=title:Pend", select_across="1")
        assert "1 pending notification will be cancelled." in narrowed.content.decode()
        assert messages_of(confirm(admin_client, narrowed)) == ["1 notification was cancelled."]

    @pytest.mark.parametrize(
        "position",
        [
            *("", "x", "~", "x~1", "2026-03-01~1", "~1", "2026-13-01T00:00:00Z~1", "\x00~\x00"),
            *("9999-12-31T23:59:59-01:00~1", "0001-01-01T00:00:00+01:00~1"),
        ],
    )
    def test_an_invalid_position_is_ignored(self, admin_client, many, position):
        assert len(titles(admin_client, before=position)) == 4

    @pytest.mark.parametrize("position", ["x", "2026-03-01T00:00:00Z~1", "~" + "9" * 40])
    def test_a_position_of_another_list_is_ignored(self, admin_client, many, position):
        assert listed(admin_client, get_subscription_model(), before=position).result_count == 1


def test_columns_cannot_be_sorted(admin_client, many):
    assert titles(admin_client, o="1") == titles(admin_client)
    page = admin_client.get(url_of(get_notification_model(), "changelist")).content.decode()
    assert "sortable column" not in page


@pytest.mark.parametrize("model", [get_notification_model, get_analytics_model, get_subscription_model])
def test_filter_choices_are_not_counted(admin_client, many, model):
    page = admin_client.get(url_of(model(), "changelist"), {"_facets": "True"}).content.decode()
    assert "Show counts" not in page


class TestFilters:
    """Filters by key, status and date."""

    def test_by_user_subscription_and_batch(self, admin_client, many, make_user, make_subscription):
        bob = make_subscription(make_user(username="bob"))
        row = make_notification(bob, title="For Bob")
        for query in ({"user": bob.user_id}, {"subscription": bob.pk}, {"batch": row.batch}):
            assert titles(admin_client, **query) == ["For Bob"]
        assert [found.pk for found in listed(admin_client, get_subscription_model(), user=bob.user_id).result_list] == [
            bob.pk
        ]
        events = [make_event(one, "clicked") for one in (row, many[0])]
        changelist = listed(admin_client, get_analytics_model(), notification=row.pk)
        assert list(changelist.result_list) == events[:1]

    @pytest.mark.parametrize("name", ["user", "subscription", "batch", "template"])
    @pytest.mark.parametrize("value", ["x", "", "\x00", "9" * 40, "-1"])
    def test_invalid_keys_match_nothing(self, admin_client, many, name, value):
        assert titles(admin_client, **{name: value}) == []

    def test_notifications_of_a_template_are_found_before_the_newest_window(self, admin_client, many, monkeypatch):
        monkeypatch.setattr(reading, "COUNT_LIMIT", 2)
        monkeypatch.setattr(large_tables, "SCAN_LIMIT", 2)
        template = make_template("news")
        get_notification_model().objects.filter(pk=many[-1].pk).update(template=template)
        assert titles(admin_client, template=template.pk) == [many[-1].title]

    def test_an_active_filter_can_be_cleared(self, admin_client, many, user):
        page = admin_client.get(url_of(get_notification_model(), "changelist"), {"user": user.pk}).content.decode()
        assert "By user" in page
        page = admin_client.get(url_of(get_notification_model(), "changelist")).content.decode()
        assert "By user" not in page

    def test_a_batch_is_searched_in_the_time_span_of_its_broadcast(self, admin_client, subscription):
        broadcast = PushBroadcast.objects.create(type="news", created_at=timezone.now() - timedelta(hours=2))
        make_notification(subscription, batch=broadcast.batch, title="First", days_ago=1 / 24)
        assert titles(admin_client, batch=broadcast.batch) == ["First"]
        PushBroadcast.objects.update(finished_at=timezone.now())
        assert titles(admin_client, batch=broadcast.batch) == ["First"]

    @pytest.mark.parametrize("rare", [0, 1, 100])
    def test_rare_and_common_statuses_are_found(self, admin_client, many, monkeypatch, rare):
        monkeypatch.setattr(list_filters, "RARE", rare)
        make_notification(many[0].subscription, "failed", title="Old", days_ago=80, lane=0)
        make_notification(many[0].subscription, "failed", title="Older", days_ago=81, lane=2)
        assert titles(admin_client, status="failed") == ["Old", "Older"]
        assert len(titles(admin_client, status="sent")) == 9
        for odd in ("nonsense", "", "\x00"):
            assert titles(admin_client, status=odd) == []

    def test_the_window_of_a_status_starts_at_its_newest_row(self, admin_client, many, monkeypatch):
        """Six newer rows with another status do not fill the window."""
        monkeypatch.setattr(list_filters, "RARE", 0)
        monkeypatch.setattr(large_tables, "SCAN_LIMIT", 3)
        for number in (1, 2):
            make_notification(many[0].subscription, "failed", title=f"Old {number}", days_ago=80 + number)
        assert titles(admin_client, status="failed") == ["Old 1", "Old 2"]

    def test_subscriptions_by_state(self, admin_client, make_subscription):
        rows = [make_subscription() for _ in range(3)]
        model = get_subscription_model()
        model.objects.filter(pk=rows[0].pk).update(is_active=False, deactivated_at=timezone.now())
        found = [[row.pk for row in listed(admin_client, model, is_active=state).result_list] for state in ("0", "1")]
        assert found == [[rows[0].pk], sorted((rows[1].pk, rows[2].pk), reverse=True)]

    @pytest.mark.parametrize(
        ("on", "wanted"),
        [
            ("2025", ["December"]),
            ("2026", ["March 10", "March 9", "February"]),
            ("2026-03", ["March 10", "March 9"]),
            ("2026-02", ["February"]),
            ("2025-12", ["December"]),
            ("2026-03-09", ["March 9"]),
            ("today", ["March 10"]),
            ("week", ["March 10", "March 9"]),
            ("2024", []),
            ("2026-02-30", ["March 10", "March 9", "February", "December"]),
            ("0001", ["March 10", "March 9", "February", "December"]),
            ("9999-12-31", ["March 10", "March 9", "February", "December"]),
            ("nonsense", ["March 10", "March 9", "February", "December"]),
            ("\x00", ["March 10", "March 9", "February", "December"]),
        ],
    )
    def test_dates_can_be_drilled_down(self, admin_client, subscription, time_machine, settings, on, wanted):
        settings.TIME_ZONE = "Europe/Berlin"
        time_machine.move_to("2026-03-10 12:00:00+00:00")
        moments = {
            "December": "2025-12-31T22:59:59+00:00",
            "February": "2026-02-28T22:59:59+00:00",
            "March 9": "2026-03-09T22:59:59+00:00",
            "March 10": "2026-03-09T23:00:00+00:00",
        }
        for title, moment in moments.items():
            make_notification(subscription, title=title, created_at=datetime.fromisoformat(moment))
        assert titles(admin_client, on=on) == wanted

    def test_date_choices_go_from_years_to_days(self, admin_client, subscription, time_machine):
        time_machine.move_to("2026-03-10 12:00:00+00:00")
        assert self.choices(admin_client) == ["All", "Today", "Last 7 days"]
        make_notification(subscription, days_ago=100)
        assert self.choices(admin_client) == ["All", "Today", "Last 7 days", "2026", "2025"]
        months = self.choices(admin_client, on="2026")
        assert months[3:6] == ["2026", "January 2026", "February 2026"]
        assert len(months) == 16
        days = self.choices(admin_client, on="2026-02")
        assert days[3:7] == ["2026", "February 2026", "February 1", "February 2"]
        assert len(days) == 5 + 28
        assert self.choices(admin_client, on="2026-02-28") == days

    def choices(self, client, **query):
        changelist = listed(client, get_notification_model(), **query)
        (spec,) = (spec for spec in changelist.filter_specs if getattr(spec, "parameter_name", "") == "on")
        choices = list(spec.choices(changelist))
        assert sum(choice["selected"] for choice in choices) == 1
        return [str(choice["display"]) for choice in choices]


class TestSearch:
    """What a text in the search box means."""

    @pytest.mark.thorough
    def test_notifications_are_found_by_each_identifier(self, admin_client, many, user):
        row = many[4]
        texts = (
            str(row.pk),
            f"#{row.pk}",
            str(row.batch),
            row.batch.hex,
            str(NotificationIdentity.of(row)),
            "title:umber 4",
            "Number 4",
        )
        for text in texts:
            assert titles(admin_client, q=text) == ["Number 4"], text
        for text in (row.subscription.endpoint, "ada", "ad", "user:ada", "ada@example.com", "user: ada"):
            assert len(titles(admin_client, q=text)) == 9, text
        nothing = (
            "title:",
            "user:",
            "nobody",
            str(uuid.uuid4()),
            "https://push.example.com/x",
            "x.y",
            "9" * 40,
        )
        for text in (*nothing, "1.AAAAAAAAAAAAAAAAAAAAAA", f"9.{str(NotificationIdentity.of(row)).partition('.')[2]}"):
            assert titles(admin_client, q=text) == [], text

    def test_a_number_that_is_not_an_id_is_searched_in_titles(self, admin_client, subscription):
        make_notification(subscription, title="Sale 2026")
        assert titles(admin_client, q="2026") == ["Sale 2026"]

    def test_subscriptions_are_found_by_id_endpoint_and_user(self, admin_client, subscription):
        model = get_subscription_model()
        for text in (str(subscription.pk), subscription.endpoint, "ada", "user:ada", "ada@example.com"):
            assert [row.pk for row in listed(admin_client, model, q=text).result_list] == [subscription.pk], text
        for text in ("nobody", "https://push.example.com/x", "user:"):
            assert listed(admin_client, model, q=text).result_count == 0

    def test_events_are_found_by_notification_and_batch(self, admin_client, many):
        event = make_event(many[3], "clicked")
        make_event(many[4], "clicked")
        for text in (str(many[3].pk), str(many[3].batch), str(NotificationIdentity.of(many[3]))):
            assert list(listed(admin_client, get_analytics_model(), q=text).result_list) == [event], text
        for text in ("nothing", "ada", str(uuid.uuid4())):
            assert listed(admin_client, get_analytics_model(), q=text).result_count == 0

    def test_an_exact_user_name_wins_over_a_prefix(self, user, make_user):
        adam = make_user(username="adam")
        make_user(username="Ada")
        assert finding.find_users("ada") == [user.pk]
        assert finding.find_users("adam") == [adam.pk]
        assert set(finding.find_users("ad")) >= {user.pk, adam.pk}
        assert finding.find_users("") == []

    def test_a_user_model_without_an_email_is_searched_by_name(self, user, monkeypatch):
        monkeypatch.setattr(get_user_model(), "EMAIL_FIELD", "")
        assert finding.find_users("ada@example.com") == []
        assert finding.find_users("ada") == [user.pk]


def test_a_large_table_without_a_search_method_finds_nothing():
    large = large_tables.LargeTableAdmin(get_subscription_model(), admin.site)
    assert large.search("ada") == large_tables.NOTHING


def test_models_without_admin_pages_have_no_links(rf):
    assert pages.page_url(ApiLocation, "changelist") == ""
    assert pages.list_url(ApiLocation, user=1) == ""
    assert pages.Viewer(rf.get("/"), admin.site).row_link(ApiLocation(path="/push/")) == "/push/"
    assert pages.NOBODY.row_url(ApiLocation(path="/push/")) == ""


def test_an_action_on_all_rows_of_a_small_table_is_refused_as_well(admin_client, monkeypatch):
    monkeypatch.setattr(reading, "COUNT_LIMIT", 1)
    keys = [IdempotencyKey.objects.create(key_hash=str(number), batch=uuid.uuid4()) for number in range(2)]
    page = choose(admin_client, "delete_selected", keys[0], select_across="1", post="yes")
    assert messages_of(page) == ["Nothing was changed: the list has more than 1 rows. Filter the list first."]
    assert IdempotencyKey.objects.count() == 2
    assert "Only the first 1 rows are listed." in page.content.decode()


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"q": "ada", "status": "sent", "type": "news", "on": "2026"},
        {"q": "Number", "status": "sent", "before": "2030-01-01T00:00:00+00:00~1"},
    ],
)
def test_a_list_runs_at_most_15_queries(admin_client, many, monkeypatch, django_assert_max_num_queries, query):
    monkeypatch.setattr(list_filters, "RARE", 0)
    with django_assert_max_num_queries(15 + own_filters()):
        listed(admin_client, get_notification_model(), **query)

"""The statistics page of the admin, its charts and its exports."""

import csv
import json
import xml.etree.ElementTree as ET  # pages of this project
from io import StringIO

import pytest
from django.test import override_settings
from django.urls import reverse
from django.utils import translation

from django_webpush_kit.admin.charts import DAY_STEPS, HOUR_STEPS, WEEK_STEPS, Chart, Series, formatted, round_up
from django_webpush_kit.admin.statistics import duration
from django_webpush_kit.admin.statistics_export import harmless
from django_webpush_kit.analytics import figures
from django_webpush_kit.delivery.pruning import clean_up
from django_webpush_kit.models import PushBroadcast, get_notification_model
from django_webpush_kit.rollups import building
from tests.factories import make_event, make_notification, make_template

pytestmark = pytest.mark.django_db


@pytest.fixture
def open_page(admin_client):
    """Open the page with these parameters."""

    def get(**parameters):
        return admin_client.get(page_url(), parameters)

    return get


def page_url():
    model = get_notification_model()._meta
    return reverse(f"admin:{model.app_label}_{model.model_name}_statistics")


def tile(page, name):
    return next(tile for tile in page.context["tiles"] if tile["name"] == name)


def test_the_list_of_notifications_links_to_it(admin_client):
    model = get_notification_model()._meta
    page = admin_client.get(reverse(f"admin:{model.app_label}_{model.model_name}_changelist"))
    assert page_url() in page.content.decode()


@pytest.mark.parametrize("days", ["", "8", "-1", "1e9", "x"])
def test_it_shows_30_days_unless_a_listed_period_is_chosen(open_page, days):
    page = open_page(days=days)
    assert page.context["days"] == 30
    assert "No notifications were created in this period." in page.content.decode()
    assert "No browser has reported yet that it showed one." in page.content.decode()


@pytest.mark.parametrize("name", ["colour:red", "type", "hour:05", "reason:x", "total:", ":", "broadcast:"])
def test_every_filter_works(open_page, name):
    assert open_page(show=name).status_code == 200


def test_it_requires_the_permission_to_view_notifications(client, make_user):
    user = make_user(is_staff=True)
    client.force_login(user)
    assert client.get(page_url()).status_code == 403
    assert client.get(page_url(), {"format": "csv"}).status_code == 403
    client.logout()
    assert client.get(page_url()).status_code == 302


def test_totals_are_compared_with_the_previous_period(open_page, subscription):
    for days_ago in (1, 2, 10):
        make_event(make_notification(subscription, days_ago=days_ago), "delivered")
    make_notification(subscription, "failed", days_ago=10)
    make_notification(subscription, "failed", days_ago=11)
    make_notification(subscription, "failed", days_ago=1)
    make_notification(subscription, "expired", days_ago=1)
    page = open_page(days=7)
    assert (tile(page, "accepted")["value"], tile(page, "accepted")["rate"]) == ("2", "66.7 % of accepted and failed")
    assert tile(page, "accepted")["change"] == "100 % more than in the 7 days before (1)"
    assert tile(page, "failed")["change"] == "50 % fewer than in the 7 days before (2)"
    assert tile(page, "expired")["change"] == "none in the 7 days before"
    assert tile(page, "cancelled")["change"] == "as in the 7 days before"


def test_a_negligible_difference(open_page, monkeypatch, subscription):
    from django_webpush_kit.admin import statistics

    assert statistics._change(10_000, 10_001, 7) == "about as in the 7 days before"


def test_breakdowns_link_to_their_filter(open_page, subscription, push_settings):
    push_settings(NOTIFICATION_TYPES={"news": {"label": "News & offers"}})
    broadcast = PushBroadcast.objects.create(type="news")
    make_event(make_notification(subscription, type="news", batch=broadcast.batch), "clicked")
    make_notification(subscription, "failed", failure_reason="HTTP 403")
    page = open_page()
    text = page.content.decode()
    assert '<a href="?days=30&amp;show=type%3Anews">News &amp; offers</a>' in text
    assert "no type" in text
    assert "Not sent, by reason" in text
    assert "HTTP 403" in text
    labels = {row["label"] for breakdown in page.context["breakdowns"] for row in breakdown["rows"]}
    assert f"News & offers, {broadcast.created_at:%Y-%m-%d %H:%M}" in labels
    chosen = open_page(show="type:news")
    assert chosen.context["chosen"] == "News & offers"
    assert tile(chosen, "queued")["value"] == "1"
    assert "Totals of News &amp; offers" in chosen.content.decode()
    assert '<option value="type:news" selected>' in chosen.content.decode()
    assert [chart.id for chart in chosen.context["charts"]] == ["daily"]


def test_a_filter_by_an_uncounted_value_stays_selected(open_page):
    page = open_page(show="broadcast:77")
    assert '<option value="broadcast:77" selected>#77</option>' in page.content.decode()


def test_long_breakdowns_are_cut_and_say_how_many_values_are_missing(open_page, subscription, monkeypatch):
    monkeypatch.setattr("django_webpush_kit.admin.statistics.MAX_ROWS", 2)
    monkeypatch.setattr(building, "MAX_VALUES", 3)
    for number in range(5):
        make_notification(subscription, type=f"type {number}", days_ago=3)
    clean_up()
    page = open_page()
    assert "2 more are in the export." in page.content.decode()
    assert "all others" not in page.content.decode()
    monkeypatch.setattr("django_webpush_kit.admin.statistics.MAX_ROWS", 10)
    assert '<th scope="row">all others</th>' in open_page().content.decode()


def test_uncounted_days_are_listed(open_page, subscription, monkeypatch):
    monkeypatch.setattr(figures, "LIVE_ROWS", 1)
    for days_ago in (1, 1, 2):
        make_notification(subscription, days_ago=days_ago)
    assert "days have not been counted yet." in open_page().content.decode()
    clean_up()
    assert "have not been counted yet" not in open_page().content.decode()


@pytest.mark.parametrize("language", ["en", "de", "ar", "pt-br"])
@pytest.mark.parametrize("days", [7, 30, 90, 365])
def test_charts_are_valid_svg_in_every_language(admin_client, subscription, language, days):
    make_event(make_notification(subscription, days_ago=1), "delivered")
    with override_settings(LANGUAGE_CODE=language, USE_THOUSAND_SEPARATOR=True), translation.override(language):
        text = admin_client.get(page_url(), {"days": days}).content.decode()
    drawings = [part.partition("</svg>")[0] for part in text.split('<div class="webpush-kit-plot">')[1:]]
    assert len(drawings) == 3
    for drawing in drawings:
        svg = ET.fromstring(drawing[drawing.index("<svg") :] + "</svg>")
        assert {svg[0].tag, svg[1].tag} == {"title", "desc"}
        for line in svg.iter("polyline"):
            for point in line.get("points").split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= 1000
                assert 0 <= y <= 100
        for box in svg.iter("rect"):
            assert all(float(box.get(name)) >= 0 for name in ("x", "y", "width", "height"))
    assert " style=" not in text.partition('class="webpush-kit-statistics"')[2], "policies forbid it"


def test_long_periods_are_grouped_by_week(open_page, subscription):
    make_notification(subscription, days_ago=200)
    make_notification(subscription)
    chart = open_page(days=365).context["charts"][0]
    assert len(chart.labels) == 53
    assert sum(chart.series[0].values) == 2
    assert str(chart.title) == "Notifications by week"


class TestChart:
    def chart(self, values, **fields):
        labels = [str(number) for number in range(len(values))]
        return Chart("x", "Title", "Description", "day", labels, [Series("accepted", "accepted", values)], **fields)

    @pytest.mark.parametrize(
        ("value", "expected"), [(0, 4), (4, 4), (5, 8), (9, 20), (21, 40), (81, 200), (12_345, 20_000)]
    )
    def test_the_upper_edge_is_a_round_number(self, value, expected):
        assert round_up(value) == expected

    def test_a_single_value_is_a_horizontal_line(self):
        assert self.chart([4]).lines[0]["points"] == "0.0,0.0 1000.0,0.0"
        assert [tick["text"] for tick in self.chart([4]).x_ticks] == ["0"]

    def test_no_values_make_an_empty_chart(self):
        empty = self.chart([])
        assert (empty.slots, empty.x_ticks, list(empty.rows)) == ([], [], [])

    @pytest.mark.parametrize(
        ("count", "steps", "expected"),
        [
            (7, DAY_STEPS, [0, 2, 4, 6]),
            (30, DAY_STEPS, [0, 7, 14, 21, 28]),
            (90, DAY_STEPS, [0, 28, 56, 84]),
            (53, WEEK_STEPS, [0, 13, 26, 39, 52]),
            (24, HOUR_STEPS, [0, 6, 12, 18]),
        ],
    )
    def test_labels_are_at_even_distances_and_below_their_values(self, count, steps, expected):
        ticks = self.chart(range(count), steps=steps).x_ticks
        assert [int(tick["text"]) for tick in ticks] == expected
        points = self.chart(range(count), steps=steps).lines[0]["points"].split()
        assert [tick["x"] for tick in ticks] == [points[number].split(",")[0] for number in expected]

    def test_a_label_of_a_bar_is_below_its_middle(self):
        first, *_others = self.chart(range(4), is_bars=True).x_ticks
        assert (first["x"], first["left"], first["anchor"]) == ("125.0", "12.50%", "middle")

    def test_each_slot_has_a_tooltip_with_its_figures(self):
        chart = self.chart([1000, 2000], extra=[Series("lost", "lost", [0, 7])])
        assert [slot["text"] for slot in chart.slots] == ["0: 1,000 accepted, 0 lost", "1: 2,000 accepted, 7 lost"]
        assert chart.ticks == ["2,000", "1,500", "1,000", "500", "0"]

    def test_numbers_use_the_separators_of_the_language(self):
        with translation.override("de"):
            assert formatted(1234.5) == "1.234,5"
        assert formatted(None) == "-"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (1, "1 second"),
        (2.54, "2.5 seconds"),
        (60, "1 minute"),
        (90, "1.5 minutes"),
        (3600, "1 hour"),
        (7200, "2 hours"),
        (86_400, "1 day"),
        (200_000, "2.3 days"),
    ],
)
def test_durations_in_words(seconds, text):
    assert duration(seconds) == text


def read(response):
    return b"".join(response.streaming_content).decode()


class TestExport:
    def test_csv_has_a_row_for_each_day_dimension_and_value(self, open_page, subscription):
        make_event(make_notification(subscription, type="news", days_ago=3), "delivered")
        clean_up()
        make_notification(subscription, type="news")
        response = open_page(format="csv", days=7)
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        assert response["Content-Disposition"].startswith('attachment; filename="push-statistics-20')
        text = read(response)
        assert text.startswith("\ufeffday,dimension,value,queued,accepted,")
        rows = [row for row in csv.DictReader(StringIO(text[1:])) if row["dimension"] == "type" and row["value"]]
        assert [(row["value"], row["queued"], row["shown"]) for row in rows] == [("news", "1", "1"), ("news", "1", "0")]
        assert rows[0]["p50_seconds"]

    def test_json_has_the_same_rows(self, open_page, subscription):
        make_notification(subscription, type="news", days_ago=3)
        make_notification(subscription, type="offers")
        clean_up()
        found = json.loads(read(open_page(format="json", days=7, show="type:news")))
        assert [(row["value"], row["accepted"]) for row in found["rows"]] == [("news", 1)]
        assert set(found) == {"first", "last", "as_of", "rows"}
        assert json.loads(read(open_page(format="json", show="type:none")))["rows"] == []

    @pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
    def test_no_cell_starts_a_formula(self, open_page, subscription, start):
        name = f'{start}HYPERLINK("https://x")'
        make_notification(subscription, type=name)
        assert harmless(name) == f"'{name}"
        rows = list(csv.reader(StringIO(read(open_page(format="csv")), newline="")))
        assert f"'{name}" in [row[2] for row in rows]
        assert not [cell for row in rows for cell in row if cell.startswith(start)]

    @pytest.mark.parametrize("start", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
    @pytest.mark.parametrize("end", [";", ",", "|", "\t", "\n", '"', '";"', "; "])
    def test_no_part_of_a_cell_is_a_formula_for_a_spreadsheet_with_another_separator(self, start, end):
        assert harmless(f"a{end}{start}cmd|' /C calc'!A0") == f"a{end}'{start}cmd|' /C calc'!A0"
        assert harmless(f" {start}1+1") == f" '{start}1+1"

    @pytest.mark.parametrize(
        "text", ["news, 'daily'", "pt-br", "a=b", "me@example.com", "HTTP 500 - down", "Rock 'n'-roll"]
    )
    def test_every_text_is_a_valid_cell(self, text):
        assert harmless(text) == text


def test_hostile_values_are_escaped(open_page, subscription, user):
    evil = '"><script>alert(1)</script>:&'
    make_notification(subscription, type=evil, template=make_template(evil), language="x" * 35)
    make_notification(subscription, "failed", failure_reason="</th><b>" + "y" * 180)
    for parameters in ({}, {"show": f"type:{evil}"}, {"show": f"template:{evil}"}, {"show": f"type:{evil}\x00"}):
        text = open_page(**parameters).content.decode()
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;:&amp;" in text


@pytest.mark.thorough
def test_the_page_runs_few_queries(open_page, subscription, django_assert_max_num_queries):
    for days_ago in range(40):
        make_event(make_notification(subscription, type=f"type {days_ago}", days_ago=days_ago), "delivered")
    clean_up()
    open_page()
    for parameters in ({"days": 30}, {"days": 365}, {"show": "type:type 3"}, {"format": "csv"}):
        with django_assert_max_num_queries(15):
            response = open_page(**parameters)
            b"".join(response)

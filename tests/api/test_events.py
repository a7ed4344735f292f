"""What browsers report, and clicks that no service worker sees."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.db import IntegrityError, OperationalError, connection

from django_webpush_kit.api import events
from django_webpush_kit.models import get_analytics_model, get_notification_model
from django_webpush_kit.signals import event_recorded
from django_webpush_kit.tokens import NotificationIdentity, sign_notification, sign_subscription
from tests.api.conftest import ApiClient
from tests.columns import added_column
from tests.factories import make_event, make_notification

pytestmark = pytest.mark.django_db

ACTIONS = [
    {"action": "track", "title": "Track", "url": "/orders/7/track"},
    {"action": "call", "title": "Call us"},
]


@pytest.fixture
def notification(subscription: Any) -> Any:
    return make_notification(subscription, options={"url": "/orders/7", "actions": ACTIONS})


@pytest.fixture
def token(notification: Any) -> str:
    return sign_notification(notification)


def report(api: ApiClient, *reported: Any, **options: Any) -> Any:
    return api.call("POST", "events", {"events": list(reported)}, **options)


def recorded() -> list[tuple[str, str]]:
    return sorted(get_analytics_model().objects.values_list("action_type", "action_id"))


class TestReports:
    def test_several_events_in_one_request(self, api: ApiClient, token: str) -> None:
        answer = report(
            api,
            {"token": token, "action": "delivered"},
            {"token": token, "action": "clicked"},
            {"token": token, "action": "dismissed"},
            {"token": token, "action": "action_clicked", "action_id": "track"},
            {"token": token, "action": "action_clicked", "action_id": "call"},
        )
        assert (answer.status_code, answer.json()) == (200, {"success": True, "recorded": 5})
        assert recorded() == [
            ("action_clicked", "call"),
            ("action_clicked", "track"),
            ("clicked", ""),
            ("delivered", ""),
            ("dismissed", ""),
        ]

    def test_a_repeated_report_is_not_a_second_event(self, api: ApiClient, token: str) -> None:
        event = {"token": token, "action": "delivered"}
        assert [report(api, event, event).json()["recorded"] for _ in range(2)] == [1, 0]
        assert recorded() == [("delivered", "")]

    def test_made_up_buttons_do_not_fill_the_table(self, api: ApiClient, token: str) -> None:
        for start in (0, 40):
            numbers = range(start, start + 50)
            clicks = [{"token": token, "action": "action_clicked", "action_id": str(number)} for number in numbers]
            assert report(api, *clicks).status_code == 200
        assert len(recorded()) == events.MAX_PER_NOTIFICATION

    def test_only_a_click_on_a_button_names_one(self, api: ApiClient, token: str) -> None:
        for action_id in ("a", "b"):
            report(api, {"token": token, "action": "delivered", "action_id": action_id})
        assert recorded() == [("delivered", "")]

    def test_the_signal_is_sent_once(self, api: ApiClient, token: str, notification: Any) -> None:
        told: list[Any] = []

        def receive(notification: Any, event: str, analytics: Any, **_: Any) -> None:
            told.append((notification.pk, event, analytics.pk))

        event_recorded.connect(receive)
        try:
            for _ in range(2):
                report(api, {"token": token, "action": "clicked"})
        finally:
            event_recorded.disconnect(receive)
        assert told == [(notification.pk, "clicked", get_analytics_model().objects.get().pk)]

    def test_a_session_is_ignored(self, login: Any, user: Any, make_user: Any, token: str) -> None:
        client = login(make_user(), enforce_csrf_checks=True)
        assert report(client, {"token": token, "action": "delivered"}).status_code == 200

    def test_forged_tokens_are_skipped_and_400_if_no_token_is_valid(self, api: ApiClient, token: str) -> None:
        forged = {"token": token[:-2] + "xx", "action": "delivered"}
        assert report(api, forged, {"token": token, "action": "delivered"}).json()["recorded"] == 1
        answer = report(api, forged)
        assert (answer.status_code, [*answer.json()["errors"]]) == (400, ["events"])

    def test_a_token_is_for_one_notification(self, api: ApiClient, token: str, subscription: Any) -> None:
        other = make_notification(subscription, options={"url": "/orders/8"})
        moved = token.replace(token.partition(":")[0], str(NotificationIdentity.of(other)), 1)
        assert report(api, {"token": moved, "action": "delivered"}).status_code == 400
        assert api.call("GET", f"open/{moved}").status_code == 404
        assert recorded() == []

    def test_a_token_of_another_database_names_nothing_here(self, api: ApiClient, notification: Any) -> None:
        """A second site, a restored backup or a new database gives the same keys to other notifications."""
        foreign = sign_notification(SimpleNamespace(pk=notification.pk, batch=uuid4()))
        assert report(api, {"token": foreign, "action": "delivered"}).json()["recorded"] == 0
        own = {"token": sign_notification(notification), "action": "delivered"}
        assert report(api, {"token": foreign, "action": "delivered"}, own).json()["recorded"] == 1
        assert report(api, own, {"token": foreign, "action": "clicked"}).json()["recorded"] == 0
        assert api.call("GET", f"open/{foreign}").status_code == 404
        assert recorded() == [("delivered", "")]

    def test_a_token_is_for_one_purpose(self, api: ApiClient, subscription: Any) -> None:
        assert report(api, {"token": sign_subscription(subscription), "action": "clicked"}).status_code == 400

    def test_a_token_expires(self, api: ApiClient, token: str, push_settings: Any) -> None:
        push_settings(EVENT_TOKEN_DAYS=7)
        with time_machine.travel(datetime.now(timezone.utc) + timedelta(days=6), tick=False):
            assert report(api, {"token": token, "action": "delivered"}).status_code == 200
        with time_machine.travel(datetime.now(timezone.utc) + timedelta(days=8), tick=False):
            assert report(api, {"token": token, "action": "clicked"}).status_code == 400

    def test_a_token_survives_a_rotation_of_the_secret_key(self, api: ApiClient, token: str, settings: Any) -> None:
        former, settings.SECRET_KEY = settings.SECRET_KEY, "another-secret-key-with-enough-characters-0123456789"
        assert report(api, {"token": token, "action": "delivered"}).status_code == 400
        settings.SECRET_KEY_FALLBACKS = [former]
        assert report(api, {"token": token, "action": "delivered"}).status_code == 200

    def test_a_notification_that_was_pruned_is_no_error(self, api: ApiClient, token: str, notification: Any) -> None:
        notification.delete()
        assert report(api, {"token": token, "action": "delivered"}).json() == {"success": True, "recorded": 0}

    def test_a_token_from_before_the_model_was_swapped_is_not_valid(self, api: ApiClient) -> None:
        assert (
            report(
                api, {"token": sign_notification(SimpleNamespace(pk="not-a-key", batch=uuid4())), "action": "delivered"}
            ).status_code
            == 400
        )

    @pytest.mark.parametrize(
        ("timestamp", "stored"),
        [
            (1_800_000_000_000, "2027-01-15T08:00:00+00:00"),
            ("2027-01-15T08:00:00.000Z", "2027-01-15T08:00:00+00:00"),
            ("2027-01-15T08:00:00", None),
            ("2027-13-45T08:00:00Z", None),
            ("yesterday", None),
            (-1, None),
            (1e300, None),
            (None, None),
        ],
    )
    def test_readable_timestamps_of_the_browser_are_stored(
        self, api: ApiClient, token: str, timestamp: Any, stored: str | None
    ) -> None:
        assert report(api, {"token": token, "action": "delivered", "timestamp": timestamp}).status_code == 200
        assert get_analytics_model().objects.get().action_data == ({"happened_at": stored} if stored else {})

    @pytest.mark.parametrize(
        ("event", "path"),
        [
            ({"action": "delivered"}, "events.0.token"),
            ({"token": "x", "action": "opened"}, "events.0.action"),
            ({"token": "x"}, "events.0.action"),
            ({"token": 7, "action": "delivered"}, "events.0.token"),
            ({"token": "x" * 301, "action": "delivered"}, "events.0.token"),
            ({"token": "x", "action": "clicked", "action_id": "x" * 65}, "events.0.action_id"),
            ({"token": "x", "action": "clicked", "timestamp": []}, "events.0.timestamp"),
            ({"token": "x", "action": "clicked", "timestamp": True}, "events.0.timestamp"),
            ("x", "events.0"),
            (None, "events.0"),
        ],
    )
    def test_errors_name_the_event(self, api: ApiClient, event: Any, path: str) -> None:
        answer = report(api, event)
        assert (answer.status_code, [*answer.json()["errors"]]) == (400, [path])

    @pytest.mark.parametrize("events", [[], [{"token": "x", "action": "clicked"}] * 51, {}, None, "x"])
    def test_there_are_1_to_50_events(self, api: ApiClient, events: Any) -> None:
        assert [*api.call("POST", "events", {"events": events}).json()["errors"]] == ["events"]

    def test_the_number_of_queries_does_not_grow_with_stored_events(
        self, api: ApiClient, subscription: Any, django_assert_max_num_queries: Any
    ) -> None:
        reported = [
            {"token": sign_notification(make_notification(subscription)), "action": "delivered"} for _ in range(50)
        ]
        report(api, *reported)
        with django_assert_max_num_queries(4):
            assert report(api, *reported).json()["recorded"] == 0


def test_the_same_event_stored_meanwhile_is_not_counted(notification: Any) -> None:
    """By code of the project, which does not lock the notification."""
    event = events.Event(notification.pk, notification.batch, "clicked")
    stored: list[Any] = []

    def watch(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if sql.startswith("SELECT") and get_analytics_model()._meta.db_table in sql and not stored:
            stored.append(True)
            make_event(notification, "clicked")
        return result

    with connection.execute_wrapper(watch):
        assert events.record([event]) == 0
    assert recorded() == [("clicked", "")]
    assert events.record([]) == 0

    @pytest.mark.django_db(transaction=True)
    def test_older_code_beside_a_new_column_takes_none(self, api: ApiClient, token: str) -> None:
        """The browser reports again later."""
        with added_column(get_analytics_model()), pytest.raises(IntegrityError):
            report(api, {"token": token, "action": "clicked"})
        report(api, {"token": token, "action": "clicked"})
        assert recorded() == [("clicked", "")]


class TestOpen:
    @pytest.mark.parametrize(
        ("query", "target", "event"),
        [
            ("", "/orders/7", ("clicked", "")),
            ("?action=track", "/orders/7/track", ("action_clicked", "track")),
            ("?action=call", "/orders/7", ("action_clicked", "call")),
            ("?action=unknown", "/orders/7", ("clicked", "")),
            ("?url=https://evil.example", "/orders/7", ("clicked", "")),
        ],
    )
    def test_it_records_the_click_and_goes_to_the_stored_url(
        self, api: ApiClient, token: str, query: str, target: str, event: tuple[str, str]
    ) -> None:
        answer = api.call("GET", f"open/{token}{query}")
        assert (answer.status_code, answer.headers["Location"]) == (302, target)
        assert (answer.headers["Referrer-Policy"], answer.headers["Cache-Control"]) == ("no-referrer", "no-store")
        assert recorded() == [event]

    def test_mail_scanners_that_only_look_do_not_click(self, api: ApiClient, token: str) -> None:
        assert api.call("HEAD", f"open/{token}").status_code == 302
        assert recorded() == []

    @pytest.mark.parametrize("url", ["javascript:alert(1)", "//evil.example", "/\\evil.example", "http://evil.example"])
    def test_a_url_stored_without_validation_is_not_followed(
        self, api: ApiClient, token: str, notification: Any, url: str
    ) -> None:
        get_notification_model().objects.update(options={"url": url})
        assert api.call("GET", f"open/{token}").headers["Location"] == "/"

    @pytest.mark.parametrize(
        "options",
        [
            [],
            "x",
            7,
            None,
            {"url": 7},
            {"url": ["/orders/7"]},
            {"url": None, "actions": None},
            {"actions": ["x", None, 7]},
            {"actions": "x"},
            {"actions": {"action": "x"}},
            {"actions": [{"action": ["track"], "url": "/"}]},
            {"actions": [{"action": "track", "url": {}}]},
            {"url": "https://[::1"},
            {"url": "/\ud800"},
            {"url": "/a\nSet-Cookie: x=1"},
        ],
    )
    def test_odd_stored_options_open_the_site(self, api: ApiClient, notification: Any, options: Any) -> None:
        notification.options = options
        for action in ("", "track"):
            assert events.click_target(notification, action) == ""
        token = sign_notification(notification)
        if options is not None and "\ud800" not in json.dumps(options, ensure_ascii=False):
            get_notification_model().objects.update(options=options)
            for query in ("", "?action=track", "?action="):
                answer = api.call("GET", f"open/{token}{query}")
                assert (answer.status_code, answer.headers["Location"]) == (302, "/")

    def test_a_long_url_and_one_in_any_script_are_followed(self, api: ApiClient, token: str) -> None:
        for url, location in ((f"/{'x' * 3000}", f"/{'x' * 3000}"), ("/ö/?q=日", "/%C3%B6/?q=%E6%97%A5")):
            get_notification_model().objects.update(options={"url": url})
            answer = api.call("GET", f"open/{token}")
            assert (answer.status_code, answer.headers["Location"]) == (302, location)

    def test_above_the_rate_limit_it_redirects_without_a_record(
        self, api: ApiClient, token: str, push_settings: Any
    ) -> None:
        push_settings(RATE_LIMITS={"open": "1/h"})
        with time_machine.travel(datetime.now(timezone.utc), tick=False):
            for query in ("", "?action=track"):
                assert api.call("GET", f"open/{token}{query}").status_code == 302
            assert recorded() == [("clicked", "")]
            assert api.call("GET", "open/x").status_code == 429, "only a valid token has somewhere to go"

    def test_it_redirects_even_if_the_click_cannot_be_recorded(
        self, api: ApiClient, token: str, monkeypatch: Any, caplog: Any
    ) -> None:
        def fail(*arguments: Any) -> None:
            raise OperationalError("the disk is full")

        monkeypatch.setattr(events, "record_click", fail)
        answer = api.call("GET", f"open/{token}")
        assert (answer.status_code, answer.headers["Location"]) == (302, "/orders/7")
        assert "the disk is full" in caplog.text

    def test_a_notification_without_a_url_opens_the_site(self, api: ApiClient, token: str) -> None:
        get_notification_model().objects.update(options={})
        assert api.call("GET", f"open/{token}").headers["Location"] == "/"

    def test_its_token_expires_and_outlives_a_rotation_of_the_secret_key(
        self, api: ApiClient, token: str, push_settings: Any, settings: Any
    ) -> None:
        push_settings(EVENT_TOKEN_DAYS=7)
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = "another-secret-key-with-enough-characters-0123456789"
        for days, status in ((6, 302), (8, 404)):
            with time_machine.travel(datetime.now(timezone.utc) + timedelta(days=days), tick=False):
                assert api.call("GET", f"open/{token}").status_code == status

    @pytest.mark.parametrize("damage", ["x", "", ":x:y"])
    def test_a_damaged_token_is_404(self, api: ApiClient, token: str, damage: str) -> None:
        assert api.call("GET", f"open/{token[:-4]}{damage}").status_code == 404

    def test_a_pruned_notification_is_404(self, api: ApiClient, token: str, notification: Any) -> None:
        notification.delete()
        answer = api.call("GET", f"open/{token}")
        assert answer.status_code == 404
        assert answer.json()["message"] == "Notification not found."

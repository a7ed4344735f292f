"""A user's browsers over HTTP: listed without endpoints and keys, removable by their owner alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from django_webpush_kit import services
from django_webpush_kit.api import browsers
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.tokens import sign_subscription
from tests.api.conftest import BASE, ApiClient
from tests.factories import make_subscription

pytestmark = pytest.mark.django_db

OTHER_CHROME = "Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0 Safari/537.36"


def listed(client: ApiClient, endpoint: str = "") -> list[dict[str, Any]]:
    answer = client.call("GET", f"subscriptions?{urlencode({'endpoint': endpoint})}")
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["subscriptions"]
    return found


def remove(client: ApiClient, key: object, **options: Any) -> Any:
    return client.call("DELETE", f"subscriptions?{urlencode({'id': key})}", **options)


def is_active(subscription: Any) -> bool:
    return bool(get_subscription_model().objects.get(pk=subscription.pk).is_active)


class TestList:
    def test_it_has_family_and_date_of_each_browser_newest_first(self, user: Any, login: Any) -> None:
        rows = [make_subscription(user, user_agent=stored) for stored in ("Firefox", OTHER_CHROME, "curl/8.9")]
        found = listed(login(user), rows[1].endpoint)
        assert [one["browser"] for one in found] == ["", "Chrome", "Firefox"]
        assert [one["is_current"] for one in found] == [False, True, False]
        assert [str(one["id"]) for one in found] == [str(row.pk) for row in reversed(rows)]
        moment = parse_datetime(found[0]["created_at"])
        assert moment is not None
        assert abs(moment - rows[2].created_at) < timedelta(milliseconds=1)

    def test_it_shows_no_endpoint_no_key_and_nobody_elses(self, user: Any, login: Any, make_user: Any) -> None:
        row = make_subscription(user)
        make_subscription(make_user())
        make_subscription()
        (found,) = listed(login(user))
        assert set(found) == {"id", "browser", "created_at", "is_current"}
        assert found["id"] == row.pk or found["id"] == str(row.pk)

    def test_it_leaves_out_inactive_subscriptions(self, user: Any, login: Any) -> None:
        ended = make_subscription(user)
        services.unsubscribe(ended)
        expired = make_subscription(user)
        get_subscription_model().objects.filter(pk=expired.pk).update(expiration_time=timezone.now())
        assert listed(login(user), ended.endpoint) == []

    def test_it_is_bounded(self, user: Any, login: Any, monkeypatch: Any) -> None:
        monkeypatch.setattr(browsers, "MAX_LISTED", 2)
        rows = [make_subscription(user) for _ in range(3)]
        assert [str(one["id"]) for one in listed(login(user))] == [str(row.pk) for row in rows[:0:-1]]

    def test_an_invalid_endpoint_matches_no_browser(self, user: Any, login: Any) -> None:
        make_subscription(user)
        assert [one["is_current"] for one in listed(login(user), "nonsense")] == [False]


class TestRemoval:
    def test_it_ends_the_subscription_and_may_be_repeated(self, user: Any, login: Any) -> None:
        first, second = make_subscription(user), make_subscription(user)
        client = login(user)
        for _ in range(2):
            answer = remove(client, second.pk)
            assert (answer.status_code, answer.json()["success"]) == (200, True)
        assert [is_active(first), is_active(second)] == [True, False]

    def test_it_needs_the_owners_session(self, user: Any, login: Any, make_user: Any) -> None:
        row = make_subscription(user)
        for client in (login(make_user()), login(make_user(is_staff=True, is_superuser=True))):
            assert remove(client, row.pk).status_code == 404
        token = sign_subscription(row)
        for options in ({}, {"token": token}):
            assert remove(ApiClient(), row.pk, **options).status_code == 401
            assert ApiClient().call("GET", "subscriptions", **options).status_code == 401
        assert is_active(row)

    def test_unknown_and_foreign_subscriptions_get_the_same_response(
        self, user: Any, login: Any, make_user: Any
    ) -> None:
        client, theirs = login(user), make_subscription(make_user())
        answers = [remove(client, key) for key in (theirs.pk, "0", "x", "-1", "9" * 60)]
        assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}
        assert is_active(theirs)

    @pytest.mark.parametrize("query", ["", "id=", f"id={'9' * 65}", "id=%00"])
    def test_an_invalid_id_is_400(self, user: Any, login: Any, query: str) -> None:
        answer = login(user).call("DELETE", f"subscriptions?{query}")
        assert (answer.status_code, [*answer.json()["errors"]]) == (400, ["id"])

    def test_a_session_needs_the_csrf_token(self, user: Any) -> None:
        row = make_subscription(user)
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        answer = client.delete(f"{BASE}subscriptions?{urlencode({'id': row.pk})}")
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
        assert is_active(row)

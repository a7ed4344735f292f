"""Subscribing: what is stored, whose it becomes, and what the token may do."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.protocol.endpoints import endpoint_hash
from django_webpush_kit.signals import subscription_created
from django_webpush_kit.tokens import sign_notification, user_mark
from tests.api.conftest import ApiClient, new_body, new_endpoint
from tests.conftest import new_keys
from tests.factories import make_notification
from tests.protocol.hostile_endpoints import HOSTILE_URLS

pytestmark = pytest.mark.django_db

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def the_row() -> Any:
    return get_subscription_model().objects.get()


class TestWhatIsStored:
    def test_a_new_subscription_is_created_for_the_signed_in_user(self, user: Any, login: Any) -> None:
        body = new_body(preferences={"categories": {"news": False}}, language="pt_BR", timezone="Europe/Lisbon")
        answer = login(user).subscribe(body)
        row = the_row()
        assert answer.status_code == 201
        assert answer.json() == {
            "success": True,
            "subscription_id": row.pk,
            "subscription_token": answer.json()["subscription_token"],
            "user": user_mark(user.pk),
        }
        assert (row.user, row.endpoint) == (user, body["subscription"]["endpoint"])
        assert row.subscription_info["keys"] == body["subscription"]["keys"]
        assert row.preferences == {"categories": {"news": False}}
        assert (row.language, row.timezone, row.is_active) == ("pt-br", "Europe/Lisbon", True)

    def test_the_same_browser_again_is_an_update(self, user: Any, login: Any) -> None:
        client, body = login(user), new_body(preferences={"categories": {"news": False}}, language="de")
        first = client.subscribe(body).json()
        again = client.subscribe({"subscription": body["subscription"], "preferences": {}})
        assert again.status_code == 200
        assert again.json()["subscription_id"] == first["subscription_id"]
        assert the_row().preferences == {"categories": {"news": False}}, "an empty object says nothing"
        assert the_row().language == "de", "what the browser does not say stays"

    def test_an_inactive_one_is_reactivated(self, subscription: Any, user: Any, login: Any) -> None:
        services.unsubscribe(subscription)
        body = {"subscription": subscription.subscription_info}
        assert login(user).subscribe(body).status_code == 200
        row = the_row()
        assert (row.is_active, row.deactivated_at, row.deactivation_reason) == (True, None, "")

    @pytest.mark.parametrize(
        ("user_agent", "family"),
        [
            (FIREFOX, "Firefox"),
            ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/143.0 Safari/537.36 Edg/143.0", "Edge"),
            ("Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0 Safari/537.36", "Chrome"),
            ("Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 Version/26.0 Mobile/15E148 Safari/604.1", "Safari"),
            ("Mozilla/5.0 (Linux; Android 15) SamsungBrowser/28.0 Chrome/130.0 Safari/537.36", "Samsung Internet"),
            ("curl/8.9", ""),
        ],
    )
    def test_only_the_name_of_the_browser_is_stored(self, user: Any, login: Any, user_agent: str, family: str) -> None:
        login(user).subscribe(new_body(), headers={"User-Agent": user_agent})
        assert (the_row().user_agent, the_row().ip_address) == (family, None)

    def test_a_setting_stores_more(self, user: Any, login: Any, push_settings: Any) -> None:
        push_settings(STORE_CLIENT_INFO=True)
        login(user).subscribe(new_body(), headers={"User-Agent": FIREFOX + "\x01" * 9 + "x" * 900})
        assert the_row().user_agent.startswith(FIREFOX + "xxx")
        assert len(the_row().user_agent) <= 400
        assert the_row().ip_address == "127.0.0.1"

    @pytest.mark.parametrize(
        ("seen", "stored"),
        [
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:DB8::1", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("unix:", None),
        ],
    )
    def test_addresses_are_stored_as_every_database_can(
        self, user: Any, login: Any, push_settings: Any, seen: str, stored: str | None
    ) -> None:
        push_settings(STORE_CLIENT_INFO=True)
        assert login(user).subscribe(new_body(), REMOTE_ADDR=seen).status_code == 201
        assert the_row().ip_address == stored

    def test_an_expiration_time_is_kept(self, user: Any, login: Any) -> None:
        moment = timezone.now().replace(microsecond=0) + timedelta(days=30)
        body = new_body()
        body["subscription"]["expirationTime"] = moment.timestamp() * 1000
        login(user).subscribe(body)
        assert the_row().expiration_time == moment


class TestAnnouncement:
    """`subscription_created`: for receivers that greet a browser, or write what is scheduled anew for it."""

    @pytest.fixture
    def announced(self) -> Iterator[list[tuple[Any, str]]]:
        told: list[tuple[Any, str]] = []

        def receive(subscription: Any, reason: str, **_: Any) -> None:
            told.append((subscription.user, reason))

        subscription_created.connect(receive)
        yield told
        subscription_created.disconnect(receive)

    def test_a_new_browser_once(self, user: Any, login: Any, announced: list[Any]) -> None:
        body = new_body()
        for _ in range(2):
            login(user).subscribe(body)
        assert announced == [(user, "new")]

    def test_a_reactivated_subscription(self, user: Any, login: Any, announced: list[Any]) -> None:
        body = new_body()
        login(user).subscribe(body)
        services.unsubscribe(the_row())
        login(user).subscribe(body)
        assert announced == [(user, "new"), (user, "reactivated")]

    def test_an_expired_subscription(self, user: Any, login: Any, announced: list[Any]) -> None:
        body = new_body()
        login(user).subscribe(body)
        for days in (1, -1):
            get_subscription_model().objects.update(expiration_time=timezone.now() + timedelta(days=days))
            login(user).subscribe(body)
        assert announced == [(user, "new"), (user, "reactivated")]

    def test_a_browser_that_changes_its_user(self, user: Any, make_user: Any, login: Any, announced: list[Any]) -> None:
        body, other = new_body(), make_user()
        for owner in (user, other):
            login(owner).subscribe(body)
        assert announced == [(user, "new"), (other, "new_owner")]

    def test_an_anonymous_subscription_that_gets_a_user(
        self, user: Any, login: Any, api: ApiClient, push_settings: Any, announced: list[Any]
    ) -> None:
        push_settings(ALLOW_ANONYMOUS=True)
        body = new_body()
        for client in (api, login(user)):
            client.subscribe(body)
        assert announced == [(None, "new"), (user, "new_owner")]

    def test_a_new_endpoint_of_the_same_browser_is_not_announced(
        self, user: Any, login: Any, api: ApiClient, announced: list[Any]
    ) -> None:
        body, renewed = new_body(), new_body()
        login(user).subscribe(body)
        token = login(user).subscribe({**renewed, "old_endpoint": body["subscription"]["endpoint"]}).json()
        api.subscribe(new_body(), token=token["subscription_token"])
        assert get_subscription_model().objects.count() == 1
        assert announced == [(user, "new")]


class TestWhatIsRefused:
    @pytest.mark.thorough
    def test_hostile_endpoints(self, user: Any, login: Any, push_settings: Any) -> None:
        push_settings(RATE_LIMITS={})
        client, body = login(user), new_body()
        statuses = {}
        for endpoint in HOSTILE_URLS:
            body["subscription"]["endpoint"] = endpoint
            statuses[endpoint] = client.subscribe(body).status_code
        assert statuses == dict.fromkeys(HOSTILE_URLS, 400)
        assert not get_subscription_model().objects.exists()

    @pytest.mark.parametrize(
        ("field", "value", "path"),
        [
            ("p256dh", base64.urlsafe_b64encode(b"\x04" + b"\x01" * 64).decode(), "subscription.keys.p256dh"),
            ("p256dh", base64.urlsafe_b64encode(b"\x04" + b"\x01" * 63).decode(), "subscription.keys.p256dh"),
            ("p256dh", "not base64!", "subscription.keys.p256dh"),
            ("p256dh", 7, "subscription.keys.p256dh"),
            ("p256dh", "", "subscription.keys.p256dh"),
            ("p256dh", None, "subscription.keys.p256dh"),
            ("auth", base64.urlsafe_b64encode(b"x" * 15).decode(), "subscription.keys.auth"),
            ("auth", base64.urlsafe_b64encode(b"x" * 17).decode(), "subscription.keys.auth"),
            ("auth", ["x"], "subscription.keys.auth"),
        ],
    )
    def test_unusable_keys(self, user: Any, login: Any, field: str, value: Any, path: str) -> None:
        body = new_body()
        body["subscription"]["keys"][field] = value
        answer = login(user).subscribe(body)
        assert answer.status_code == 400
        assert list(answer.json()["errors"]) == [path]

    @pytest.mark.parametrize("value", [1, 0, -5, True, "soon", [], {}, 1e300, 200_000_000_000_000])
    def test_unusable_expiration_times(self, user: Any, login: Any, value: Any) -> None:
        body = new_body()
        body["subscription"]["expirationTime"] = value
        answer = login(user).subscribe(body)
        assert answer.status_code == 400
        assert list(answer.json()["errors"]) == ["subscription.expirationTime"]

    @pytest.mark.parametrize(
        ("member", "value", "path"),
        [
            ("subscription", None, "subscription"),
            ("subscription", "x", "subscription"),
            ("subscription", {}, "subscription.endpoint"),
            ("preferences", [], "preferences"),
            ("preferences", {"categories": {"news": "yes"}}, "preferences.categories.news"),
            ("preferences", {"unknown": 1}, "preferences"),
            ("language", 5, "language"),
            ("timezone", {}, "timezone"),
        ],
    )
    def test_members_of_the_wrong_kind(self, user: Any, login: Any, member: str, value: Any, path: str) -> None:
        answer = login(user).subscribe({**new_body(), member: value})
        assert answer.status_code == 400
        assert answer.json()["code"] == "invalid"
        assert path in answer.json()["errors"]

    def test_an_unknown_language_or_time_zone_is_left_out(self, user: Any, login: Any) -> None:
        for language in ("xx-nonsense", "../de", "x" * 36, "ä"):
            answer = login(user).subscribe(new_body(language=language, timezone="Mars/Olympus"))
            assert answer.status_code == 201
        assert set(get_subscription_model().objects.values_list("language", "timezone")) == {("", "")}

    def test_standard_and_padded_base64_are_fine(self, user: Any, login: Any) -> None:
        body = new_body()
        keys = body["subscription"]["keys"]
        for name, text in keys.items():
            keys[name] = base64.b64encode(base64.urlsafe_b64decode(text + "==")).decode()
        assert login(user).subscribe(body).status_code == 201


class TestOwnership:
    def test_a_strangers_keys_for_a_known_endpoint_are_a_conflict(
        self, subscription: Any, make_user: Any, login: Any
    ) -> None:
        body = {"subscription": {"endpoint": subscription.endpoint, "keys": new_keys()}}
        for client in (login(make_user()), login(subscription.user)):
            answer = client.subscribe(body)
            assert (answer.status_code, answer.json()["code"]) == (409, "key_mismatch")
        assert the_row().auth_key == subscription.auth_key

    def test_the_next_user_takes_the_browser_over(
        self, subscription: Any, user: Any, make_user: Any, login: Any, api: ApiClient
    ) -> None:
        waiting = make_notification(subscription, "pending")
        subscription.preferences = {"categories": {"news": False}}
        subscription.save()
        token = login(user).subscribe({"subscription": subscription.subscription_info}).json()["subscription_token"]
        other = make_user()
        assert login(other).subscribe({"subscription": subscription.subscription_info}).status_code == 200
        waiting.refresh_from_db()
        assert the_row().user == other
        assert waiting.status == "cancelled", "what waited for the owner before must not be shown to the next"
        assert the_row().preferences == {}
        assert api.on("GET preferences", subscription.endpoint, token=token).status_code == 401

    def test_an_anonymous_browser_keeps_its_preferences_when_its_user_signs_in(
        self, make_subscription: Any, user: Any, login: Any
    ) -> None:
        anonymous = make_subscription(None, preferences={"categories": {"news": False}})
        login(user).subscribe({"subscription": anonymous.subscription_info})
        assert (the_row().user, the_row().preferences) == (user, {"categories": {"news": False}})

    def test_subscriptions_per_user_are_limited(self, user: Any, login: Any, push_settings: Any) -> None:
        push_settings(MAX_SUBSCRIPTIONS_PER_USER=2)
        client = login(user)
        first = new_body()
        assert [client.subscribe(body).status_code for body in (first, new_body())] == [201, 201]
        refused = client.subscribe(new_body())
        assert (refused.status_code, refused.json()["code"]) == (403, "too_many_subscriptions")
        assert client.subscribe(first).status_code == 200, "what counts already may come again"
        client.on("POST unsubscribe", first["subscription"]["endpoint"])
        assert client.subscribe(new_body()).status_code == 201
        assert client.subscribe(first).status_code == 403, "coming back counts too"

    def test_a_new_endpoint_replaces_the_old_one_of_the_same_user(
        self, subscription: Any, user: Any, login: Any
    ) -> None:
        waiting = make_notification(subscription, "pending")
        body = new_body(old_endpoint=subscription.endpoint)
        answer = login(user).subscribe(body)
        assert answer.status_code == 200
        assert answer.json()["subscription_id"] == subscription.pk, "the same browser is the same row"
        assert the_row().endpoint == body["subscription"]["endpoint"]
        waiting.refresh_from_db()
        assert waiting.status == "pending"

    def test_if_both_endpoints_are_known_the_new_one_gets_the_pending_rows(
        self, subscription: Any, user: Any, make_subscription: Any, login: Any
    ) -> None:
        newer = make_subscription(user)
        waiting = make_notification(subscription, "pending")
        login(user).subscribe({"subscription": newer.subscription_info, "old_endpoint": subscription.endpoint})
        waiting.refresh_from_db()
        subscription.refresh_from_db()
        assert waiting.subscription_id == newer.pk
        assert not subscription.is_active

    def test_someone_elses_old_endpoint_is_left_alone(self, subscription: Any, make_user: Any, login: Any) -> None:
        answer = login(make_user()).subscribe(new_body(old_endpoint=subscription.endpoint))
        assert answer.status_code == 201
        subscription.refresh_from_db()
        assert subscription.is_active


class TestAnonymous:
    def test_nobody_subscribes_without_signing_in(self, api: ApiClient) -> None:
        answer = api.subscribe(new_body())
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
        assert answer.headers["WWW-Authenticate"]

    def test_a_setting_allows_it(self, api: ApiClient, push_settings: Any) -> None:
        push_settings(ALLOW_ANONYMOUS=True)
        body = new_body()
        token = api.subscribe(body).json()["subscription_token"]
        assert the_row().user is None
        endpoint = body["subscription"]["endpoint"]
        assert api.on("GET preferences", endpoint).status_code == 401
        assert api.on("GET preferences", endpoint, token=token).status_code == 200

    def test_it_takes_no_active_subscription_from_its_owner(
        self, subscription: Any, user: Any, api: ApiClient, push_settings: Any
    ) -> None:
        push_settings(ALLOW_ANONYMOUS=True)
        assert api.subscribe({"subscription": subscription.subscription_info}).status_code == 200
        assert the_row().user == user

    def test_it_removes_the_owner_of_an_inactive_subscription(
        self, subscription: Any, api: ApiClient, push_settings: Any
    ) -> None:
        push_settings(ALLOW_ANONYMOUS=True)
        services.unsubscribe(subscription)
        api.subscribe({"subscription": subscription.subscription_info})
        assert (the_row().user, the_row().is_active) == (None, True)

    def test_a_repair_with_a_void_token_does_not_become_an_anonymous_subscription(
        self, api: ApiClient, push_settings: Any
    ) -> None:
        push_settings(ALLOW_ANONYMOUS=True)
        answer = api.subscribe(new_body(old_endpoint=new_endpoint()), token="void")
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


class TestSubscriptionToken:
    @pytest.fixture
    def body(self) -> dict[str, Any]:
        return new_body()

    @pytest.fixture
    def token(self, user: Any, login: Any, body: dict[str, Any]) -> str:
        return login(user).subscribe(body).json()["subscription_token"]

    def test_it_repairs_without_a_session_and_keeps_the_owner(self, token: str, user: Any, api: ApiClient) -> None:
        renewed = new_body()
        answer = api.subscribe(renewed, token=token)
        assert answer.status_code == 200
        assert (the_row().user, the_row().endpoint) == (user, renewed["subscription"]["endpoint"])

    def test_it_may_stand_in_the_body(self, token: str, api: ApiClient) -> None:
        assert api.subscribe(new_body(subscription_token=token)).status_code == 200

    def test_each_replacement_voids_the_one_before(self, token: str, body: dict[str, Any], api: ApiClient) -> None:
        answer = api.subscribe(body, token=token)
        assert api.subscribe(body, token=token).status_code == 401
        assert api.subscribe(body, token=answer.json()["subscription_token"]).status_code == 200

    def test_it_is_bound_to_its_subscription(
        self, token: str, user: Any, make_subscription: Any, api: ApiClient
    ) -> None:
        others = make_subscription(user)
        assert api.on("GET preferences", others.endpoint, token=token).status_code == 404

    def test_it_is_bound_to_its_endpoint_and_its_owner(
        self, token: str, body: dict[str, Any], make_user: Any, api: ApiClient
    ) -> None:
        """Also where host code changes them behind the token's back."""
        rows, endpoint = get_subscription_model().objects, body["subscription"]["endpoint"]
        for change in ({"endpoint_hash": endpoint_hash(new_endpoint())}, {"user": make_user()}):
            before = {name: getattr(the_row(), name) for name in change}
            assert api.on("GET preferences", endpoint, token=token).status_code == 200
            rows.update(**change)
            assert api.on("GET preferences", endpoint, token=token).status_code == 401
            assert api.subscribe(new_body(), token=token).status_code == 401
            rows.update(**before)
        assert rows.count() == 1

    def test_a_token_of_another_kind_is_void(self, token: str, api: ApiClient) -> None:
        other = sign_notification(make_notification(the_row()))
        assert api.subscribe(new_body(), token=other).status_code == 401

    def test_deactivation_voids_it(self, token: str, body: dict[str, Any], api: ApiClient) -> None:
        services.unsubscribe(the_row())
        assert api.subscribe(body, token=token).status_code == 401

    def test_it_never_takes_a_subscription_of_another_user(
        self, token: str, make_user: Any, make_subscription: Any, api: ApiClient
    ) -> None:
        others = make_subscription(make_user())
        answer = api.subscribe({"subscription": others.subscription_info}, token=token)
        assert answer.status_code == 409
        others.refresh_from_db()
        assert others.token_version == 0

    def test_it_merges_two_rows_of_the_same_owner(
        self, token: str, user: Any, make_subscription: Any, api: ApiClient
    ) -> None:
        newer = make_subscription(user)
        answer = api.subscribe({"subscription": newer.subscription_info}, token=token)
        assert answer.json()["subscription_id"] == newer.pk
        assert get_subscription_model().objects.active().get().pk == newer.pk

    def test_a_session_goes_before_it(self, token: str, body: dict[str, Any], make_user: Any, login: Any) -> None:
        other = make_user()
        login(other).subscribe(body, token=token)
        assert the_row().user == other

    def test_it_survives_a_rotation_of_the_secret_key(self, token: str, api: ApiClient, settings: Any) -> None:
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = "another-secret-key-with-enough-characters-0123456789"
        assert api.subscribe(new_body(), token=token).status_code == 200

    @pytest.mark.parametrize("damage", ["", "x", "\ufffd", "a:b", ":", "x" * 5000])
    def test_a_damaged_one_is_void(self, token: str, api: ApiClient, damage: str) -> None:
        bad = token[:-3] + damage
        assert api.subscribe(new_body(subscription_token=bad)).status_code == 401

    def test_the_row_of_a_void_token_may_be_gone(self, token: str, api: ApiClient) -> None:
        the_row().delete()
        assert api.subscribe(new_body(), token=token).status_code == 401

"""Who may do what to a subscription, for every actor and every action, and what each learns about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_webpush_kit import services
from django_webpush_kit.models import get_notification_model, get_subscription_model
from django_webpush_kit.tokens import sign_subscription, user_mark
from tests.api.conftest import ACTIONS, ApiClient, new_body, new_endpoint
from tests.factories import make_notification, make_subscription, make_user
from tests.push_settings import override_push_settings

pytestmark = pytest.mark.django_db

REFUSALS = {"other user": 404, "staff": 404, "anonymous": 401, "void token": 401, "other's token": 404}

ATTEMPTS = ("take over", "replace")
"""Subscribing with the endpoint and keys of one's own, or with a new endpoint that is said to replace it."""


@dataclass
class World:
    """A subscription, and everybody who may want something of it."""

    subscription: Any
    actors: dict[str, tuple[ApiClient, str]]

    def ask(self, actor: str, action: str, endpoint: str = "") -> Any:
        client, token = self.actors[actor]
        return client.on(action, endpoint or self.subscription.endpoint, token=token)

    def attempt(self, actor: str, attempt: str, endpoint: str = "") -> Any:
        """One of ATTEMPTS at the subscription with this endpoint."""
        client, token = self.actors[actor]
        body, endpoint = new_body(), endpoint or self.subscription.endpoint
        if attempt == "take over":
            body["subscription"]["endpoint"] = endpoint
        else:
            body["old_endpoint"] = endpoint
        answer = client.subscribe(body, token=token)
        if actor == "other's token" and answer.status_code == 200:
            self.actors[actor] = (client, answer.json()["subscription_token"])
        return answer


@pytest.fixture
def world(login: Any, push_settings: Any) -> World:
    push_settings(RATE_LIMITS={})
    owner, other = make_user("owner"), make_user("other")
    subscription, others = make_subscription(owner), make_subscription(other)
    former = sign_subscription(subscription)
    subscription = services.subscribe(
        user=owner, endpoint=subscription.endpoint, p256dh=subscription.p256dh_key, auth=subscription.auth_key
    )
    return World(
        subscription,
        {
            "owner": (login(owner), ""),
            "token holder": (ApiClient(), sign_subscription(subscription)),
            "other user": (login(other), ""),
            "staff": (login(make_user("staff", is_staff=True, is_superuser=True)), ""),
            "anonymous": (ApiClient(), ""),
            "void token": (ApiClient(), former),
            "other's token": (ApiClient(), sign_subscription(others)),
        },
    )


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("actor", ["owner", "token holder"])
def test_authorized_callers_may(world: World, actor: str, action: str) -> None:
    answer = world.ask(actor, action)
    assert (answer.status_code, answer.json()["success"]) == (200, True)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(("actor", "status"), REFUSALS.items())
def test_unauthorized_callers_may_not_and_learn_nothing(world: World, actor: str, status: int, action: str) -> None:
    before = get_subscription_model().objects.values().get(pk=world.subscription.pk)
    known, unknown = world.ask(actor, action), world.ask(actor, action, new_endpoint())
    assert known.status_code == status
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)
    assert dict(known.headers) == dict(unknown.headers)
    assert get_subscription_model().objects.values().get(pk=world.subscription.pk) == before


@pytest.mark.thorough
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([*REFUSALS]), st.sampled_from([*ACTIONS, *ATTEMPTS]), st.booleans()),
        min_size=1,
        max_size=6,
    )
)
def test_no_sequence_of_foreign_requests_takes_the_subscription_away(world: World, steps: Any) -> None:
    waiting, kept = make_notification(world.subscription, "pending"), stored(world)
    for actor, action, is_anonymous_allowed in steps:
        with override_push_settings(ALLOW_ANONYMOUS=is_anonymous_allowed):
            if action in ATTEMPTS:
                world.attempt(actor, action)
            else:
                assert world.ask(actor, action).status_code in (401, 404)
    assert stored(world) == kept
    waiting.refresh_from_db()
    assert (waiting.status, waiting.subscription_id) == ("pending", world.subscription.pk)
    assert world.ask("owner", "GET preferences").status_code == 200
    assert world.ask("token holder", "GET preferences").status_code == 200


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("actor", ["owner", *REFUSALS])
def test_subscribing_reveals_only_that_the_keys_differ(world: World, attempt: str, actor: str) -> None:
    unknown, known = world.attempt(actor, attempt, new_endpoint()), world.attempt(actor, attempt)
    if actor == "owner" and attempt == "replace":
        assert (known.status_code, unknown.status_code) == (200, 201), "it is the owner's own"
    elif attempt == "take over" and unknown.status_code in (200, 201):
        assert (known.status_code, known.json()["code"]) == (409, "key_mismatch")
    else:
        assert known.status_code == unknown.status_code
        assert set(known.json()) == set(unknown.json())
        assert known.json().get("message") == unknown.json().get("message")


def stored(world: World) -> dict[str, Any]:
    """The row, but for the moment it was last locked."""
    row = get_subscription_model().objects.values().get(pk=world.subscription.pk)
    return {name: value for name, value in row.items() if name != "updated_at"}


def test_an_endpoint_is_found_in_the_spelling_of_the_browser(world: World) -> None:
    spelled = world.subscription.endpoint.replace("https://updates.push", "HTTPS://Updates.Push")
    assert world.ask("owner", "GET preferences", spelled).status_code == 200


def test_an_endpoint_that_is_no_longer_allowed_can_still_be_removed(world: World, push_settings: Any) -> None:
    push_settings(PUSH_SERVICES=["push.example.com"])
    assert world.ask("owner", "POST unsubscribe").status_code == 200


def test_unsubscribing_twice_is_not_an_error(world: World) -> None:
    assert [world.ask("owner", "POST unsubscribe").status_code for _ in range(2)] == [200, 200]
    world.subscription.refresh_from_db()
    assert not world.subscription.is_active


@pytest.mark.parametrize("action", ACTIONS[1:])
def test_an_inactive_subscription_looks_unknown(world: World, action: str) -> None:
    services.unsubscribe(world.subscription)
    assert world.ask("owner", action).status_code == 404


@pytest.mark.parametrize("action", ["GET preferences", "PUT preferences", "POST test"])
def test_another_user_of_the_browser_gets_owner_changed(world: World, action: str) -> None:
    _client, token = world.actors["token holder"]
    client, _token = world.actors["other user"]
    answer = client.on(action, world.subscription.endpoint, token=token)
    assert (answer.status_code, answer.json()["code"]) == (404, "owner_changed")
    assert not get_notification_model().objects.exists()


def test_another_user_at_the_same_browser_may_end_its_subscription(world: World) -> None:
    _client, token = world.actors["token holder"]
    client, _token = world.actors["other user"]
    assert client.on("POST unsubscribe", world.subscription.endpoint, token=token).status_code == 200
    world.subscription.refresh_from_db()
    assert not world.subscription.is_active


def test_a_token_from_before_a_change_of_the_primary_key_is_void(world: World, api: ApiClient) -> None:
    world.subscription.pk = "7b1d1f5e-7b0e-4c4c-9d0b-6c1a3f7a9c11"
    token = sign_subscription(world.subscription)
    for action in ACTIONS:
        assert api.on(action, world.subscription.endpoint, token=token).status_code == 401
    assert api.subscribe(new_body(), token=token).status_code == 401


def test_preferences_are_replaced_and_shown(world: World) -> None:
    client, _token = world.actors["owner"]
    wanted = {"categories": {"news": False}, "quiet_hours": {"enabled": True, "start": "22:00", "end": "08:00"}}
    assert client.on("PUT preferences", world.subscription.endpoint, wanted).json()["preferences"] == wanted
    assert world.ask("token holder", "GET preferences").json() == {
        "success": True,
        "preferences": wanted,
        "user": user_mark(world.subscription.user_id),
    }
    refused = client.call("PUT", "preferences", {"endpoint": world.subscription.endpoint, "preferences": {"x": 1}})
    assert (refused.status_code, [*refused.json()["errors"]]) == (400, ["preferences"])
    missing = client.call("PUT", "preferences", {"endpoint": world.subscription.endpoint})
    assert [*missing.json()["errors"]] == ["preferences"]


def test_a_test_notification_bypasses_quiet_hours(world: World) -> None:
    quiet = {"enabled": True, "start": "00:00", "end": "23:59"}
    services.update_preferences(world.subscription, {"quiet_hours": quiet})
    answer = world.ask("owner", "POST test")
    row = get_notification_model().objects.get(pk=answer.json()["notification_id"])
    assert (row.status, row.options["critical"], row.subscription_id) == ("pending", True, world.subscription.pk)

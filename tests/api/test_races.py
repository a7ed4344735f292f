"""Many requests at once: one row, no 500, and no limit passed. Runs on whichever database TEST_DATABASE names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from django.db import connections

from django_webpush_kit import services
from django_webpush_kit.api.events import MAX_PER_NOTIFICATION
from django_webpush_kit.models import get_analytics_model, get_notification_model, get_subscription_model
from django_webpush_kit.protocol.endpoints import endpoint_hash
from django_webpush_kit.tokens import read_subscription_token, sign_notification
from tests.api.conftest import ApiClient, new_body
from tests.factories import make_notification

THREADS = 32

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(tasks: list[Callable[[], Any]]) -> list[Any]:
    """Run the tasks in threads that start together; each closes its database connections."""
    barrier = Barrier(len(tasks))

    def run(task: Callable[[], Any]) -> Any:
        try:
            barrier.wait(timeout=30)
            return task()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks))


@pytest.fixture(autouse=True)
def _no_rate_limits(push_settings: Any) -> None:
    push_settings(RATE_LIMITS={})


@pytest.mark.thorough
def test_subscribes_of_one_endpoint_make_one_row(user: Any, login: Any) -> None:
    clients = [login(user) for _ in range(THREADS)]
    body = new_body()
    answers = at_once([lambda client=client: client.subscribe(body) for client in clients])
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: THREADS - 1}
    row = get_subscription_model().objects.get()
    assert row.token_version == THREADS - 1
    claims = [read_subscription_token(answer.json()["subscription_token"]) for answer in answers]
    assert sum(claim.matches(row) for claim in claims) == 1, "each token voids the one before"


@pytest.mark.thorough
def test_subscribes_of_one_endpoint_by_many_users_end_with_one_owner(make_user: Any, login: Any, db: None) -> None:
    clients = [login(make_user()) for _ in range(THREADS)]
    body = new_body()
    answers = at_once([lambda client=client: client.subscribe(body) for client in clients])
    assert {answer.status_code for answer in answers} == {200, 201}
    assert get_subscription_model().objects.count() == 1


@pytest.mark.thorough
def test_a_user_cannot_pass_the_limit_by_subscribing_in_parallel(user: Any, login: Any, push_settings: Any) -> None:
    push_settings(RATE_LIMITS={}, MAX_SUBSCRIPTIONS_PER_USER=5)
    clients = [login(user) for _ in range(THREADS)]
    answers = at_once([lambda client=client: client.subscribe(new_body()) for client in clients])
    assert Counter(answer.status_code for answer in answers) == {201: 5, 403: THREADS - 5}
    assert get_subscription_model().objects.count() == 5


def test_of_two_repairs_with_one_token_one_succeeds(user: Any, login: Any) -> None:
    token = login(user).subscribe(new_body()).json()["subscription_token"]
    answers = at_once([lambda: ApiClient().subscribe(new_body(), token=token) for _ in range(8)])
    assert Counter(answer.status_code for answer in answers) == {200: 1, 401: 7}
    assert get_subscription_model().objects.count() == 1


def test_repeated_reports_at_once_are_one_event(subscription: Any) -> None:
    token = sign_notification(make_notification(subscription))
    events = [{"token": token, "action": action} for action in ("delivered", "clicked")]
    answers = at_once([lambda: ApiClient().call("POST", "events", {"events": events}) for _ in range(THREADS)])
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["recorded"] for answer in answers) == 2
    assert get_analytics_model().objects.count() == 2


def test_made_up_buttons_at_once_do_not_fill_the_table(subscription: Any) -> None:
    notification = make_notification(subscription)
    token = sign_notification(notification)

    def report(number: int) -> Any:
        clicks = [{"token": token, "action": "action_clicked", "action_id": f"{number}.{one}"} for one in range(12)]
        return ApiClient().call("POST", "events", {"events": clicks})

    answers = at_once([partial(report, number) for number in range(16)])
    assert {answer.status_code for answer in answers} == {200}
    assert get_analytics_model().objects.count() == MAX_PER_NOTIFICATION
    assert sum(answer.json()["recorded"] for answer in answers) == MAX_PER_NOTIFICATION


class TestPreferencesBesideOtherChanges:
    """Each change writes its own columns: the last writer of each wins, and nobody gets a 500."""

    ROUNDS = 16

    def save(self, client: ApiClient, endpoint: str) -> Any:
        return client.on("PUT preferences", endpoint, {"categories": {"news": False}})

    @pytest.mark.thorough
    def test_the_subscription_is_deactivated(self, user: Any, login: Any) -> None:
        clients, statuses = [login(user) for _ in range(4)], Counter[int]()
        for _ in range(self.ROUNDS):
            body = new_body()
            clients[0].subscribe(body)
            row = get_subscription_model().objects.active().get()
            endpoint = body["subscription"]["endpoint"]
            saves = [partial(self.save, client, endpoint) for client in clients]
            answers = at_once([*saves, lambda row=row: services.unsubscribe(row)])
            statuses.update(answer.status_code for answer in answers[:-1])
            row.refresh_from_db()
            assert (row.is_active, row.deactivated_at is None) == (False, False)
        assert statuses.total() == statuses[200] + statuses[404]

    @pytest.mark.thorough
    def test_the_endpoint_is_replaced(self, user: Any, login: Any) -> None:
        clients, statuses = [login(user) for _ in range(4)], Counter[int]()
        body = new_body()
        clients[0].subscribe(body)
        for _ in range(self.ROUNDS):
            old, body = body["subscription"]["endpoint"], new_body()
            saves = [partial(self.save, client, old) for client in clients[1:]]
            renew = partial(clients[0].subscribe, {**body, "old_endpoint": old})
            *answers, renewed = at_once([*saves, renew])
            assert renewed.status_code == 200
            statuses.update(answer.status_code for answer in answers)
            row = get_subscription_model().objects.get()
            assert row.endpoint == body["subscription"]["endpoint"]
            assert row.endpoint_hash == endpoint_hash(row.endpoint)
        assert statuses.total() == statuses[200] + statuses[404]

    @pytest.mark.thorough
    def test_another_user_takes_the_browser_over(self, make_user: Any, login: Any) -> None:
        for _ in range(self.ROUNDS // 2):
            body = new_body()
            first, second = login(make_user()), login(make_user())
            first.subscribe(body)
            endpoint = body["subscription"]["endpoint"]
            saved, taken = at_once([partial(self.save, first, endpoint), partial(second.subscribe, body)])
            assert (saved.status_code in (200, 404), taken.status_code) == (True, 200)
            row = get_subscription_model().objects.get(endpoint_hash=endpoint_hash(endpoint))
            assert row.preferences == {}, "the former owner's preferences are not the next one's"


@pytest.mark.thorough
def test_renewals_and_merges_at_once_leave_one_active_subscription(user: Any, login: Any) -> None:
    """The page and the service worker both report a new endpoint, one of them knowing the old one."""
    for _ in range(8):
        old, new = new_body(), new_body()
        clients = [login(user) for _ in range(4)]
        clients[0].subscribe(old)
        row = get_subscription_model().objects.active().get()
        make_notification(row, "pending")
        known = {**new, "old_endpoint": old["subscription"]["endpoint"]}
        answers = at_once(
            [partial(client.subscribe, body) for client, body in zip(clients, [new, known] * 2, strict=True)]
        )
        assert {answer.status_code for answer in answers} <= {200, 201}
        kept = get_subscription_model().objects.active().get()
        assert kept.endpoint == new["subscription"]["endpoint"]
        assert get_notification_model().objects.pending().get().subscription == kept
        get_notification_model().objects.all().delete()
        services.unsubscribe(kept)

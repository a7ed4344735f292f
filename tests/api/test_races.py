"""Many requests at once: one row, no 500, and no limit passed. Runs on whichever database TEST_DATABASE names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connections

from django_webpush_kit.models import get_analytics_model, get_subscription_model
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
def _no_rate_limits(kit: Any) -> None:
    kit(RATE_LIMITS={})


def test_subscribes_of_one_endpoint_make_one_row(user: Any, login: Any) -> None:
    clients = [login(user) for _ in range(THREADS)]
    body = new_body()
    answers = at_once([lambda client=client: client.subscribe(body) for client in clients])
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: THREADS - 1}
    row = get_subscription_model().objects.get()
    assert row.token_version == THREADS - 1
    claims = [read_subscription_token(answer.json()["subscription_token"]) for answer in answers]
    assert sum(claim.matches(row) for claim in claims) == 1, "each token voids the one before"


def test_subscribes_of_one_endpoint_by_many_users_end_with_one_owner(make_user: Any, login: Any, db: None) -> None:
    clients = [login(make_user()) for _ in range(THREADS)]
    body = new_body()
    answers = at_once([lambda client=client: client.subscribe(body) for client in clients])
    assert {answer.status_code for answer in answers} == {200, 201}
    assert get_subscription_model().objects.count() == 1


def test_a_user_cannot_pass_the_limit_by_subscribing_in_parallel(user: Any, login: Any, kit: Any) -> None:
    kit(RATE_LIMITS={}, MAX_SUBSCRIPTIONS_PER_USER=5)
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

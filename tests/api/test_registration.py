"""Storing a subscription, where requests cannot bring about what is to be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.signals import pre_save

from django_webpush_kit import services
from django_webpush_kit.models import get_notification_model, get_subscription_model
from django_webpush_kit.subscriptions.registration import INSERT_ATTEMPTS
from tests.api.conftest import new_body, new_endpoint
from tests.conftest import new_keys

pytestmark = pytest.mark.django_db


@contextmanager
def overtaken(times: int) -> Iterator[list[int]]:
    """Let another request insert the same endpoint between the look and the insert, so many times."""
    model = get_subscription_model()
    seen: list[int] = []

    def insert(instance: Any, **_: Any) -> None:
        seen.append(1)
        if len(seen) <= times:
            fields = {"endpoint": instance.endpoint, "endpoint_hash": instance.endpoint_hash}
            model.objects.bulk_create([model(**fields, p256dh_key=instance.p256dh_key, auth_key=instance.auth_key)])

    pre_save.connect(insert, sender=model)
    try:
        yield seen
    finally:
        pre_save.disconnect(insert, sender=model)


def test_an_insert_that_conflicts_is_retried(user: Any) -> None:
    with overtaken(1) as seen, transaction.atomic():
        subscription = services.subscribe(endpoint=new_endpoint(), **new_keys(), user=user)
    assert len(seen) == 2
    assert (subscription.user, get_subscription_model().objects.count()) == (user, 1)


def test_an_insert_that_always_conflicts_is_raised(user: Any) -> None:
    with overtaken(INSERT_ATTEMPTS) as seen, pytest.raises(IntegrityError):
        services.subscribe(endpoint=new_endpoint(), **new_keys(), user=user)
    assert len(seen) == INSERT_ATTEMPTS


def test_a_site_without_a_key_may_store_subscriptions(user: Any, push_settings: Callable[..., None]) -> None:
    push_settings(VAPID_PRIVATE_KEY="")
    assert services.subscribe(endpoint=new_endpoint(), **new_keys(), user=user).vapid_key_id == ""


def test_project_code_may_make_a_subscription_anonymous(subscription: Any) -> None:
    keys = {"p256dh": subscription.p256dh_key, "auth": subscription.auth_key}
    assert services.subscribe(endpoint=subscription.endpoint, **keys).user is None


def test_a_subscription_that_ends_while_its_test_is_written_is_404(login: Any, user: Any) -> None:
    body = new_body()
    client = login(user)
    client.subscribe(body)

    ended: list[bool] = []

    def watch(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        """Let it expire right after the view has asked whether it is active."""
        result = execute(sql, params, many, context)
        if "is_active" in sql and "LIMIT 1" in sql and not ended:
            ended.append(True)
            get_subscription_model().objects.update(expiration_time="2020-01-01T00:00:00Z")
        return result

    with connection.execute_wrapper(watch):
        answer = client.on("POST test", body["subscription"]["endpoint"])
    assert ended
    assert answer.status_code == 404
    assert not get_notification_model().objects.exists()


def test_preferences_of_a_subscription_that_is_deleted_meanwhile_are_404(login: Any, user: Any) -> None:
    body = new_body()
    client = login(user)
    client.subscribe(body)
    deleted: list[bool] = []

    def watch(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        if sql.startswith("UPDATE") and not deleted:
            deleted.append(True)
            get_subscription_model().objects.all().delete()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        answer = client.on("PUT preferences", body["subscription"]["endpoint"])
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

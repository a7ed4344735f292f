"""Several tenants with one SECRET_KEY and one cache: what the setting SCOPE keeps apart."""

from contextvars import ContextVar
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.caching import remember
from django_webpush_kit.conf import current_scope
from django_webpush_kit.task_backends.base import clear_pending_wake_up
from django_webpush_kit.tokens import (
    read_notification_token,
    read_subscription_token,
    sign_notification,
    sign_subscription,
    user_mark,
)
from tests import backends
from tests.backends import CountingQueue
from tests.factories import make_notification

tenant = ContextVar("tenant", default="a")


def current_tenant():
    return tenant.get()


@pytest.fixture(autouse=True)
def _scope(settings, push_settings, tmp_path):
    push_settings(SCOPE="tests.test_scope.current_tenant")
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": tmp_path}
    }
    backends.woken.clear()
    before = tenant.set("a")
    yield
    tenant.reset(before)


@pytest.mark.django_db
def test_the_tokens_of_one_tenant_are_void_for_another(subscription):
    day = timedelta(days=1)
    notification = make_notification(subscription)
    event, repair, mark = sign_notification(notification), sign_subscription(subscription), user_mark(7)
    assert read_notification_token(event, max_age=day)
    assert read_subscription_token(repair).matches(subscription)
    tenant.set("b")
    assert read_notification_token(event, max_age=day) is None
    assert read_subscription_token(repair) is None
    assert user_mark(7) != mark


@pytest.mark.django_db
def test_a_report_to_another_tenant_is_refused(subscription, client):
    event = {"token": sign_notification(make_notification(subscription)), "action": "delivered"}
    tenant.set("b")
    body = {"data": {"events": [event]}, "content_type": "application/json"}
    assert client.post("/api/v1/push/events", **body).status_code == 400
    tenant.set("a")
    assert client.post("/api/v1/push/events", **body).json()["recorded"] == 1


def test_cached_values_belong_to_one_tenant():
    assert remember("health", compute=lambda: "of a", seconds=60) == "of a"
    tenant.set("b")
    assert remember("health", compute=lambda: "of b", seconds=60) == "of b"
    tenant.set("a")
    assert remember("health", compute=lambda: "new", seconds=60) == "of a"


def test_a_pending_wake_up_of_one_tenant_does_not_suppress_anothers():
    queue = CountingQueue()
    queue.wake()
    tenant.set("b")
    queue.wake()
    queue.wake()
    assert len(backends.woken) == 2
    clear_pending_wake_up()
    tenant.set("a")
    queue.wake()
    assert len(backends.woken) == 2


@pytest.mark.django_db
def test_each_tenant_has_its_own_rate_limits(client, push_settings):
    push_settings(RATE_LIMITS={"config": "1/d"})
    assert [client.get("/api/v1/push/config").status_code for _ in range(2)] == [200, 429]
    tenant.set("b")
    assert client.get("/api/v1/push/config").status_code == 200
    cache.clear()


@pytest.mark.parametrize(
    ("scope", "text"), [("", ""), ("shop-a", "shop-a"), (lambda: 7, "7"), ("tests.test_scope.current_tenant", "a")]
)
def test_a_scope_is_text_or_a_function(settings, scope, text):
    settings.WEBPUSH_KIT = {"SCOPE": scope}
    assert current_scope() == text


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ("tests.test_scope.no_function", "no_function"),
        ("shop.example.com", "text without dots"),
        ("tests.test_scope.__doc__", "is not callable"),
    ],
)
def test_a_scope_that_raises_is_an_error_that_names_the_setting(settings, scope, message):
    settings.WEBPUSH_KIT = {"SCOPE": scope}
    with pytest.raises(ImproperlyConfigured, match=rf'WEBPUSH_KIT\["SCOPE"\].*{message}'):
        current_scope()

"""Rate limits per action and identity, with an honest Retry-After."""

from __future__ import annotations

from typing import Any

import pytest
import time_machine
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory

from django_webpush_kit import urls
from django_webpush_kit.api.throttling import client_address, parse_rate
from django_webpush_kit.conf import kit_settings
from tests.api.conftest import ApiClient, new_body

pytestmark = pytest.mark.django_db


class Unreachable(DummyCache):
    """A cache whose server is away."""

    def add(self, *arguments: Any, **options: Any) -> bool:
        raise ConnectionError("no route to the cache")


class Forgetful(LocMemCache):
    """A cache that evicts between two calls."""

    def incr(self, *arguments: Any, **options: Any) -> int:
        raise ValueError("no such key")


def use_cache(settings: Any, name: str) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.{name}", "LOCATION": "throttling"}}


def statuses(client: ApiClient, count: int, path: str = "config", **options: Any) -> list[int]:
    return [client.call("GET", path, **options).status_code for _ in range(count)]


def test_more_requests_than_allowed_are_429_until_retry_after(api: ApiClient, push_settings: Any) -> None:
    push_settings(RATE_LIMITS={"config": "3/m"})
    with time_machine.travel(1_800_000_017.25, tick=False) as clock:
        assert statuses(api, 3) == [200, 200, 200]
        answer = api.call("GET", "config")
        assert (answer.status_code, answer.json()["code"]) == (429, "throttled")
        seconds = int(answer.headers["Retry-After"])
        assert 1 <= seconds <= 60
        clock.shift(seconds - 2)
        assert statuses(api, 1) == [429], "it was honest: not much earlier"
        clock.shift(2)
        assert statuses(api, 1) == [200]


ONE_OF_EACH = {
    "subscribe": ("POST", "subscribe"),
    "unsubscribe": ("POST", "unsubscribe"),
    "preferences": ("PUT", "preferences"),
    "preferences-form": ("POST", "preferences-form"),
    "subscriptions": ("DELETE", "subscriptions?id=1"),
    "test": ("POST", "test"),
    "health": ("GET", "health"),
    "config": ("GET", "config"),
    "events": ("POST", "events"),
    "open": ("GET", "open/x"),
    "openapi": ("GET", "openapi.json"),
    "service-worker": ("GET", "service-worker.js"),
}


@pytest.mark.parametrize("action", [pattern.name for pattern in urls.urlpatterns])
def test_every_path_can_be_limited_and_refuses_before_it_reads_the_body(
    api: ApiClient, push_settings: Any, action: str
) -> None:
    method, path = ONE_OF_EACH[action]
    push_settings(RATE_LIMITS={action: "1/m"})
    with time_machine.travel(1_800_000_000, tick=False):
        assert api.call(method, path, {}).status_code != 429
        refused = api.call(method, path, b"no JSON")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "61")
        assert "no-store" in refused.headers["Cache-Control"]


def test_users_are_counted_separately_and_visitors_by_address(
    make_user: Any, login: Any, api: ApiClient, push_settings: Any
) -> None:
    push_settings(RATE_LIMITS={"subscribe": "1/h"})
    with time_machine.travel(1_800_000_000, tick=False):
        first, second = login(make_user()), login(make_user())
        assert [first.subscribe(new_body()).status_code for _ in range(2)] == [201, 429]
        assert second.subscribe(new_body()).status_code == 201
        assert [api.subscribe(new_body()).status_code for _ in range(2)] == [401, 429]
        assert api.subscribe(new_body(), REMOTE_ADDR="192.0.2.7").status_code == 401


def test_refused_credentials_are_counted_too(push_settings: Any, login: Any, user: Any) -> None:
    push_settings(RATE_LIMITS={"subscribe": "2/h"})
    with time_machine.travel(1_800_000_000, tick=False):
        client = login(user, enforce_csrf_checks=True)
        assert [client.subscribe(new_body()).status_code for _ in range(3)] == [403, 403, 429]


def test_one_ipv6_network_is_one_client(api: ApiClient, push_settings: Any) -> None:
    push_settings(RATE_LIMITS={"config": "1/h"})
    with time_machine.travel(1_800_000_000, tick=False):
        assert statuses(api, 1, REMOTE_ADDR="2001:db8:1:2::1") == [200]
        assert statuses(api, 1, REMOTE_ADDR="2001:db8:1:2:ffff::9") == [429]
        assert statuses(api, 1, REMOTE_ADDR="2001:db8:1:3::1") == [200]
        assert statuses(api, 2, REMOTE_ADDR="") == [200, 429], "those without an address share one identity"


def test_an_ipv6_server_distinguishes_ipv4_clients(api: ApiClient, push_settings: Any) -> None:
    push_settings(RATE_LIMITS={"config": "1/h"})
    with time_machine.travel(1_800_000_000, tick=False):
        assert statuses(api, 2, REMOTE_ADDR="::ffff:192.0.2.7") == [200, 429]
        assert statuses(api, 1, REMOTE_ADDR="::ffff:192.0.2.8") == [200]
        assert statuses(api, 1, REMOTE_ADDR="192.0.2.7") == [429]


def test_actions_are_counted_apart_and_may_be_free(api: ApiClient, push_settings: Any) -> None:
    push_settings(RATE_LIMITS={"config": "1/h", "openapi": ""})
    with time_machine.travel(1_800_000_000, tick=False):
        assert statuses(api, 2) == [200, 429]
        assert statuses(api, 3, "openapi.json") == [200] * 3
        assert statuses(api, 3, "service-worker.js") == [200] * 3


def test_without_the_cache_no_rate_limit_applies(
    api: ApiClient, push_settings: Any, settings: Any, caplog: Any
) -> None:
    push_settings(RATE_LIMITS={"config": "1/h"})
    use_cache(settings, "Unreachable")
    assert statuses(api, 3) == [200] * 3
    assert "rate limits are not applied" in caplog.text


def test_an_evicted_count_restarts(api: ApiClient, push_settings: Any, settings: Any) -> None:
    push_settings(RATE_LIMITS={"config": "1/h"})
    use_cache(settings, "Forgetful")
    assert statuses(api, 3) == [200] * 3


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "203.0.113.9", "127.0.0.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        (2, "6.6.6.6, 203.0.113.9, 198.51.100.7", "203.0.113.9"),
        (2, "198.51.100.7", "127.0.0.1"),
        (1, "", "127.0.0.1"),
        (1, "nonsense", None),
        (1, "203.0.113.9:17085", "203.0.113.9"),
        (1, '"203.0.113.9:17085"', "203.0.113.9"),
        (1, "203.0.113.9,", "203.0.113.9"),
        (1, "6.6.6.6, 203.0.113.9:17085 , ", "203.0.113.9"),
        (1, "[2001:db8::1]", "2001:db8::1"),
        (1, "[2001:DB8::1]:443", "2001:db8::1"),
        (1, '"[2001:db8::1]:443"', "2001:db8::1"),
        (1, "[::ffff:203.0.113.9]:443", "203.0.113.9"),
        (1, "[fe80::1%eth0]:443", "fe80::1"),
        (1, "203.0.113.9:port", None),
        (1, "[203.0.113.9", None),
        (1, "unknown", None),
        (1, "2001:db8::1", "2001:db8::1"),
        (1, "::ffff:203.0.113.9", "203.0.113.9"),
        (1, "fe80::1%eth0", "fe80::1"),
        (1, "fe80::1%\x00", "fe80::1"),
    ],
)
def test_forwarded_addresses_are_trusted_for_the_configured_number_of_proxies(
    push_settings: Any, proxies: int, forwarded: str, address: str | None
) -> None:
    push_settings(TRUSTED_PROXIES=proxies)
    request = RequestFactory().get("/", headers={"X-Forwarded-For": forwarded})
    assert client_address(request) == address


@pytest.mark.parametrize("peer", ["", "unix:"])
def test_behind_a_unix_socket_the_last_forwarded_address_counts(push_settings: Any, peer: str) -> None:
    """Only the proxy in front can connect to it, and without its word all visitors would be one client."""
    push_settings(TRUSTED_PROXIES=0, RATE_LIMITS={"config": "1/h"})
    request = RequestFactory().get("/", REMOTE_ADDR=peer, headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.9"})
    assert client_address(request) == "203.0.113.9"
    assert client_address(RequestFactory().get("/", REMOTE_ADDR=peer)) is None


def test_every_default_limit_can_be_read() -> None:
    assert {parse_rate(rate)[1] for rate in kit_settings.RATE_LIMITS.values()} == {60}


@pytest.mark.parametrize("rate", ["30", "30/x", "m", "1/mm", "-1/s", "1.5/s"])
def test_a_malformed_limit_is_a_configuration_error(rate: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="RATE_LIMITS"):
        parse_rate(rate)

"""What all tests share: real users and subscriptions, and nothing of one test left for the next."""

from __future__ import annotations

import faulthandler
import os
import random
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections, transaction
from django.test import TransactionTestCase
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from django_webpush_kit import caching
from django_webpush_kit.delivery import backoff
from django_webpush_kit.delivery.transport import close_transport
from django_webpush_kit.testing.fake_browser import new_keys
from django_webpush_kit.transports import locmem
from tests.push_settings import changed_push_settings
from tests.randomness import SEED, per_test

TESTS = Path(__file__).parent
EXTRAS = ("celery", "django_q", "django_tasks", "opentelemetry", "prometheus_client", "pycurl", "rest_framework")

# how long an example takes says something about the machine, not about the code
# In CI the same commit gets the same examples; at a developer's desk every run tries others.
hypothesis_settings.register_profile(
    "suite", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("suite")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep `importorskip` honest: a test of an extra may be skipped only where the extras are left out on purpose."""
    installed = [name for name in EXTRAS if find_spec(name)]
    wanted = {"required": list(EXTRAS), "absent": []}.get(os.environ.get("TEST_EXTRAS", ""), installed)
    if installed != wanted:
        raise pytest.UsageError(f"This environment should have the extras {wanted}, it has {installed}.")
    if "CI" not in os.environ and config.getoption("--hypothesis-seed") is None:
        config.option.hypothesis_seed = SEED


ELSEWHERE = {"browser": "browser", "hosts": "hosts", "servers": "services", "typing": "slow"}
"""Folders and the mark that all of their tests have. A run that excludes the mark does not import them."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not collect a folder if the mark expression excludes all of its tests."""
    mark = ELSEWHERE.get(collection_path.name) if collection_path.parent == TESTS else None
    return True if mark and f"not {mark}" in config.option.markexpr else None


def pytest_unconfigure() -> None:
    """End the process with the stack of each thread if one of them keeps it from ending by itself."""
    faulthandler.dump_traceback_later(300, exit=True)


def pytest_report_header() -> str:
    """Print the seed of this run."""
    return f"random inputs: TEST_SEED={SEED}"


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name keys and bodies by their argument: random ones would give each of pytest-xdist's workers other tests."""
    is_readable = isinstance(val, str) and (len(val) < 12 or re.fullmatch(r"[a-z0-9 .,:_/-]{,80}", val))
    return argname if isinstance(val, str | bytes) and not is_readable else None


@pytest.fixture(autouse=True)
def _seeded(request: pytest.FixtureRequest) -> None:
    """Give each test random inputs of its own, the same whichever tests run before it."""
    per_test.restart(request.node.nodeid)


@pytest.fixture(autouse=True)
def _clean_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the transport this thread used, and empty what a process keeps: locmem's lists and the cache.

    Results that are slow on a busy machine are not kept: within a test they would be out of date.
    """
    monkeypatch.setattr(caching, "SLOW_SECONDS", float("inf"))
    yield
    close_transport()
    locmem.sent.clear()
    locmem.answers.clear()
    for cache in caches.all(initialized_only=True):
        cache.clear()
    caching.forget_kept_values()


class _LongWaits:
    """Draws waits from their upper half."""

    @staticmethod
    def uniform(low: float, high: float) -> float:
        return random.uniform((low + high) / 2, high)


@pytest.fixture(autouse=True)
def _backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no retry come due within the test that caused it: with full jitter one in a few hundred is that short."""
    monkeypatch.setattr(backoff, "random", _LongWaits)


KEPT_TABLES = {"django_content_type", "auth_permission", "django_migrations"}


def _empty_tables(case: TransactionTestCase) -> None:
    """Delete all rows that the test committed. Content types and permissions stay: `flush` would create them again."""
    for alias in case._databases_names(include_mirrors=False):
        connection = connections[alias]
        if connection.vendor != "sqlite":
            _flush(case)
            return
        with connection.constraint_checks_disabled(), transaction.atomic(using=alias), connection.cursor() as cursor:
            for table in set(connection.introspection.table_names(cursor)) - KEPT_TABLES:
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")


_flush = TransactionTestCase._fixture_teardown
TransactionTestCase._fixture_teardown = _empty_tables


@pytest.fixture
def push_settings(settings: Any) -> Callable[..., None]:
    """Change keys of `WEBPUSH_KIT` until the end of the test: `push_settings(CHUNK_SIZE=5)`."""

    def change(**values: Any) -> None:
        settings.WEBPUSH_KIT = changed_push_settings(**values)

    return change


@pytest.fixture
def make_user() -> Callable[..., Any]:
    """Return `factories.make_user`, imported late because models need Django's setup."""
    from tests.factories import make_user

    return make_user


@pytest.fixture
def user(db: None, make_user: Callable[..., Any]) -> Any:
    """A user without a subscription."""
    return make_user(username="ada", first_name="Ada", last_name="Lovelace", email="ada@example.com")


@pytest.fixture
def subscription_keys() -> Callable[[], dict[str, str]]:
    """Make the keys of a new browser: `{"p256dh", "auth"}`, a point on the curve and 16 random bytes."""
    return new_keys


@pytest.fixture
def make_subscription() -> Callable[..., Any]:
    """Return `factories.make_subscription`, imported late because models need Django's setup."""
    from tests.factories import make_subscription

    return make_subscription


@pytest.fixture
def subscription(user: Any, make_subscription: Callable[..., Any]) -> Any:
    """The one active subscription of `user`."""
    return make_subscription(user)

"""A push service for all hosts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from django_webpush_kit.testing import FakePushService

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs packages of others, and takes seconds: only `tox -e hosts` runs it."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.hosts)


@pytest.fixture(scope="session")
def push_service() -> Iterator[FakePushService]:
    with FakePushService() as service:
        yield service

"""A push service for all hosts."""

from __future__ import annotations

import secrets
import subprocess
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


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The name of a fresh database."""
    name = f"host_{secrets.token_hex(4)}"
    sql = ["psql", "--host", "127.0.0.1", "--username", "postgres", "--quiet", "--command"]
    subprocess.run([*sql, f"CREATE DATABASE {name}"], check=True)
    yield name
    subprocess.run([*sql, f"DROP DATABASE {name} WITH (FORCE)"], check=True)

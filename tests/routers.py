"""Database routers for tests."""

from __future__ import annotations

from typing import Any


class PrimaryOnlyRouter:
    """A replica that lags so far that nothing may be read from it: asking where to read is an error."""

    def db_for_read(self, model: type[Any], **hints: Any) -> str:
        raise AssertionError(f"{model.__name__} was read without naming the database")

    def db_for_write(self, model: type[Any], **hints: Any) -> str:
        return "default"

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True

"""Database routers for tests. They are also copied into generated projects, so they import nothing of ours."""

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


class PrimaryReplicaRouter:
    """Reads go to "replica", writes to "default"."""

    def db_for_read(self, model: type[Any], **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: type[Any], **hints: Any) -> str:
        return "default"

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == "default"


class PushRouter:
    """The tables of django-webpush-kit are in the database "push"."""

    def db_for_read(self, model: type[Any], **hints: Any) -> str | None:
        return "push" if model._meta.app_label == "webpush_kit" else None

    db_for_write = db_for_read

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return (db == "push") == (app_label == "webpush_kit")

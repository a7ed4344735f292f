"""Serialize a broadcast's context, options and templates as JSON, and read them back.

JSON has no dates, decimals or UUIDs. These are stored as `{"$type": "datetime", "value": "..."}`. If a dict of the
caller has the key "$type" ("$$type", ...), another "$" is added, so that it is not read as a date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django_webpush_kit.database import outbox_database
from django_webpush_kit.exceptions import InvalidOption
from django_webpush_kit.models import get_template_model
from django_webpush_kit.option_checks import storable

TYPE_KEY = "$type"

_FREEZE: tuple[tuple[type, str, Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    (datetime, "datetime", datetime.isoformat, datetime.fromisoformat),
    (date, "date", date.isoformat, date.fromisoformat),
    (time, "time", time.isoformat, time.fromisoformat),
    (timedelta, "timedelta", timedelta.total_seconds, lambda seconds: timedelta(seconds=seconds)),
    (Decimal, "decimal", str, Decimal),
    (UUID, "uuid", str, UUID),
)
"""Type, name in JSON, function to JSON, function from JSON. datetime comes first, because it is a subclass of date."""

TEMPLATE_FIELDS = (
    "type",
    "language",
    "title_template",
    "body_template",
    "url_template",
    "icon_template",
    "require_interaction",
    "silent",
    "vibrate_pattern",
    "actions",
    "options",
)
"""The content fields of a template, without key and dates. Used by broadcasts and by `push_templates`."""


def freeze(value: Any) -> Any:
    """Convert a plain context value (see `plain_context`) to JSON."""
    if isinstance(value, Mapping):
        return {_escaped(key): freeze(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [freeze(item) for item in value]
    for kind, name, to_json, _from_json in _FREEZE:
        if isinstance(value, kind):
            return {TYPE_KEY: name, "value": to_json(value)}
    return value


def thaw(value: Any) -> Any:
    """Convert the JSON of `freeze` back. A dict that only looks like a marker is returned as it is."""
    if isinstance(value, list):
        return [thaw(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {TYPE_KEY, "value"}:
        for _kind, name, _to_json, from_json in _FREEZE:
            if value[TYPE_KEY] == name:
                try:
                    return from_json(value["value"])
                except (TypeError, ValueError, ArithmeticError, AttributeError):
                    break
    return {_unescaped(key): thaw(item) for key, item in value.items()}


def check_storable(value: Any, path: str) -> None:
    """Raise `InvalidOption` with the path of a text that databases refuse: NUL characters or lone surrogates."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_storable(key, path)
            check_storable(item, f"{path}[{key!r}]")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            check_storable(item, f"{path}[{number}]")
    elif isinstance(value, str) and value != storable(value):
        raise InvalidOption(f"{path} must not contain NUL characters or lone surrogates")


def _escaped(key: str) -> str:
    return f"${key}" if key.lstrip("$") == TYPE_KEY[1:] and key.startswith("$") else key


def _unescaped(key: str) -> str:
    return key[1:] if key.startswith("$$") and key.lstrip("$") == TYPE_KEY[1:] else key


def freeze_templates(templates: Iterable[Any]) -> list[dict[str, Any]]:
    """Return a snapshot of template rows as JSON."""
    return [{name: freeze(getattr(template, name)) for name in ("pk", *TEMPLATE_FIELDS)} for template in templates]


def thaw_templates(frozen: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Return unsaved template rows from a snapshot. A row that was deleted since then has no primary key."""
    model = get_template_model()
    rows = [thaw(dict(row)) for row in frozen]
    living = set(
        model.objects.using(outbox_database()).filter(pk__in=[row["pk"] for row in rows]).values_list("pk", flat=True)
    )
    return [model(**{**row, "pk": row["pk"] if row["pk"] in living else None}) for row in rows]

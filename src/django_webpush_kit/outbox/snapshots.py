"""What a broadcast keeps until it is finished: its context, options and templates, as JSON and back.

JSON knows no dates, decimals or UUIDs; these are kept as `{"$type": "datetime", "value": "..."}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django_webpush_kit.models import get_template_model

TYPE_KEY = "$type"

_FREEZE: tuple[tuple[type, str, Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    (datetime, "datetime", datetime.isoformat, datetime.fromisoformat),
    (date, "date", date.isoformat, date.fromisoformat),
    (time, "time", time.isoformat, time.fromisoformat),
    (timedelta, "timedelta", timedelta.total_seconds, lambda seconds: timedelta(seconds=seconds)),
    (Decimal, "decimal", str, Decimal),
    (UUID, "uuid", str, UUID),
)
"""Type, its name in JSON, to JSON, from JSON; a datetime is a date, so it comes first."""

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
"""What a template says, apart from its key and dates: kept by broadcasts, moved between sites by `push_templates`."""


def freeze(value: Any) -> Any:
    """A plain context value (see `rendering.plain_context`) as JSON."""
    if isinstance(value, Mapping):
        return {key: freeze(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [freeze(item) for item in value]
    for kind, name, to_json, _from_json in _FREEZE:
        if isinstance(value, kind):
            return {TYPE_KEY: name, "value": to_json(value)}
    return value


def thaw(value: Any) -> Any:
    """The value that `freeze` turned into JSON."""
    if isinstance(value, list):
        return [thaw(item) for item in value]
    if not isinstance(value, dict):
        return value
    for _kind, name, _to_json, from_json in _FREEZE:
        if value.get(TYPE_KEY) == name:
            return from_json(value["value"])
    return {key: thaw(item) for key, item in value.items()}


def freeze_templates(templates: Iterable[Any]) -> list[dict[str, Any]]:
    """Template rows as JSON, to be used later as they stand now."""
    return [{name: freeze(getattr(template, name)) for name in ("pk", *TEMPLATE_FIELDS)} for template in templates]


def thaw_templates(frozen: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Unsaved template rows from `freeze_templates`. A template that was deleted since is no longer referred to."""
    model = get_template_model()
    rows = [thaw(dict(row)) for row in frozen]
    living = set(model.objects.filter(pk__in=[row["pk"] for row in rows]).values_list("pk", flat=True))
    return [model(**{**row, "pk": row["pk"] if row["pk"] in living else None}) for row in rows]

"""Types and checks of command-line arguments."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from datetime import datetime, timezone
from typing import Any

from django.core.management.base import CommandError
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware, make_aware


def json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object. argparse adds the option's name to the error."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ArgumentTypeError(f"must be a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"must be a JSON object, not {type(value).__name__}")
    return value


def moment(text: str) -> datetime:
    """Parse a date and time; the default is the current time zone. argparse reports a ValueError."""
    parsed = parse_datetime(text if len(text) > len("2026-03-01") else f"{text} 00:00")
    if parsed is None:
        raise ValueError(text)
    aware = parsed if is_aware(parsed) else make_aware(parsed)
    try:
        aware.astimezone(timezone.utc)
    except OverflowError:  # databases store the moment in UTC
        raise ValueError(text) from None
    return aware


moment.__name__ = "date and time"  # the name in argparse's error messages


def check_positive(option: str, value: float | None) -> None:
    """Raise CommandError unless the value is more than 0 (NaN is not) or None."""
    if value is not None and not value > 0:
        raise CommandError(f"--{option} must be more than 0.")

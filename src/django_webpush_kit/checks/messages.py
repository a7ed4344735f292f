"""Create the messages of the system checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from django.core import checks

Messages: TypeAlias = Iterator[checks.CheckMessage]

CheckTable: TypeAlias = tuple[tuple[tuple[str, ...], Callable[[], Messages]], ...]
"""Pairs of setting names and a check that reads them. A check is skipped if one of its settings has the wrong type."""


def error(number: int, message: str, hint: str) -> checks.Error:
    """Return the error `webpush_kit.E` with this number."""
    return checks.Error(message, hint=hint or None, id=f"webpush_kit.E{number:03}")


def warning(number: int, message: str, hint: str) -> checks.Warning:
    """Return the warning `webpush_kit.W` with this number."""
    return checks.Warning(message, hint=hint or None, id=f"webpush_kit.W{number:03}")


def information(number: int, message: str, hint: str) -> checks.Info:
    """Return the hint `webpush_kit.I` with this number."""
    return checks.Info(message, hint=hint or None, id=f"webpush_kit.I{number:03}")


def named(name: str) -> str:
    """Return the name of a setting as written in settings.py."""
    return f'WEBPUSH_KIT["{name}"]'

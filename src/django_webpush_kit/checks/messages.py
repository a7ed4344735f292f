"""How a check says what it has found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from django.core import checks

Messages: TypeAlias = Iterator[checks.CheckMessage]

CheckTable: TypeAlias = tuple[tuple[tuple[str, ...], Callable[[], Messages]], ...]
"""Which settings a check reads, and the check: one whose settings are of the wrong type is not run."""


def error(number: int, message: str, hint: str) -> checks.Error:
    """Message `webpush_kit.E` and the number."""
    return checks.Error(message, hint=hint or None, id=f"webpush_kit.E{number:03}")


def warning(number: int, message: str, hint: str) -> checks.Warning:
    """Message `webpush_kit.W` and the number."""
    return checks.Warning(message, hint=hint or None, id=f"webpush_kit.W{number:03}")


def named(name: str) -> str:
    """A setting as the host wrote it."""
    return f'WEBPUSH_KIT["{name}"]'

"""Find the user that a command names by login name."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError


def find_user(name: str) -> Any:
    """Return the user with this value of `USERNAME_FIELD`. Raises CommandError if none exists."""
    model: Any = get_user_model()
    try:
        return model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        raise CommandError(f"No user has the {model.USERNAME_FIELD} {name!r}.") from None

"""How commands name a user: by what the user signs in with."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError


def find_user(name: str) -> Any:
    """The user whose `USERNAME_FIELD` has this value; a CommandError when there is none."""
    model: Any = get_user_model()
    try:
        return model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        raise CommandError(f"There is no user whose {model.USERNAME_FIELD} is {name!r}.") from None

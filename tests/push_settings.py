"""The setting `WEBPUSH_KIT` with some keys changed. Tests use the fixture `push_settings` where they can."""

from __future__ import annotations

from typing import Any

from django.test import override_settings

from django_webpush_kit.conf import given_settings


def changed_push_settings(**values: Any) -> dict[str, Any]:
    """Return the current `WEBPUSH_KIT` with these keys changed."""
    return {**given_settings(), **values}


def override_push_settings(**values: Any) -> override_settings:
    """Change keys of `WEBPUSH_KIT` in a `with` block, for one example of a property-based test."""
    return override_settings(WEBPUSH_KIT=changed_push_settings(**values))

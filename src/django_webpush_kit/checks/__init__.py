"""System checks: every mistake in the settings that can be seen without sending anything.

`manage.py check` runs them all; those about values that are fine in development and dangerous in production run under
`manage.py check --deploy`. What each id means stands in `docs/reference/checks.md`. No message contains key text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.checks import deployment, messages, values
from django_webpush_kit.checks.messages import CheckTable, Messages, named
from django_webpush_kit.checks.models import model_settings
from django_webpush_kit.conf import given_settings, known_settings

TAG = "webpush_kit"


@checks.register(TAG)
def check_settings(app_configs: Iterable[AppConfig] | None = None, **options: Any) -> list[checks.CheckMessage]:
    """Mistakes in `WEBPUSH_KIT` and in the model settings."""
    try:
        given = given_settings()
    except ImproperlyConfigured as error:
        return [messages.error(1, str(error), "")]
    return [*_unknown_keys(given), *_wrong_types(given).values(), *_run(values.CHECKS), *model_settings()]


@checks.register(TAG, deploy=True)
def check_deployment(app_configs: Iterable[AppConfig] | None = None, **options: Any) -> list[checks.CheckMessage]:
    """Settings that are dangerous in production."""
    return list(_run(deployment.CHECKS))


def _run(table: CheckTable) -> Messages:
    """The messages of those checks whose settings are of the right type."""
    try:
        wrong = _wrong_types(given_settings())
    except ImproperlyConfigured:
        return  # `check_settings` says so
    for names, function in table:
        if not wrong.keys() & set(names):
            yield from function()


def _unknown_keys(given: Mapping[str, Any]) -> Messages:
    for name in given:
        if name not in known_settings():
            near = difflib.get_close_matches(str(name).upper(), known_settings(), n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}?" if near else "Remove it."
            yield messages.warning(1, f"WEBPUSH_KIT has the unknown key {name!r}.", hint)


def _wrong_types(given: Mapping[str, Any]) -> dict[str, checks.CheckMessage]:
    return {
        name: messages.error(2, f"{named(name)} {problem}.", "")
        for name, setting in known_settings().items()
        if name in given and (problem := setting.problem(given[name]))
    }

"""System checks: find mistakes in the settings without sending anything.

`manage.py check` runs them. `manage.py check --deploy` also reports values that are fine in development and dangerous
in production. `docs/reference/checks.md` lists every id. No message contains key text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.checks import deployment, messages, project, queues, values
from django_webpush_kit.checks.messages import CheckTable, Messages, named
from django_webpush_kit.checks.models import model_settings
from django_webpush_kit.conf import given_settings, known_settings

TAG = "webpush_kit"


@checks.register(TAG)
def check_settings(app_configs: Iterable[AppConfig] | None = None, **options: Any) -> list[checks.CheckMessage]:
    """Find mistakes in `WEBPUSH_KIT`, in the model settings, and in the project's URLs and databases."""
    try:
        given = given_settings()
    except ImproperlyConfigured as error:
        return [messages.error(1, str(error), "")]
    tables = (*values.CHECKS, *queues.CHECKS, *project.CHECKS)
    return [*_unknown_keys(given), *_wrong_types(given).values(), *_run(tables), *model_settings()]


@checks.register(TAG, deploy=True)
def check_deployment(app_configs: Iterable[AppConfig] | None = None, **options: Any) -> list[checks.CheckMessage]:
    """Find settings that are dangerous in production."""
    return list(_run(deployment.CHECKS))


def _run(table: CheckTable) -> Messages:
    """Run the checks whose settings have the right type."""
    try:
        wrong = _wrong_types(given_settings())
    except ImproperlyConfigured:
        return  # reported by `check_settings`
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

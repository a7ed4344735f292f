"""Render a template with sample values, for the admin and for lint."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.utils import timezone

from django_webpush_kit.exceptions import TemplateRenderError
from django_webpush_kit.templating.compiled import CompiledTemplate, RenderedText, raise_missing
from django_webpush_kit.templating.context import plain_context
from django_webpush_kit.templating.variables import RECIPIENT, TemplateVariable

DATE_FILTERS = frozenset(("date", "time", "timesince", "timeuntil"))

SAMPLE_LINK = "/"

_FIRST_VARIABLE = re.compile(r"\s*\{\{\s*([\w.]+)")

NUMBER_FILTERS = frozenset(("floatformat", "pluralize", "stringformat"))


def preview(template: Any, context: Mapping[str, Any] | None = None) -> RenderedText:
    """Return the texts of a template. Variables that are not in `context` show their name in brackets.

    Raises `TemplateRenderError` if the template cannot be rendered, and TypeError for values that are not plain.
    """
    compiled = compile_template(template)
    values = _samples(compiled.variables, _link_variables(template)) | dict(plain_context(context or {}))
    return compiled.render(values, raise_missing)


def template_variables(template: Any) -> list[TemplateVariable]:
    """Return a template's variables in order of appearance. Raises `TemplateRenderError` if it is malformed."""
    return compile_template(template).variables


def compile_template(template: Any) -> CompiledTemplate:
    """Compile a row that may not have been validated. Raises `TemplateRenderError` for any problem."""
    try:
        return CompiledTemplate(template)
    except TemplateRenderError:
        raise
    except Exception as error:  # stored JSON may have any structure
        raise TemplateRenderError(f"Template {template}: {error}") from error


def missing_variables(template: Any, context: Mapping[str, Any]) -> list[str]:
    """Return the variables that a template needs and `context` lacks, without those of the recipient."""
    missing: list[str] = []
    compile_template(template).render(plain_context(context), missing.append)
    return [name for name in dict.fromkeys(missing) if name.partition(".")[0] != RECIPIENT]


def variables_without_date(template: Any, context: Mapping[str, Any]) -> list[str]:
    """Return the variables that a template formats as dates, and whose value in `context` is text or a number."""
    dated = (variable.name for variable in template_variables(template) if variable.filters & DATE_FILTERS)
    return [name for name in dated if isinstance(_value_at(context, name.split(".")), str | int | float)]


def sample_context(template: Any) -> dict[str, Any]:
    """Return a value for each variable of a template, nested by its path: `{"order": {"number": "[order.number]"}}`.

    Variables used as dates get the current time, and variables used as numbers get 2.
    """
    return _samples(compile_template(template).variables, _link_variables(template))


def _samples(variables: Iterable[TemplateVariable], links: Collection[str]) -> dict[str, Any]:
    context: dict[str, Any] = {}
    for variable in variables:
        sample = SAMPLE_LINK if variable.name in links else _sample(variable)
        _put(context, variable.name.split("."), sample)
    return context


def _sample(variable: TemplateVariable) -> Any:
    if variable.filters & DATE_FILTERS:
        return timezone.now().replace(second=0, microsecond=0)
    return 2 if variable.filters & NUMBER_FILTERS else f"[{variable.name}]"


def _link_variables(template: Any) -> set[str]:
    """Return the variables that begin a URL or an icon, so that their value has to be a link itself."""
    links = [template.url_template, template.icon_template]
    actions = template.actions if isinstance(template.actions, list) else []
    links += [action.get(name) for action in actions if isinstance(action, dict) for name in ("url", "icon")]
    return {match[1] for link in links if isinstance(link, str) and (match := _FIRST_VARIABLE.match(link))}


def _value_at(values: Any, path: list[str]) -> Any:
    """Return the value at a dotted path, or None."""
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _put(context: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a nested value. A variable that is used as a dict elsewhere in the template stays a dict."""
    *parents, name = path
    for parent in parents:
        if not isinstance(context.get(parent), dict):
            context[parent] = {}
        context = context[parent]
    if not isinstance(context.get(name), dict):
        context[name] = value

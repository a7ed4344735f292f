"""What a notification template looks like before anything was sent with it: rendered with sample values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.template import Context
from django.template.base import FilterExpression, Template, Variable, VariableNode
from django.utils import timezone, translation

from django_webpush_kit.exceptions import TemplateRenderError
from django_webpush_kit.templating.renderer import RenderedText, compile_text

MOMENT_FILTERS = frozenset(("date", "time", "timesince", "timeuntil"))

NUMBER_FILTERS = frozenset(("floatformat", "pluralize"))


def preview(template: Any) -> RenderedText:
    """The template's texts with every variable replaced by its name in brackets, dates by the present moment.

    Raises `TemplateRenderError` for a template that cannot be rendered.
    """
    try:
        with translation.override(template.language or settings.LANGUAGE_CODE):
            return _render(template, sample_context(template))
    except Exception as error:  # whatever a tag or a filter raises is the template's mistake
        raise TemplateRenderError(str(error)) from error


def sample_context(template: Any) -> dict[str, Any]:
    """A value for each variable the template names: `{"number": "[number]", "recipient": {"first_name": ...}}`."""
    context: dict[str, Any] = {}
    sources = [template.title_template, template.body_template, template.url_template, template.icon_template]
    sources += [text for action in template.actions for text in action.values()]
    for source in sources:
        for expression in _expressions(compile_text(source)):
            if isinstance(expression.var, Variable) and expression.var.lookups:
                _put(context, list(expression.var.lookups), _sample(expression))
    return context


def _render(template: Any, context: dict[str, Any]) -> RenderedText:
    def text(source: str) -> str:
        return str(compile_text(source).render(Context(context, autoescape=False))).strip()

    return RenderedText(
        title=text(template.title_template),
        body=text(template.body_template),
        url=text(template.url_template),
        icon=text(template.icon_template),
        actions=[{key: text(source) for key, source in action.items()} for action in template.actions],
    )


def _expressions(compiled: Template) -> Iterator[FilterExpression]:
    nodes: list[Any] = compiled.nodelist.get_nodes_by_type(VariableNode)
    for node in nodes:
        yield node.filter_expression


def _sample(expression: FilterExpression) -> Any:
    names = {getattr(function, "__wrapped__", function).__name__ for function, _arguments in expression.filters}
    if names & MOMENT_FILTERS:
        return timezone.now()
    return 2 if names & NUMBER_FILTERS else f"[{'.'.join(expression.var.lookups)}]"


def _put(context: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a nested value; what another place of the template needs as a dict stays one."""
    *parents, name = path
    for parent in parents:
        if not isinstance(context.get(parent), dict):
            context[parent] = {}
        context = context[parent]
    if not isinstance(context.get(name), dict):
        context[name] = value

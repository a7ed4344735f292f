"""List the variables of a template, and which of them are required in the context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.template.base import Variable
from django.template.defaulttags import IfNode, WithNode

from django_webpush_kit.templating.engine import BoundedFirstOfNode, Expression, OutputNode, TextTemplate

RECIPIENT = "recipient"
"""The variable with the values about the recipient."""


@dataclass(frozen=True, slots=True)
class TemplateVariable:
    """A variable by its dotted path, such as "order.number".

    `is_required` is false if the template handles its absence: by a filter such as `default`, in `{% firstof %}`, or
    inside `{% if %}`. `filters` are the names of the filters applied to it.
    """

    name: str
    is_required: bool = True
    filters: frozenset[str] = frozenset()

    @property
    def is_about_recipient(self) -> bool:
        """Whether it is `recipient` or a part of it."""
        return self.name.partition(".")[0] == RECIPIENT

    def __str__(self) -> str:
        return self.name if self.is_required else f"{self.name} (optional)"


def variables_of(compiled: TextTemplate) -> Iterator[TemplateVariable]:
    """Yield every use of a variable in one compiled text."""
    yield from _of_nodes(compiled.nodelist, {}, is_required=True)


def merged_variables(uses: Iterable[Iterable[TemplateVariable]]) -> list[TemplateVariable]:
    """Return each variable once, in order of appearance; required if one of its uses is."""
    merged: dict[str, TemplateVariable] = {}
    for variable in (variable for several in uses for variable in several):
        before = merged.get(variable.name, TemplateVariable(variable.name, is_required=False))
        merged[variable.name] = TemplateVariable(
            variable.name, before.is_required or variable.is_required, before.filters | variable.filters
        )
    return list(merged.values())


Aliases = Mapping[str, str]
"""Names bound by {% with %} and {% firstof as %}: to the path of another variable, or to "" for other values."""


def _of_nodes(nodes: Iterable[Any], aliases: Aliases, *, is_required: bool) -> Iterator[TemplateVariable]:
    for node in nodes:
        if isinstance(node, OutputNode):
            yield from _of_expression(node.expression, aliases, is_required=is_required)
        elif isinstance(node, BoundedFirstOfNode):
            for expression in node.vars:
                yield from _of_expression(expression, aliases, is_required=False)
            aliases = {**aliases, node.asvar: ""} if node.asvar else aliases
        elif isinstance(node, IfNode):
            for condition, body in node.conditions_nodelists:
                for expression in _operands(condition):
                    yield from _of_expression(expression, aliases, is_required=False)
                yield from _of_nodes(body, aliases, is_required=False)
        elif isinstance(node, WithNode):
            for expression in node.extra_context.values():
                # a plain variable is required where its new name is used
                needs_value = is_required and bool(expression.filters)
                yield from _of_expression(expression, aliases, is_required=needs_value)
            bound = {name: _alias(expression, aliases) for name, expression in node.extra_context.items()}
            yield from _of_nodes(node.nodelist, {**aliases, **bound}, is_required=is_required)


def _of_expression(expression: Any, aliases: Aliases, *, is_required: bool) -> Iterator[TemplateVariable]:
    if name := _path(expression.var, aliases):
        yield TemplateVariable(name, is_required and not expression.tolerates_missing, expression.filter_names)
    for argument in expression.arguments:
        if name := _path(argument, aliases):
            yield TemplateVariable(name, is_required)


def _operands(condition: Any) -> Iterator[Expression]:
    """Yield the expressions of an `if` condition, a tree of operators."""
    pending = [condition]
    while pending:
        token = pending.pop()
        if token is None:
            continue
        if isinstance(token.value, Expression):
            yield token.value
        pending += [token.second, token.first]


def _path(variable: Any, aliases: Aliases) -> str:
    """Return the dotted path of a context variable, or "" for literals and bound names."""
    if not isinstance(variable, Variable) or not variable.lookups:
        return ""
    name, *parts = variable.lookups
    if name in ("True", "False", "None"):
        return ""
    first = aliases.get(name, name)
    return ".".join([first, *parts]) if first else ""


def _alias(expression: Expression, aliases: Aliases) -> str:
    return "" if expression.filters else _path(expression.var, aliases)

"""A restricted Django template engine for plain text: no loaders, few tags and filters, bounded input and output.

Staff edit templates, so a template can neither call methods nor produce huge output. `compile_text` compiles texts for
people, with localized numbers and dates. `compile_link` compiles URLs and icons, which are never localized.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from django.template import Context, Engine, Library, Node, Template, TemplateSyntaxError, defaulttags
from django.template.base import (
    FilterExpression,
    Lexer,
    NodeList,
    Parser,
    TextNode,
    Token,
    TokenType,
    Variable,
    VariableNode,
    render_value_in_context,
)
from django.template.defaulttags import FirstOfNode
from django.utils import translation
from django.utils.timezone import template_localtime  # type: ignore[attr-defined]  # the stubs leave it out

from django_webpush_kit.option_checks import storable
from django_webpush_kit.templating.filters import (
    LINK_FILTERS,
    MAX_OUTPUT,
    TEXT_FILTERS,
    TOLERANT_FILTERS,
    Filter,
    Missing,
    plain_text,
)

TAGS = ("if", "with", "comment", "firstof")

MAX_NESTING = 20
"""Maximum nesting of {% if %} and {% with %}."""

MAX_TAG_WORDS = 100

UNCLOSED_TAG = re.compile(r"\{[{%].{0,20}")


@lru_cache(maxsize=512)
def compile_text(source: str) -> TextTemplate:
    """Compile a title, a body or the title of a button.

    Raises TemplateSyntaxError if the source is malformed, or uses a tag or filter that is not allowed.
    """
    return TextTemplate(source, engine=_text_engine())


@lru_cache(maxsize=512)
def compile_link(source: str) -> LinkTemplate:
    """Compile a URL, an icon or the id of a button. Raises the same errors as `compile_text`."""
    return LinkTemplate(source, engine=_link_engine())


OnMissing = Callable[[str], None]
"""Called with the dotted name of a missing variable. It raises, or returns to leave the output empty."""


class RenderingContext(Context):
    """The values of one rendering, the handler of missing variables, and the number of characters left."""

    def __init__(self, values: Mapping[str, Any], on_missing: OnMissing) -> None:
        super().__init__(dict(values), autoescape=False)
        self.on_missing = on_missing
        self._left = MAX_OUTPUT

    def format(self, value: Any) -> str:
        """Return a value as text, localized."""
        return str(render_value_in_context(value, self))

    def write(self, value: Any) -> str:
        """Return the text of a value. Raises if the whole output exceeds MAX_OUTPUT characters."""
        text = value if type(value) is str else self.format(value)
        self._left -= len(text)
        if self._left < 0:
            raise _output_too_long()
        return text


class LinkContext(RenderingContext):
    """A context for links, which does not localize values."""

    def format(self, value: Any) -> str:
        """Return a value as text, never localized."""
        return plain_text(value)


class TextTemplate(Template):
    """A compiled text for people."""

    def compile_nodelist(self) -> NodeList:
        """Parse the source with the restricted parser. Raises TemplateSyntaxError."""
        if len(self.source) > MAX_OUTPUT:
            raise TemplateSyntaxError(f"Template texts have at most {MAX_OUTPUT} characters, not {len(self.source)}")
        return _Parser(Lexer(self.source).tokenize(), {}, self.engine.template_builtins, self.origin).parse()

    def render_values(self, values: Mapping[str, Any], on_missing: OnMissing) -> str:
        """Render with plain values in the active language and time zone; surrounding white space is removed."""
        return _bounded_text(self.render(RenderingContext(values, on_missing)))


class LinkTemplate(TextTemplate):
    """A compiled URL or icon."""

    def render_values(self, values: Mapping[str, Any], on_missing: OnMissing) -> str:
        """Render with plain values, without localization."""
        with translation.override(None):
            return _bounded_text(self.render(LinkContext(values, on_missing)))


def _bounded_text(rendered: str) -> str:
    text = storable(rendered).strip()
    if len(text) > MAX_OUTPUT:
        raise _output_too_long()
    return text


def _output_too_long() -> ValueError:
    return ValueError(f"the text would have more than {MAX_OUTPUT} characters")


class Expression(FilterExpression):
    """A variable or literal with its filters. It is resolved by key, index or attribute; methods are never called."""

    __slots__ = ("arguments", "filter_names")

    def __init__(self, token: str, parser: Parser) -> None:
        super().__init__(token, parser)
        self.filter_names = frozenset(function.__name__ for function, _arguments in self.filters)
        self.arguments = [argument for _, given in self.filters for is_variable, argument in given if is_variable]
        for variable in [self.var, *self.arguments]:
            if isinstance(variable, Variable):
                _check_variable(variable)

    @property
    def tolerates_missing(self) -> bool:
        """Whether a filter handles the missing variable."""
        return not self.filter_names.isdisjoint(TOLERANT_FILTERS)

    def resolve(self, context: RenderingContext, ignore_failures: bool = False) -> Any:  # type: ignore[override]
        """Return the filtered value, or `Missing` for a missing variable without filters."""
        value = _look_up(self.var, context)
        if isinstance(value, Missing):
            if not self.filters:
                return None if ignore_failures else value
            if not ignore_failures and not self.tolerates_missing:
                context.on_missing(value.name)
        for function, given in self.filters:
            arguments = [_argument(argument, context, ignore_failures) for _is_variable, argument in given]
            if getattr(function, "expects_localtime", False):
                value = template_localtime(value, context.use_tz)
            value = function(value, *arguments)
        return value


def _argument(argument: Any, context: RenderingContext, ignore_failures: bool) -> Any:
    value = _look_up(argument, context)
    if isinstance(value, Missing) and not ignore_failures:
        context.on_missing(value.name)
    return value


def _check_variable(variable: Variable) -> None:
    if isinstance(variable.literal, float) and not math.isfinite(variable.literal):
        raise TemplateSyntaxError(f"{variable.var!r:.40} is not a finite number")
    if "" in (variable.lookups or ()):
        raise TemplateSyntaxError(f"{variable.var!r:.40} has an empty part between its dots")


def _look_up(variable: Any, context: RenderingContext) -> Any:
    """Resolve a variable, or return a literal."""
    if not isinstance(variable, Variable):
        return variable
    if variable.lookups is None:
        return variable.literal
    name, *parts = variable.lookups
    value = context.get(name, _ABSENT)
    for part in parts:
        if value is _ABSENT:
            break
        # {% with %} may have bound the name of a missing variable
        value = Missing.variable(f"{value.name}.{part}") if isinstance(value, Missing) else _member(value, part)
    return Missing.variable(".".join(variable.lookups)) if value is _ABSENT else value


_ABSENT = object()


def _member(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name, _ABSENT)
    if isinstance(value, tuple | str):
        try:
            return value[int(name)]
        except (ValueError, IndexError):
            return _ABSENT
    member = getattr(value, name, _ABSENT)
    return _ABSENT if callable(member) else member


class OutputNode(Node):
    """`{{ expression }}`."""

    child_nodelists = ()

    def __init__(self, expression: FilterExpression) -> None:
        self.expression = expression

    def render(self, context: RenderingContext) -> str:  # type: ignore[override]  # no other reaches our nodes
        """Write the value, or report it missing."""
        value = self.expression.resolve(context)
        if isinstance(value, Missing):
            context.on_missing(value.name)
        return context.write(value)


class BoundedFirstOfNode(FirstOfNode):
    """`{% firstof %}`. Missing variables count as false."""

    child_nodelists = ()

    def render(self, context: RenderingContext) -> str:  # type: ignore[override]  # no other reaches our nodes
        """Write the first true value, or store it under the name after `as`."""
        values = (variable.resolve(context, ignore_failures=True) for variable in self.vars)
        first = next(filter(None, values), "")
        if not self.asvar:
            return context.write(first)
        context[self.asvar] = context.format(first)
        return ""


class _Parser(Parser):
    """Django's parser with the restricted expressions and nodes, and a limit on nesting."""

    _depth = 0

    def parse(self, parse_until: Iterable[str] | None = None) -> NodeList:
        if self._depth > MAX_NESTING:
            raise TemplateSyntaxError(f"Tags are nested more than {MAX_NESTING} levels deep")
        self._depth += 1
        nodes = super().parse(parse_until)
        self._depth -= 1
        return nodes

    def compile_filter(self, token: str) -> Expression:
        return Expression(token, self)

    def next_token(self) -> Token:
        token = super().next_token()
        if token.token_type == TokenType.BLOCK and len(token.contents.split()) > MAX_TAG_WORDS:
            raise TemplateSyntaxError(f"A template tag has at most {MAX_TAG_WORDS} words")
        return token

    def extend_nodelist(self, nodelist: NodeList, node: Node, token: Token) -> None:
        if isinstance(node, VariableNode):
            node = OutputNode(node.filter_expression)
        if isinstance(node, TextNode) and (unclosed := UNCLOSED_TAG.search(node.s)):
            # Django treats an unclosed tag as text, which recipients would see.
            raise TemplateSyntaxError(f"Unclosed template tag {unclosed[0]!r} (tags must close on the same line)")
        super().extend_nodelist(nodelist, node, token)


def _first_of(parser: Parser, token: Token) -> BoundedFirstOfNode:
    node = defaulttags.firstof(parser, token)
    return BoundedFirstOfNode(node.vars, node.asvar)


class _RestrictedEngine(Engine):
    """A template engine without loaders and libraries, and with only the allowed tags and filters."""

    filters: ClassVar[Mapping[str, Filter]]

    def __init__(self) -> None:
        super().__init__(autoescape=False, libraries={}, loaders=[])

    def get_template_builtins(self, builtins: Sequence[str]) -> list[Library]:
        library = Library()
        library.tags = {name: defaulttags.register.tags[name] for name in TAGS} | {"firstof": _first_of}
        library.filters = dict(self.filters)
        return [library]


class _TextEngine(_RestrictedEngine):
    filters = TEXT_FILTERS


class _LinkEngine(_RestrictedEngine):
    filters = LINK_FILTERS


@lru_cache(maxsize=1)
def _text_engine() -> Engine:
    return _TextEngine()


@lru_cache(maxsize=1)
def _link_engine() -> Engine:
    return _LinkEngine()

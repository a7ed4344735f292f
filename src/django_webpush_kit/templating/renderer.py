"""`NotificationTemplate` + context -> text of a message, as plain text.

Templates are edited by staff, so they run in an engine of their own: no loaders, a short list of tags and filters that
cannot make much out of little, plain values only, and a cap on what comes out (FACTS: `{{ "a"|center:200000000 }}`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.template import (
    Context,
    Engine,
    Library,
    Template,
    TemplateSyntaxError,
    defaultfilters,
    defaulttags,
)
from django.template.base import TextNode
from django.utils import timezone, translation
from django.utils.functional import Promise
from django.utils.module_loading import import_string

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.exceptions import InvalidOption, TemplateNotFound, TemplateRenderError
from django_webpush_kit.options import template_options

MAX_OUTPUT = 10_000
"""Characters one template, or one filter, may produce; a push payload holds fewer than 4,000 bytes."""

MAX_TITLE = 200

TAGS = ("if", "with", "comment", "firstof")
FILTERS = (
    "capfirst", "cut", "date", "default", "default_if_none", "first", "floatformat", "last", "length", "lower",
    "pluralize", "slugify", "time", "timesince", "timeuntil", "title", "truncatechars", "truncatewords", "upper",
    "urlencode", "yesno",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RenderedText:
    """What a template says to one recipient. `actions` have their URLs and titles rendered."""

    title: str
    body: str = ""
    url: str = ""
    icon: str = ""
    actions: list[dict[str, str]] = field(default_factory=list)


class TemplateRenderer:
    """All languages of one notification type, compiled, with one context.

    `render(language, recipient=...)` gives the same text for all recipients of a language and time zone unless the
    template names the recipient; then `is_personal(language)` is true and each recipient's text differs. `is_zoned`
    says whether the context holds moments, which read differently in each time zone.
    """

    def __init__(
        self,
        type: str,  # noqa: A002  # the field's own name
        context: Mapping[str, Any] | None = None,
        *,
        templates: Iterable[Any],
    ) -> None:
        """`templates` are the rows of this type, one a language; `TemplateNotFound` when there are none."""
        self.type = type
        self.context = plain_context(context or {})
        self.is_zoned = _holds_datetime(self.context)
        self._templates = {_normalised(template.language): template for template in templates}
        if not self._templates:
            raise TemplateNotFound(
                f"No notification template of type {type!r} exists. Add one in the admin, or load it with "
                "`manage.py push_templates import` or `loaddata`."
            )
        self._compiled: dict[str, _CompiledTemplate] = {}

    @property
    def names_recipient(self) -> bool:
        """Whether the template names the recipient in any language."""
        return any(self.is_personal(language) for language in self._templates)

    def template_for(self, language: str) -> Any:
        """The template row for a language: pt-br, then pt, then the default language; else `TemplateNotFound`."""
        for candidate in fallback_languages(language):
            if candidate in self._templates:
                return self._templates[candidate]
        raise TemplateNotFound(
            f"The notification template {self.type!r} exists in {sorted(self._templates)}, but neither in "
            f'{language!r} nor in the default language "".'
        )

    def is_personal(self, language: str) -> bool:
        """Whether the text may differ from one recipient to the next."""
        return self._compile(language).is_personal

    def render(self, language: str, *, recipient: Any = None, time_zone: str = "") -> RenderedText:
        """The text for one recipient: `recipient` is a user or None, `time_zone` an IANA name for dates in it."""
        context = dict(self.context)
        if recipient is not None and self.is_personal(language):
            context["recipient"] = plain_context(_recipient_dict(recipient))
        zone = timezone.override(ZoneInfo(time_zone)) if time_zone else nullcontext()
        template = self.template_for(language)
        with translation.override(template.language or settings.LANGUAGE_CODE), zone:
            return self._compile(language).render(context)

    def _compile(self, language: str) -> _CompiledTemplate:
        template = self.template_for(language)
        if template.language not in self._compiled:
            self._compiled[template.language] = _CompiledTemplate(template)
        return self._compiled[template.language]


def fallback_languages(language: str) -> list[str]:
    """pt-BR -> ["pt-br", "pt", ""]."""
    parts = _normalised(language).split("-") if language else []
    return ["-".join(parts[:count]) for count in range(len(parts), 0, -1)] + [""]


def _normalised(language: str) -> str:
    return language.lower().replace("_", "-")


def recipient_context(user: Any) -> dict[str, Any]:
    """What `{{ recipient.* }}` offers by default; the setting `RECIPIENT_CONTEXT` names a replacement."""
    return {
        name: value
        for name in ("first_name", "last_name", "username")
        if isinstance(value := getattr(user, name, None), str)
    }


def validate_template(template: Any) -> None:
    """Raise a `ValidationError` by field when a template row could not be rendered or holds unusable options."""
    errors: dict[str, str] = {}
    for name in ("title_template", "body_template", "url_template", "icon_template"):
        if problem := _source_problem(getattr(template, name)):
            errors[name] = problem
    if problem := _actions_problem(template.actions):
        errors["actions"] = problem
    if template.language and not _LANGUAGE.fullmatch(template.language):
        errors["language"] = 'must be a language tag such as "de" or "pt-br", or empty for the default language'
    try:
        template_options(template)
    except InvalidOption as error:
        errors["vibrate_pattern" if str(error).startswith("vibrate") else "options"] = str(error)
    if errors:
        raise ValidationError(errors)


_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")


def plain_context(values: Mapping[str, Any], path: str = "") -> Mapping[str, Any]:
    """A read-only copy of a context with plain values only; a TypeError names the key that holds anything else."""
    if not isinstance(values, Mapping):
        raise TypeError(f"context must be a dict, not {type(values).__name__}.")
    return MappingProxyType({_plain_key(key, path): _plain(value, f"{path}{key}") for key, value in values.items()})


PLAIN_TYPES = frozenset((str, bool, int, float, Decimal, date, datetime, time, timedelta, UUID, type(None)))

_PLAIN_COPIES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: value.value),
    (Promise, str),
    (str, str.__str__),
    (int, int),
    (float, float),
    (Decimal, Decimal),
    (datetime, lambda value: datetime.combine(date(value.year, value.month, value.day), _plain_time(value.timetz()))),
    (date, lambda value: date(value.year, value.month, value.day)),
    (time, lambda value: _plain_time(value)),
    (timedelta, lambda value: timedelta(value.days, value.seconds, value.microseconds)),
    (UUID, lambda value: UUID(int=value.int)),
)
"""Subclasses bring methods of their own, which a template could call: they are copied to the plain type."""


def _plain(value: Any, path: str) -> Any:
    if type(value) in PLAIN_TYPES:
        return value
    if isinstance(value, Mapping):
        return plain_context(value, f"{path}.")
    if isinstance(value, list | tuple):
        return tuple(_plain(item, f"{path}[{number}]") for number, item in enumerate(value))
    for kind, copy in _PLAIN_COPIES:
        if isinstance(value, kind):
            return _plain(copy(value), path)
    raise TypeError(
        f"context[{path!r}] is a {type(value).__name__}; a context takes str, numbers, bool, None, Decimal, dates, "
        "UUID, lazy strings, and lists and dicts of these. Pass the attributes the template needs."
    )


def _plain_time(value: time) -> time:
    return time(value.hour, value.minute, value.second, value.microsecond, tzinfo=value.tzinfo, fold=value.fold)


def _plain_key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"context keys must be str, not {type(key).__name__} ({path}{key!r}).")
    return key


def _holds_datetime(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_datetime, value.values()))
    if isinstance(value, tuple):
        return any(map(_holds_datetime, value))
    return isinstance(value, datetime)


def _recipient_dict(user: Any) -> dict[str, Any]:
    function = kit_settings.RECIPIENT_CONTEXT
    return (import_string(function) if isinstance(function, str) else function)(user)


class _CompiledTemplate:
    """One template row with its texts compiled."""

    def __init__(self, template: Any) -> None:
        self._template = template
        self._texts = {
            name: self._compile(f"{name}_template", getattr(template, f"{name}_template"))
            for name in ("title", "body", "url", "icon")
        }
        self._actions = [
            {key: self._compile(f"actions[{number}].{key}", text) for key, text in action.items()}
            for number, action in enumerate(template.actions)
        ]
        sources: Iterable[str] = (
            template.title_template,
            template.body_template,
            template.url_template,
            template.icon_template,
            *(text for action in template.actions for text in action.values()),
        )
        self.is_personal = any(re.search(r"\brecipient\b", source) for source in sources)

    def render(self, context: dict[str, Any]) -> RenderedText:
        texts = {name: self._render(name, compiled, context) for name, compiled in self._texts.items()}
        actions = [
            {key: self._render(f"actions[{number}].{key}", compiled, context) for key, compiled in action.items()}
            for number, action in enumerate(self._actions)
        ]
        return RenderedText(actions=actions, **texts)

    def _compile(self, name: str, source: str) -> Template:
        try:
            return compile_text(source)
        except TemplateSyntaxError as error:
            raise TemplateRenderError(f"Template {self._template}, {name}: {error}") from error

    def _render(self, name: str, compiled: Template, context: dict[str, Any]) -> str:
        try:
            text = compiled.render(Context(context, autoescape=False)).strip()
        except Exception as error:  # whatever a filter raises is the template's mistake
            raise TemplateRenderError(f"Template {self._template}, {name}: {error}") from error
        if len(text) > MAX_OUTPUT:
            raise TemplateRenderError(
                f"Template {self._template}, {name}: {len(text)} characters, at most {MAX_OUTPUT} are allowed."
            )
        return str(text)


@lru_cache(maxsize=512)
def compile_text(source: str) -> Template:
    """A template text in the restricted engine; TemplateSyntaxError when it is malformed or uses a tag we leave out."""
    if len(source) > MAX_OUTPUT:
        raise TemplateSyntaxError(f"a template text has at most {MAX_OUTPUT} characters, not {len(source)}")
    try:
        template = Template(source, engine=_engine())
        texts = [node.s for node in template.nodelist.get_nodes_by_type(TextNode) if isinstance(node, TextNode)]
    except RecursionError:
        raise TemplateSyntaxError("tags or operators are nested too deeply") from None
    # Django takes what is not closed for plain text, and recipients would read it.
    if unclosed := next(filter(None, map(_UNCLOSED.search, texts)), None):
        raise TemplateSyntaxError(f"{unclosed[0]!r} is not closed on its line")
    return template


_UNCLOSED = re.compile(r"\{[{%].{0,20}")


class _PlainTextEngine(Engine):
    """An engine with neither loaders nor libraries, and only the tags and filters listed above."""

    def get_template_builtins(self, builtins: Sequence[str]) -> list[Library]:
        library = Library()
        library.tags = {name: defaulttags.register.tags[name] for name in TAGS}
        library.filters = {name: _bounded(name, defaultfilters.register.filters[name]) for name in FILTERS}
        library.filters["join"] = _join
        return [library]


@lru_cache(maxsize=1)
def _engine() -> Engine:
    return _PlainTextEngine(autoescape=False, libraries={}, loaders=[])


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that refuses to produce more than MAX_OUTPUT characters, before the memory is spent."""

    def bounded(value: Any, *arguments: Any, **keywords: Any) -> Any:
        if name == "floatformat" and arguments and len(re.sub(r"[-gu]", "", str(arguments[0]))) > 2:
            raise ValueError(f"the filter {name!r} takes at most 99 decimal places")
        result = function(value, *arguments, **keywords)
        if isinstance(result, str) and len(result) > MAX_OUTPUT:
            raise _too_long(name)
        return result

    bounded.__wrapped__ = function  # type: ignore[attr-defined]  # the template parser counts its arguments
    for flag in ("expects_localtime", "needs_autoescape", "is_safe"):
        setattr(bounded, flag, getattr(function, flag, False))
    return bounded


def _join(value: Any, separator: str) -> str:
    """Django's `join` without escaping leaves lists of numbers as they are; here every item becomes text."""
    items = [str(item) for item in value] if isinstance(value, tuple | str) else [str(value)]
    if sum(map(len, items)) + len(items) * len(separator) > MAX_OUTPUT:
        raise _too_long("join")
    return separator.join(items)


def _too_long(name: str) -> ValueError:
    return ValueError(f"the filter {name!r} would produce more than {MAX_OUTPUT} characters")


def _source_problem(source: str) -> str:
    try:
        compile_text(source)
    except TemplateSyntaxError as error:
        return str(error)
    return ""


ACTION_KEYS = ("action", "title", "icon", "url")


def _actions_problem(actions: object) -> str:
    if not isinstance(actions, list):
        return "must be a list of objects with the keys action, title and, if wanted, icon and url"
    for number, action in enumerate(actions):
        if not isinstance(action, dict) or not {"action", "title"} <= set(action) <= set(ACTION_KEYS):
            return f"actions[{number}] must be an object with the keys action, title and, if wanted, icon and url"
        for key, text in action.items():
            if not isinstance(text, str):
                return f"actions[{number}].{key} must be text"
            if problem := _source_problem(text):
                return f"actions[{number}].{key}: {problem}"
    return ""

"""A compiled notification template: title, body, URL, icon and buttons."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.template import TemplateSyntaxError
from django.utils import translation

from django_webpush_kit.error_reports import message_of
from django_webpush_kit.exceptions import TemplateRenderError
from django_webpush_kit.templating.engine import OnMissing, TextTemplate, compile_link, compile_text
from django_webpush_kit.templating.variables import TemplateVariable, merged_variables, variables_of

TEXTS = {"title": compile_text, "body": compile_text, "url": compile_link, "icon": compile_link}
"""The compiler of each text field of a template row."""

ACTION_TEXTS = {"action": compile_link, "title": compile_text, "icon": compile_link, "url": compile_link}
"""The compiler of each text of a button."""


@dataclass(frozen=True, slots=True)
class RenderedText:
    """The rendered texts of one message. Titles and URLs in `actions` are rendered, too."""

    title: str
    body: str = ""
    url: str = ""
    icon: str = ""
    actions: list[dict[str, str]] = field(default_factory=list)


class MissingVariable(Exception):
    """The context lacks a variable of the template."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class CompiledTemplate:
    """The compiled texts of one template row. Raises `TemplateRenderError` that names a malformed field."""

    def __init__(self, template: Any) -> None:
        self._template = template
        self._texts = {
            name: self._compile(f"{name}_template", compiler, getattr(template, f"{name}_template"))
            for name, compiler in TEXTS.items()
        }
        self._actions = [
            {
                key: self._compile(f"actions[{number}].{key}", ACTION_TEXTS.get(key, compile_text), text)
                for key, text in action.items()
            }
            for number, action in enumerate(self._stored_actions())
        ]
        self.variables: list[TemplateVariable] = merged_variables(map(variables_of, self._all_texts()))
        """The variables in the template, in order of appearance."""
        self.is_personal = any(variable.is_about_recipient for variable in self.variables)
        """Whether the text may differ between recipients."""

    def render(
        self, values: Mapping[str, Any], on_missing: OnMissing, *, replaced: Collection[str] = ()
    ) -> RenderedText:
        """Render the texts with plain values, in the template's language.

        `replaced` contains the texts that are not rendered: "url", "icon", "actions". Raises `TemplateRenderError` that
        names the field.
        """

        def text(name: str, compiled: TextTemplate) -> str:
            return self._render(name, compiled, values, on_missing)

        actions = [] if "actions" in replaced else self._actions
        with translation.override(self._template.language or settings.LANGUAGE_CODE):
            return RenderedText(
                actions=[
                    {key: text(f"actions[{number}].{key}", compiled) for key, compiled in action.items()}
                    for number, action in enumerate(actions)
                ],
                **{name: text(name, compiled) for name, compiled in self._texts.items() if name not in replaced},
            )

    def _stored_actions(self) -> list[dict[str, Any]]:
        actions = self._template.actions or []
        if not isinstance(actions, list) or not all(isinstance(action, dict) for action in actions):
            raise TemplateRenderError(f"Template {self._template}, actions: This must be a list of objects.")
        return actions

    def _all_texts(self) -> Iterator[TextTemplate]:
        yield from self._texts.values()
        for action in self._actions:
            yield from action.values()

    def _compile(self, name: str, compiler: Any, source: str) -> TextTemplate:
        if not isinstance(source, str):
            raise TemplateRenderError(f"Template {self._template}, {name}: This must be text, not {source!r:.50}.")
        try:
            compiled: TextTemplate = compiler(source)
        except TemplateSyntaxError as error:
            raise TemplateRenderError(f"Template {self._template}, {name}: {error}") from error
        return compiled

    def _render(self, name: str, compiled: TextTemplate, values: Mapping[str, Any], on_missing: OnMissing) -> str:
        try:
            return compiled.render_values(values, on_missing)
        except MissingVariable as error:
            problem = _missing_problem(error.name)
            raise TemplateRenderError(f"Template {self._template}, {name}: {problem}") from None
        except Exception as error:  # a filter may raise any exception; treat it as an error of the template
            raise TemplateRenderError(f"Template {self._template}, {name}: {message_of(error)}") from error


def raise_missing(name: str) -> None:
    """Raise for a missing variable (`MISSING_VARIABLES = "error"`)."""
    raise MissingVariable(name)


def _missing_problem(name: str) -> str:
    source = (
        "This recipient has none; the function in RECIPIENT_CONTEXT provides these values"
        if name.partition(".")[0] == "recipient"
        else "Pass it in the context"
    )
    return (
        f"The variable {name!r} is missing. {source}. If it is optional, write "
        f"{{{{ {name}|default:'...' }}}} or {{% if {name} %}} in the template."
    )

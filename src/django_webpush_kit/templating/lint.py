"""Find mistakes in stored notification templates that model validation does not catch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.exceptions import TemplateRenderError
from django_webpush_kit.templating.languages import normalized_language
from django_webpush_kit.templating.preview import preview
from django_webpush_kit.templating.validation import validate_template


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem and its template."""

    template: str
    text: str

    def __str__(self) -> str:
        return f"{self.template}: {self.text}"


def lint_templates(templates: Iterable[Any]) -> list[Problem]:
    """Return the problems of these templates, ordered by type and language."""
    ordered = sorted(templates, key=lambda template: (template.type, template.language))
    return [Problem(str(template), text) for template in ordered for text in _own_problems(template)] + [
        Problem(str(template), text) for template, text in _problems_between(ordered)
    ]


def _own_problems(template: Any) -> list[str]:
    try:
        validate_template(template)
    except ValidationError as error:
        return [f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items()]
    try:
        text = preview(template)
    except TemplateRenderError as error:
        return [f"cannot be rendered: {error}"]
    return [] if text.title else ["The title is empty."]


def _problems_between(templates: Iterable[Any]) -> Iterator[tuple[Any, str]]:
    """Yield problems that depend on other templates or on settings."""
    by_type: dict[str, dict[str, Any]] = {}
    for template in templates:
        languages = by_type.setdefault(template.type, {})
        language = normalized_language(template.language)
        if language in languages:
            yield template, f"Same language as {str(languages[language])!r}; only one of them is sent."
        else:
            languages[language] = template
    for type_, languages in by_type.items():
        first = next(iter(languages.values()))
        if "" not in languages:
            yield first, "The type has no template in the default language; recipients of other languages get an error."
        if kit_settings.NOTIFICATION_TYPES and type_ not in kit_settings.NOTIFICATION_TYPES:
            yield first, "The type is not in NOTIFICATION_TYPES, so users cannot switch it off."

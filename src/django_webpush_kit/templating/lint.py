"""Mistakes in notification templates that saving them does not show, and those of templates saved before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.exceptions import TemplateRenderError
from django_webpush_kit.templating.preview import preview
from django_webpush_kit.templating.validation import validate_template


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with which template."""

    template: str
    text: str

    def __str__(self) -> str:
        return f"{self.template}: {self.text}"


def lint_templates(templates: Iterable[Any]) -> list[Problem]:
    """Every problem of these templates, in the order of type and language."""
    templates = sorted(templates, key=lambda template: (template.type, template.language))
    defaults = {template.type for template in templates if not template.language}
    return [
        Problem(str(template), text)
        for template in templates
        for text in [*_own_problems(template), *_surroundings(template, defaults)]
    ]


def _own_problems(template: Any) -> list[str]:
    try:
        validate_template(template)
    except ValidationError as error:
        return [f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items()]
    try:
        text = preview(template)
    except TemplateRenderError as error:
        return [f"does not render: {error}"]
    return [] if text.title else ["the title is empty"]


def _surroundings(template: Any, defaults: set[str]) -> list[str]:
    problems = []
    if template.type not in defaults:
        defaults.add(template.type)
        problems.append("has no template in the default language: recipients of other languages get an error")
    if kit_settings.NOTIFICATION_TYPES and template.type not in kit_settings.NOTIFICATION_TYPES:
        problems.append("its type is not in NOTIFICATION_TYPES: nobody can switch it off")
    return problems

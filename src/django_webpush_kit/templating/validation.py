"""Check a notification template before it is saved, field by field."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.template import TemplateSyntaxError

from django_webpush_kit import option_checks
from django_webpush_kit.exceptions import InvalidOption
from django_webpush_kit.option_checks import storable
from django_webpush_kit.options import template_options
from django_webpush_kit.templating.compiled import ACTION_TEXTS, TEXTS
from django_webpush_kit.templating.engine import compile_link

LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")

MAX_JSON_DEPTH = 20


def validate_template(template: Any) -> None:
    """Raise a `ValidationError` by field if a template row cannot be stored, rendered or sent."""
    problems = {
        "type": _stored_text_problem(template.type),
        "language": _language_problem(template.language),
        **{
            f"{name}_template": _text_problem(name, compiler, getattr(template, f"{name}_template"))
            for name, compiler in TEXTS.items()
        },
        "vibrate_pattern": _json_problem(template.vibrate_pattern),
        "actions": _json_problem(template.actions) or _actions_problem(template.actions),
        "options": _json_problem(template.options),
    }
    if not problems["options"] and not problems["vibrate_pattern"]:
        problems |= _options_problem(template)
    if found := {name: problem for name, problem in problems.items() if problem}:
        raise ValidationError(found)


def _language_problem(language: str) -> str:
    if not language or (isinstance(language, str) and LANGUAGE.fullmatch(language)):
        return ""
    return 'Enter a language tag such as "de" or "pt-br", or leave empty for the default language.'


def _options_problem(template: Any) -> dict[str, str]:
    try:
        template_options(template)
    except InvalidOption as error:
        return {"vibrate_pattern" if str(error).startswith("vibrate") else "options": str(error)}
    return {}


def _text_problem(name: str, compiler: Callable[[str], Any], source: object) -> str:
    if problem := _stored_text_problem(source):
        return problem
    try:
        compiler(str(source))
        if compiler is compile_link and source and "{" not in str(source) and not name.endswith("action"):
            option_checks.link(name, source)
    except (TemplateSyntaxError, InvalidOption) as error:
        return str(error)
    return ""


def _stored_text_problem(text: object) -> str:
    if not isinstance(text, str):
        return f"must be text, not {type(text).__name__}"
    return "" if storable(text) == text else "must not contain null characters or unpaired surrogates"


def _actions_problem(actions: object) -> str:
    try:
        for number, action in enumerate(option_checks.action_list("actions", actions)):
            name = f"actions[{number}]"
            for key, text in option_checks.action_keys(name, action).items():
                if problem := _text_problem(f"{name}.{key}", ACTION_TEXTS[key], text):
                    return f"{name}.{key}: {problem}"
    except InvalidOption as error:
        return str(error)
    return ""


def _json_problem(value: Any, depth: int = 0) -> str:
    """Return why a value cannot be stored as JSON in every database, or ""."""
    if depth > MAX_JSON_DEPTH:
        return f"must not be nested more than {MAX_JSON_DEPTH} levels deep"
    if isinstance(value, Mapping):
        parts = [part for item in value.items() for part in item]
    elif isinstance(value, list | tuple):
        parts = list(value)
    elif isinstance(value, str):
        return _stored_text_problem(value)
    elif isinstance(value, float) and not -float("inf") < value < float("inf"):
        return f"must not contain {value}, which is not JSON"
    else:
        return ""
    return next(filter(None, (_json_problem(part, depth + 1) for part in parts)), "")

"""Choose the template language for a recipient, by Django's rules, from the languages that have a template."""

from __future__ import annotations

from collections.abc import Collection

from django.conf import settings
from django.conf.locale import LANG_INFO

MAX_LENGTH = 500
"""Maximum characters of a language tag, as in `django.utils.translation`."""


def normalized_language(language: str) -> str:
    """Return a language tag in Django's format: "pt-br" for "pt_BR"."""
    return language.lower().replace("_", "-")


def stored_language(language: str, stored: Collection[str]) -> str | None:
    """Return the language in `stored` that matches `language` best, or None.

    `stored` holds normalized tags; "" is the default text, which is in the language of `settings.LANGUAGE_CODE`.
    The rules are those of `django.utils.translation.get_supported_language_variant`: the language itself, the
    fallbacks that Django defines (zh-tw: zh-hant), more general tags (es for es-mx), then a variant of the most
    general one (pt-br for pt). The default text comes last.
    """
    candidates = _candidates(normalized_language(language)[:MAX_LENGTH]) if language else []
    for candidate in candidates:
        if candidate in stored:
            return candidate
    default = "" if "" in stored else None
    if not candidates or (default is not None and normalized_language(settings.LANGUAGE_CODE) in candidates):
        return default
    variants = [tag for tag in stored if tag.startswith(f"{candidates[-1]}-")]
    return min(variants, key=_rank) if variants else default


def _candidates(language: str) -> list[str]:
    """zh-tw -> zh-tw, zh-hant, zh."""
    parts = language.split("-")
    general = ["-".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]
    return [language, *LANG_INFO.get(language, {}).get("fallback", ()), *general]


def _rank(tag: str) -> tuple[int, str]:
    """The order of `settings.LANGUAGES`, then of the alphabet."""
    order = [normalized_language(code) for code, _name in settings.LANGUAGES]
    return (order.index(tag) if tag in order else len(order), tag)

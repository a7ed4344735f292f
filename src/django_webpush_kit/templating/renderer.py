"""Render the templates of one notification type with one context, in each recipient's language."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext, suppress
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.error_reports import log_warning
from django_webpush_kit.exceptions import TemplateNotFound, TemplateRenderError
from django_webpush_kit.templating.compiled import CompiledTemplate, RenderedText, raise_missing
from django_webpush_kit.templating.context import holds_datetime, plain_context, recipient_values
from django_webpush_kit.templating.engine import OnMissing
from django_webpush_kit.templating.languages import normalized_language, stored_language
from django_webpush_kit.templating.variables import RECIPIENT

MAX_TITLE = 200

_logger = logging.getLogger(__name__)


class TemplateRenderer:
    """All languages of one notification type, compiled, with one context.

    `render(language, recipient=...)` returns the same text for all recipients with the same language and time zone,
    unless the template uses `recipient`. Then `is_personal(language)` is true. `is_zoned` is true if the context
    contains datetimes, whose text depends on the time zone.
    """

    def __init__(
        self,
        type: str,  # noqa: A002  # the field's own name
        context: Mapping[str, Any] | None = None,
        *,
        templates: Iterable[Any],
        replaced: Collection[str] = (),
    ) -> None:
        """Compile `rows`, one for each language of the type. Raises `TemplateNotFound` if there are none.

        `replaced` contains the texts that options of the call replace ("url", "icon", "actions"); they are not
        rendered.
        """
        self.type = type
        self.context = plain_context({} if context is None else context)
        self.is_zoned = holds_datetime(self.context)
        self._templates = {normalized_language(template.language): template for template in templates}
        if not self._templates:
            raise TemplateNotFound(
                f"No notification template of type {type!r} exists. Add one in the admin, or load it with "
                "`manage.py push_templates import` or `loaddata`."
            )
        self._replaced = replaced
        self._chosen: dict[str, str] = {}
        self._compiled: dict[str, CompiledTemplate] = {}
        self._reported: set[str] = set()

    @property
    def names_recipient(self) -> bool:
        """Whether the template uses `recipient` in a language. One with errors is left out, as are its recipients."""
        for language in self._templates:
            with suppress(TemplateRenderError):
                if self._compile(language).is_personal:
                    return True
        return False

    def template_for(self, language: str) -> Any:
        """Return the template row for a recipient's language, by Django's rules. Raises `TemplateNotFound`."""
        return self._templates[self._choose(language)]

    def is_personal(self, language: str) -> bool:
        """Return whether the text may differ between recipients of this language."""
        return self._compile(self._choose(language)).is_personal

    def render(self, language: str, *, recipient: Any = None, time_zone: str = "") -> RenderedText:
        """Return the text for one recipient. `recipient` is a user or None, `time_zone` is an IANA name for datetimes.

        Raises `TemplateRenderError` if rendering fails, and for missing variables if `MISSING_VARIABLES` is "error".
        """
        chosen = self._choose(language)
        values = dict(self.context)
        if recipient is not None and self._compile(chosen).is_personal:
            values[RECIPIENT] = recipient_values(recipient)
        return self._render(chosen, values, self._on_missing(), time_zone)

    def check(self) -> None:
        """Render every language without a recipient. Raises `TemplateRenderError` for errors for all recipients.

        Broadcasts call this before they are stored. Missing parts of `recipient` are not reported.
        """
        on_missing = self._on_missing()

        def on_missing_in_context(name: str) -> None:
            if name.partition(".")[0] != RECIPIENT:
                on_missing(name)

        for chosen in self._templates:
            self._render(chosen, self.context, on_missing_in_context)

    def _render(
        self, chosen: str, values: Mapping[str, Any], on_missing: OnMissing, time_zone: str = ""
    ) -> RenderedText:
        compiled = self._compile(chosen)
        zone = timezone.override(ZoneInfo(time_zone)) if time_zone else nullcontext()
        with zone:
            return compiled.render(values, on_missing, replaced=self._replaced)

    def _choose(self, language: str) -> str:
        chosen = self._chosen.get(language)
        if chosen is None:
            chosen = stored_language(language, self._templates)
            if chosen is None:
                raise TemplateNotFound(
                    f"The notification template {self.type!r} exists in {sorted(self._templates)}, but neither in "
                    f'{language!r} nor in the default language "".'
                )
            self._chosen[language] = chosen
        return chosen

    def _compile(self, chosen: str) -> CompiledTemplate:
        if chosen not in self._compiled:
            self._compiled[chosen] = CompiledTemplate(self._templates[chosen])
        return self._compiled[chosen]

    def _on_missing(self) -> OnMissing:
        policies = {"error": raise_missing, "warn": self._warn_once}
        return policies.get(kit_settings.MISSING_VARIABLES, _leave_empty)

    def _warn_once(self, name: str) -> None:
        if name not in self._reported:
            self._reported.add(name)
            log_warning(_logger, "Template %s: the variable %r is missing and was left empty.", self.type, name)


def _leave_empty(_name: str) -> None:
    """Accept a missing variable (`MISSING_VARIABLES = "empty"`)."""

"""The message of one call: text, options and size for any recipient, checked before rows are written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import outbox_database
from django_webpush_kit.exceptions import InvalidOption, TemplateRenderError, WebPushKitError
from django_webpush_kit.models import get_template_model
from django_webpush_kit.option_checks import contained, storable
from django_webpush_kit.options import SendOptions, default_options, template_options
from django_webpush_kit.outbox.payloads import PayloadEncoder, StoredMessage
from django_webpush_kit.states import Lane
from django_webpush_kit.subscriptions.preferences import recipient_zone
from django_webpush_kit.templating.compiled import RenderedText
from django_webpush_kit.templating.renderer import MAX_TITLE, TemplateRenderer

MAX_TYPE = 50


@dataclass(frozen=True, slots=True)
class Content:
    """The content of one outbox row."""

    title: str
    body: str
    language: str
    template_id: Any
    options: SendOptions
    row_options: dict[str, Any]
    max_retries: int


class Draft(ABC):
    """The message of one call, for any recipient."""

    needs_user = False
    """Whether the content depends on the subscription's user."""

    def __init__(
        self,
        type: str,  # noqa: A002  # the field's own name
        options: SendOptions,
        encoder: PayloadEncoder | None = None,
    ) -> None:
        self.type = _checked_text("type", type)
        if len(self.type) > MAX_TYPE:
            raise InvalidOption(f"type has {len(self.type)} characters; at most {MAX_TYPE} are allowed")
        self.options = options
        self._defaults = default_options()
        self._encoder = encoder or PayloadEncoder()

    @abstractmethod
    def content_for(self, subscription: Any) -> Content:
        """Return the content for one subscription."""

    def _finish(
        self,
        text: RenderedText,
        options: SendOptions,
        language: str,
        template_id: Any = None,
        *,
        is_personal: bool = False,
    ) -> Content:
        """Check the size of one message. A title made too long by a recipient's data is always shortened."""
        title, body = storable(text.title), storable(text.body)
        if not title:
            raise InvalidOption("title must not be empty: browsers show no notification without a title")
        if len(title) > MAX_TITLE:
            if kit_settings.OVERSIZE == "error" and not is_personal:
                raise InvalidOption(f"title has {len(title)} characters; at most {MAX_TITLE} are allowed")
            title = f"{title[: MAX_TITLE - 1]}…"
        self._encoder.check_size(StoredMessage(title, body, language, options.data or {}, options))
        max_retries = kit_settings.MAX_RETRIES if options.max_retries is None else options.max_retries
        return Content(title, body, language, template_id, options, options.to_json(), max_retries)


class PlainDraft(Draft):
    """A title and a body, the same for all recipients."""

    def __init__(
        self,
        title: str | Promise,
        body: str | Promise,
        type: str,  # noqa: A002  # the field's own name
        options: SendOptions,
    ) -> None:
        super().__init__(type, options)
        text = RenderedText(_checked_text("title", title), _checked_text("body", body))
        merged = options.over(self._defaults)
        self._content = self._finish(text, merged, merged.language or "")

    def content_for(self, subscription: Any) -> Content:
        """The content for one subscription."""
        return self._content


class TemplateDraft(Draft):
    """The text of a template. It depends on the language and perhaps on the time zone and the recipient."""

    def __init__(
        self,
        type: str,  # noqa: A002  # the field's own name
        context: Mapping[str, Any] | None,
        options: SendOptions,
        *,
        templates: Iterable[Any] | None = None,
        encoder: PayloadEncoder | None = None,
    ) -> None:
        super().__init__(type, options, encoder)
        if templates is None:
            templates = get_template_model().objects.using(outbox_database()).filter(type=self.type)
        self._templates = list(templates)
        replaced = [name for name in ("url", "icon", "actions") if getattr(options, name) is not None]
        self._renderer = TemplateRenderer(self.type, context, templates=self._templates, replaced=replaced)
        self._contents: dict[tuple[str, str], Content | Exception] = {}
        self.needs_user = self._renderer.names_recipient

    @property
    def lane(self) -> Lane:
        """The lane of the most urgent language whose options can be read."""
        lanes = []
        for template in self._templates:
            with suppress(InvalidOption):
                lanes.append(Lane.for_urgency(self._merged(SendOptions(), template).urgency))
        return min(lanes, default=Lane.NORMAL)

    def content_for(self, subscription: Any) -> Content:
        """Return the content for one subscription. Rendered once per language if the template names no recipient."""
        language = self.options.language or subscription.language
        template = self._renderer.template_for(language)
        is_personal = self._renderer.is_personal(language)
        time_zone = recipient_zone(subscription.timezone).key if is_personal or self._renderer.is_zoned else ""
        if is_personal:
            return self._render(language, template, time_zone, subscription.user, is_personal=True)
        key = (template.language, time_zone)
        if key not in self._contents:
            self._contents[key] = self._render_or_error(language, template, time_zone)
        content = self._contents[key]
        if isinstance(content, Exception):
            raise content.with_traceback(None)  # raised repeatedly, it would collect tracebacks
        return content

    def check(self) -> None:
        """Render every language, read its options and check the size, as far as that is the same for all recipients.

        Raises `TemplateRenderError` that names a variable missing from the context, or an invalid option or text, and
        `PayloadTooLarge`.
        """
        self._renderer.check()
        for template in self._templates:
            try:
                self._merged(SendOptions(), template)
            except InvalidOption as error:
                raise TemplateRenderError(f"Template {template}: {error}") from error
            if not self._renderer.is_personal(template.language):
                self._render(template.language, template, "", None, is_personal=False)

    def _render_or_error(self, language: str, template: Any, time_zone: str) -> Content | Exception:
        """Return the content, or the exception, shared by all recipients of a language and time zone."""
        try:
            return self._render(language, template, time_zone, None, is_personal=False)
        except (WebPushKitError, ImproperlyConfigured, TypeError, ValueError) as error:
            return error

    def _render(self, language: str, template: Any, time_zone: str, user: Any, *, is_personal: bool) -> Content:
        """Render and check one text. The row's language is the template's language, or "" for the default one."""
        text = self._renderer.render(language, recipient=user, time_zone=time_zone)
        try:
            rendered = SendOptions.parse(
                {"url": text.url or None, "icon": text.icon or None, "actions": text.actions or None}
            )
            options = self._merged(rendered, template)
            return self._finish(text, options, template.language, template.pk, is_personal=is_personal)
        except InvalidOption as error:
            raise TemplateRenderError(f"Template {template}: {error}") from error

    def _merged(self, rendered: SendOptions, template: Any) -> SendOptions:
        """Return the options in order of precedence: the call, rendered fields, template options, defaults."""
        return self.options.over(rendered).over(template_options(template)).over(self._defaults)


@contained
def _checked_text(name: str, value: Any) -> str:
    if not isinstance(value, str | Promise):
        raise InvalidOption(f"{name} must be str, not {value.__class__.__name__}")
    return storable(str(value))
